"""The question of main.rs to Convert's Python package: python3 official.py CONFIG"""

import json
import sys
import time

from convert_sdk import Core, SDKConfig

VISITORS = 1000
ROUNDS = 9
RUNS = 2000
KEY = "checkout-experiment-0042"

with open(sys.argv[1], encoding="utf-8") as file:
    core = Core(SDKConfig(data=json.load(file)))
core.initialize()
contexts = [core.create_context(f"visitor-{n:09}", {"age": 30, "plan": "pro"}) for n in range(VISITORS)]
costs = []
for round_ in range(ROUNDS + 1):
    start = time.perf_counter_ns()
    for run in range(RUNS):
        assert contexts[run % VISITORS].run_experience(KEY, enable_tracking=False) is not None
    # The first round warms up.
    if round_ > 0:
        costs.append((time.perf_counter_ns() - start) / RUNS)
costs.sort()
shown = " ".join(f"{cost:8.0f}" for cost in (costs[0], costs[ROUNDS // 2], costs[-1]))
print(f"{'Convert Python 2.1.0':<45} {shown}")
