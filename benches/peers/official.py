"""The questions of main.rs and requests.rs to Convert's Python package: python3 official.py CONFIG"""

import json
import sys
import time

from convert_sdk import Core, SDKConfig

VISITORS = 1000
ROUNDS = 9
RUNS = 2000
KEY = "checkout-experiment-0042"

with open(sys.argv[1], encoding="utf-8") as file:
    data = json.load(file)
core = Core(SDKConfig(data=data))
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

BURST = 100
ASKED = [f"checkout-experiment-{at:04}" for at in range(42, 45)]


class Sink:
    """Takes deliveries, which the package makes on the thread of the request, and sends them nowhere."""

    def send_tracking(self, payload, *, sdk_key):
        return 200


server = Core(SDKConfig(data=data), transport=Sink())
server.initialize()


def ask(n):
    attributes = {"country": "GR", "age": 30, "browser": "firefox", "plan": "pro", "beta": True}
    visitor = server.create_context(f"visitor-{n:08}", attributes)
    for key in ASKED:
        assert visitor.run_experience(key) is not None
    visitor.track_conversion("purchase")


def burst(first):
    start = time.perf_counter_ns()
    for n in range(first, first + BURST):
        ask(n)
    return (time.perf_counter_ns() - start) / BURST


# As in requests.rs, a burst of the same kind goes before each that counts.
known, new = [], []
for round_ in range(1, 2 * ROUNDS + 1):
    burst(0)
    known.append(burst(0))
    burst(2 * round_ * BURST)
    new.append(burst((2 * round_ + 1) * BURST))
medians = " ".join(f"{sorted(costs)[ROUNDS]:9.0f}" for costs in (known, new))
# A conversion evaluates every experience of the config, to say which ones it belongs to.
print(f"{'a request, Convert Python 2.1.0':<40} {medians}  recorded: what is new for the visitor")
