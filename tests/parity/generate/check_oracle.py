#!/usr/bin/env python3
"""Run an oracle over the vectors: every answer must be the recorded one.

    check_oracle.py js|python [--vectors FILE]

The JavaScript oracle must agree on every part outside `differs_in_4_4_3`. The Python oracle answers
what the published Python package says: its decisions must be the JavaScript ones with
`python_decisions_that_differ` laid over them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

from packages import NODE_PACKAGES, python_command

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors" / "public.jsonl.gz"
ANSWERS = ("expected", "recommended", "tells_apart", "js_throws", "differs_in_4_4_3",
           "python_decisions_that_differ", "wire_4_4_3")
SHOWN = 5


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as lines:
        for line in lines:
            yield json.loads(line)


def same(left: Any, right: Any) -> bool:
    """Deep equality that distinguishes true from 1, unlike Python's own."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def in_any_order(part: str, value: Any) -> Any:
    """The order of the disabled features of `run_features` depends on numeric ids and is not compared."""
    if part != "run_features" or not isinstance(value, list):
        return value
    return sorted(value, key=lambda one: json.dumps(one, sort_keys=True))


def js_differences(vector: dict[str, Any], answer: dict[str, Any], counts: Counter[str]) -> Iterator[str]:
    skipped = {"preview", *vector.get("differs_in_4_4_3", ())}  # 4.4.3 has no preview at all
    for part, expected in vector["expected"].items():
        if part in skipped:
            counts[f"{part}: differs in 4.4.3"] += 1
        elif same(in_any_order(part, expected), in_any_order(part, answer.get(part))):
            counts[f"{part}: same"] += 1
        else:
            counts[f"{part}: DIFFERENT"] += 1
            yield f"{part}: expected {json.dumps(expected)}, answered {json.dumps(answer.get(part))}"


def python_differences(vector: dict[str, Any], answer: dict[str, Any], counts: Counter[str]) -> Iterator[str]:
    laid_over = vector.get("python_decisions_that_differ", {})
    for key, expected in vector["expected"]["decisions"].items():
        wanted = laid_over[key] if key in laid_over else expected.get("variation_id")
        answered = answer.get("decisions", {}).get(key)
        if answered is None:
            counts["decisions: not answered"] += 1
        elif answered.get("variation_id") == wanted:
            counts["decisions: same"] += 1
        else:
            counts["decisions: DIFFERENT"] += 1
            yield f"decisions.{key}: expected {wanted}, answered {json.dumps(answered)}"


def oracle_command(which: str) -> list[str]:
    if which == "js":
        return ["node", str(HERE / "oracle.mjs"), "--packages", str(NODE_PACKAGES), "--throws"]
    return [*python_command(), str(HERE / "oracle.py"), "--decisions-only"]


def ask(which: str, vectors: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    bare = ({key: value for key, value in line.items() if key not in ANSWERS} for line in vectors)
    lines = "\n".join(json.dumps(line, ensure_ascii=False) for line in bare)
    done = subprocess.run(oracle_command(which), input=lines, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    answered = (json.loads(line) for line in done.stdout.strip().split("\n"))
    return {line["id"]: line["expected"] for line in answered if line["kind"] == "request"}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("which", choices=("js", "python"))
    arguments.add_argument("--vectors", type=Path, default=VECTORS)
    given = arguments.parse_args()

    vectors = [line for line in read_lines(given.vectors) if line["kind"] in ("config", "request")]
    answers = ask(given.which, vectors)
    differences = js_differences if given.which == "js" else python_differences
    counts: Counter[str] = Counter()
    found: list[str] = []
    for vector in vectors:
        if vector["kind"] == "request":
            found += [f"{vector['id']} {one}" for one in differences(vector, answers[vector["id"]], counts)]

    for name in sorted(counts):
        print(f"{counts[name]:7} {name}")
    for line in found[:SHOWN]:
        print(line[:2000])
    print(f"{len(answers)} requests, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
