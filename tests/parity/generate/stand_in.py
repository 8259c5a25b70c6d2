#!/usr/bin/env python3
"""Stands in for `replay` if it is not built: `stand_in.py js|python - --json`.

It asks the oracle itself, without any planted lie, and compares what the lines expect with that. So
a run against it differs exactly where a lie was planted (PARITY_PLANT), which tests the driver and
the shrinking alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Iterator

from check_oracle import same
from streams import oracles

LISTED_PARTS = ("decisions", "features")


def ask(which: str, documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    bare = [{key: value for key, value in one.items() if key != "expected"} for one in documents]
    lines = "\n".join(json.dumps(one, ensure_ascii=False) for one in bare)
    honest = {key: value for key, value in os.environ.items() if key != "PARITY_PLANT"}
    done = subprocess.run(oracles()[which].command, input=lines, stdout=subprocess.PIPE, encoding="utf-8",
                          check=True, env=honest)
    answered = map(json.loads, done.stdout.strip().split("\n"))
    return {one["id"]: one["expected"] for one in answered if one["kind"] == "request"}


def mismatches(expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part, wanted in expected.items():
        found = actual.get(part)
        if part in LISTED_PARTS and isinstance(found, dict):
            for key in wanted:
                if not same(wanted[key], found.get(key)):
                    yield {"part": f"{part}.{key}", "expected": wanted[key], "actual": found.get(key)}
        elif not same(wanted, found):
            yield {"part": part, "expected": wanted, "actual": found}


def main() -> int:
    documents = [json.loads(line) for line in sys.stdin if line.strip()]
    actual = ask(sys.argv[1], documents)
    passed = failed = decisions = 0
    for one in documents:
        if one["kind"] != "request":
            continue
        found = list(mismatches(one["expected"], actual[one["id"]]))
        for mismatch in found:
            print(json.dumps({"id": one["id"], "config_ref": one["config_ref"], **mismatch}))
        failed += bool(found)
        passed += not found
        decisions += len(one["expected"].get("decisions", {}))
    print(json.dumps({"passed": passed, "failed": failed, "decisions": decisions}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
