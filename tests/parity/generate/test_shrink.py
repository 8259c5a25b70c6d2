#!/usr/bin/env python3
"""Plants wrong answers in the oracles; the driver must find and shrink them. Needs no Rust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DIFFERENTIAL = HERE.parent / "differential"
STAND_IN = f"{sys.executable} {HERE / 'stand_in.py'}"


def run(which: str, plant: str = "") -> "subprocess.CompletedProcess[str]":
    command = [str(DIFFERENTIAL), f"--{which}-only", "--seed", "shrink", "--requests", "3000",
               "--replay", f"{STAND_IN} {which}"]
    return subprocess.run(command, env={**os.environ, "PARITY_PLANT": plant}, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, encoding="utf-8", check=False)


def smallest(output: str, part: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config and the request printed under the difference in `part`."""
    after = output.split(f"difference in {part}")[1]
    lines = [json.loads(line) for line in after.split("\n") if line.startswith("{")]
    return lines[0]["config"], lines[1]["request"]


class Planted(unittest.TestCase):
    def test_no_lie_no_difference(self) -> None:
        for which in ("js", "python"):
            done = run(which)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn(" 0 differences", done.stdout)

    def test_a_decision_shrinks_to_one_variation(self) -> None:
        for which in ("js", "python"):
            done = run(which, "decisions")
            self.assertEqual(done.returncode, 1, done.stdout)
            config, request = smallest(done.stdout, "decisions")
            [experience] = config["experiences"]
            [variation] = experience["variations"]
            self.assertTrue(variation["id"].endswith("7"))
            self.assertEqual(request["experience_keys"], [experience["key"]])
            self.assertNotIn("conversions", request)
            self.assertNotIn("audiences", config)

    def test_a_payload_keeps_what_the_lie_needs(self) -> None:
        config, request = smallest(run("js", "payload").stdout, "payload")
        recorded = request.get("state", {}).get("custom_segments", [])
        asked = request.get("custom_segments", {}).get("keys", [])
        self.assertEqual(len(recorded) + len(asked), 2)
        self.assertEqual(request["experience_keys"], [])

    def test_a_feature_shrinks_to_one_change(self) -> None:
        config, request = smallest(run("js", "features").stdout, "features")
        changes = [change for experience in config["experiences"]
                   for variation in experience["variations"] for change in variation.get("changes") or []]
        self.assertEqual([change["data"]["variables_data"].keys() for change in changes], [{"integer_var"}])
        self.assertEqual(len(request["feature_keys"]), 1)

    def test_a_preview_keeps_two_experiences(self) -> None:
        config, request = smallest(run("python", "preview").stdout, "preview")
        self.assertEqual(len(config["experiences"]), 2)
        self.assertIn("preview", request)


if __name__ == "__main__":
    unittest.main()
