#!/usr/bin/env python3
"""The Python oracle: answers request lines with the published Python SDK, run in this process.

    oracle.py < lines.jsonl > answered.jsonl

A request line leaves as it came, with `expected` added at its end; other lines pass through. It
answers decisions, both runs over all experiences, features (where no mutual exclusion is at work)
and preview: what the Python package decides as this SDK does. Nothing leaves the process: the
transport is a stub.

--decisions-only answers decisions alone and leaves out what raises: for the vectors, whose configs
do not keep clear of this package's divergences as the generator's do.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from typing import Any, Mapping, Optional

from convert_sdk import Core, SDKConfig
from convert_sdk.evaluation import bucketing
from convert_sdk.evaluation.rules import qualifies
from convert_sdk.ports.storage import visitor_state_key

NEVER_RELEASE_BY_SIZE = 10**9
EXCLUSION = "bucketed_into_experience_key"
PLANTED = os.environ.get("PARITY_PLANT")


def add_left_to_right(numbers: Any) -> float:
    """Add without compensation, like every other SDK, and like Python before 3.12 changed `sum`."""
    total = 0.0
    for number in numbers:
        total += number
    return total


if sys.version_info >= (3, 12):
    bucketing.sum = add_left_to_right  # type: ignore[attr-defined]


class Store:
    """A data store that can be reset to a given state."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, ttl: Optional[int] = None) -> None:
        self.values[key] = value

    def has(self, key: str) -> bool:
        return key in self.values

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class Wire:
    """A transport that only counts what it is given to send."""

    def __init__(self) -> None:
        self.sent = 0

    def fetch_config(self, config: SDKConfig) -> dict[str, Any]:
        raise AssertionError("the oracle fetches nothing")

    def send_tracking(self, payload: dict[str, Any], *, sdk_key: str) -> int:
        self.sent += 1
        return 200

    def close(self) -> None:
        pass

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Subject:
    """One SDK per config line."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.config = document["config"]
        self.store = Store()
        self.wire = Wire()
        self.core = Core(SDKConfig(data=self.config, data_store=self.store, batch_size=NEVER_RELEASE_BY_SIZE),
                         transport=self.wire).initialize()
        self.has_exclusion = EXCLUSION in json.dumps(self.config.get("audiences") or [])


class Visit:
    """One request: a visitor whose contexts all start from the same prepared store."""

    def __init__(self, subject: Subject, request: Mapping[str, Any]) -> None:
        self.subject = subject
        self.request = request
        self.visitor_id: str = request["visitor_id"]
        self.call = {"attributes": request.get("call_attributes") or None,
                     "location_attributes": request.get("location") or None}
        self.prepared = self.prepare()

    def prepare(self) -> dict[str, Any]:
        self.subject.store.values = self.stored_state()
        context = self.subject.core.create_context(self.visitor_id, self.request.get("attributes"))
        if self.request.get("default_segments"):
            context.set_segments(self.request["default_segments"])
        custom = self.request.get("custom_segments")
        if custom:
            context.run_custom_segments(custom["keys"], custom.get("rule_data") or {})
        return dict(self.subject.store.values)

    def stored_state(self) -> dict[str, Any]:
        state = self.request.get("state")
        if not state:
            return {}
        segments = dict(state.get("segments") or {})
        if state.get("custom_segments"):
            segments["customSegments"] = list(state["custom_segments"])
        envelope = {"attributes": {}, "segments": segments, "bucketing": dict(state.get("bucketing") or {})}
        return {visitor_state_key(self.visitor_id): envelope}

    def context(self) -> Any:
        self.subject.store.values = dict(self.prepared)
        return self.subject.core.create_context(self.visitor_id, self.request.get("attributes"))

    def answer(self) -> dict[str, Any]:
        expected: dict[str, Any] = {"decisions": self.decisions(fresh=True)}
        context = self.context()
        expected["run_experiences"] = self.run_experiences(context)
        expected["run_experiences_again"] = self.run_experiences(context)
        if self.request["feature_keys"] and not self.subject.has_exclusion:
            expected["features"] = self.features()
            expected["run_features"] = self.run_features()
        if self.request.get("preview"):
            expected["preview"] = self.preview()
        return expected

    def decisions(self, fresh: bool, context: Any = None, forced_key: Optional[str] = None) -> dict[str, Any]:
        decided: dict[str, Any] = {}
        for key in self.request["experience_keys"]:
            decided[key] = self.decision(self.context() if fresh else context, key, key == forced_key)
        return decided

    def decisions_that_do_not_raise(self) -> dict[str, Any]:
        decided: dict[str, Any] = {}
        for key in self.request["experience_keys"]:
            try:
                decided[key] = self.decision(self.context(), key, forced=False)
            except Exception:
                continue
        return decided

    def decision(self, context: Any, key: str, forced: bool) -> dict[str, Any]:
        stored = dict(self.stored_bucketing())
        result = context.run_experience(key, **self.call, enable_tracking=False)
        if result is None:
            return {"none": self.why_none(context, key, stored)}
        answered: dict[str, Any] = {"variation_id": result.variation_id}
        if not forced and stored.get(result.experience_id) != result.variation_id:
            answered["bucket"] = bucketing.get_bucket_value_for_visitor(
                self.visitor_id, experience_id=result.experience_id)
        return answered

    def stored_bucketing(self) -> Mapping[str, str]:
        envelope = self.subject.store.values.get(visitor_state_key(self.visitor_id)) or {}
        return envelope.get("bucketing") or {}

    def why_none(self, context: Any, key: str, stored: Mapping[str, str]) -> str:
        if not self.visitor_id:
            return "no_visitor"
        experience = self.subject.core.current_config.get_experience_by_key(key)
        if experience is None:
            return "no_match"
        attributes = {**context.attributes, **(self.call["attributes"] or {})}
        location = self.call["location_attributes"] or {}
        matched = qualifies(experience, self.subject.core.current_config, visitor_attributes=attributes,
                            location_attributes=location, sticky_bucketing=stored)
        return "not_decided" if matched else "no_match"

    def run_experiences(self, context: Any) -> Any:
        if not self.visitor_id:
            return {"none": "no_visitor"}
        results = context.run_experiences(**self.call, enable_tracking=False)
        return [[one.experience_key, one.variation_id] for one in results]

    def features(self) -> dict[str, Any]:
        answered: dict[str, Any] = {}
        for key in self.request["feature_keys"]:
            found = [enabled(one) for one in self.of_each_experience(key) if one]
            answered[key] = found or [self.disabled(key)]
        return answered

    def of_each_experience(self, key: str) -> list[Any]:
        """The package returns only the first result; asked for one experience at a time it returns all."""
        context = self.context()
        wanted = self.request.get("feature_experience_keys")
        experiences = [one["key"] for one in self.subject.config["experiences"]]
        return [context.run_feature(key, **self.call, experience_keys=[experience],
                                    type_casting=self.request.get("type_casting", True))
                for experience in dict.fromkeys(experiences) if not wanted or experience in wanted]

    def run_features(self) -> list[dict[str, Any]]:
        found = self.context().run_features(**self.call, type_casting=self.request.get("type_casting", True))
        answered = [enabled(one) for one in found]
        seen = {one["key"] for one in answered}
        keys = [feature["key"] for feature in self.subject.config.get("features") or []]
        return answered + [self.disabled(key) for key in keys if key not in seen]

    def disabled(self, key: str) -> dict[str, Any]:
        feature = self.subject.core.current_config.get_feature_by_key(key)
        identity = {"id": feature["id"]} if feature else {}
        return {"key": key, **identity, "status": "disabled"}

    def preview(self) -> dict[str, Any]:
        wanted = self.request["preview"]
        context = self.context()
        context.set_preview(wanted["experience_id"], wanted["variation_id"])
        if context._preview is None:
            return {"active": False, "decisions": self.decisions(fresh=True)}
        self.subject.core.flush()
        self.subject.wire.sent = 0
        answered = {"active": True,
                    "decisions": self.decisions(fresh=False, context=context,
                                                forced_key=context._preview.experience_key),
                    "run_experiences": self.run_experiences(context)}
        self.subject.core.flush()
        answered["traceless"] = self.subject.wire.sent == 0 and self.subject.store.values == self.prepared
        return answered


def decisions_only(subject: Subject, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        visit = Visit(subject, request)
    except Exception:
        return {}
    return {"decisions": visit.decisions_that_do_not_raise()}


def enabled(found: Any) -> dict[str, Any]:
    return {"key": found.feature_key, "id": found.feature_id, "status": "enabled",
            "experience_key": found.experience_key, "variables": dict(found.variables)}


def plant(expected: dict[str, Any]) -> None:
    """Deliberately wrong answers, to prove that the comparison and the shrinking notice them."""
    for key, one in expected["decisions"].items():
        if PLANTED == "decisions" and "bucket" in one and one["variation_id"].endswith("7"):
            expected["decisions"][key] = {"none": "not_decided"}
    if PLANTED == "preview" and len(expected.get("preview", {}).get("run_experiences", ())) > 1:
        expected["preview"]["run_experiences"].reverse()


def append(line: str, expected: dict[str, Any]) -> str:
    """Appending preserves the request's numbers as the generator wrote them."""
    return f'{line[:line.rindex("}")]},"expected":{json.dumps(expected, ensure_ascii=False)}}}\n'


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--decisions-only", action="store_true")
    given = arguments.parse_args()
    logging.getLogger("convert_sdk").setLevel(logging.CRITICAL + 1)

    subject: Optional[Subject] = None
    for line in sys.stdin:
        document = json.loads(line)
        if document["kind"] == "config":
            subject = Subject(document)
        elif document["kind"] == "request":
            assert subject is not None, "a request line before its config"
            request = document["request"]
            expected = decisions_only(subject, request) if given.decisions_only else Visit(subject, request).answer()
            if PLANTED:
                plant(expected)
            line = append(line, expected)
        sys.stdout.write(line)


if __name__ == "__main__":
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main()
