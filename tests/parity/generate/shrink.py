"""From a config and a request that show a difference to the smallest ones that still do.

Each round tries every single edit at once, in one run of the oracle and one of `replay`, then
the edits that kept the difference together. Edits only leave out what may be left out: a config never
gets a shape in which the packages are known to differ.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Sequence, Union

Step = Union[str, int]
Path = tuple[Step, ...]
Judge = Callable[[list["Case"]], list[Optional[dict[str, Any]]]]

ROUNDS = 60
ENTITY_LISTS = ("audiences", "segments", "locations", "features", "goals")
SPARE_KEYS = {
    "config": ("archived_experiences",),
    "project": ("name", "type", "settings", "utc_offset"),
    "experience": ("name", "type", "status", "environment", "site_area", "locations", "audiences"),
    "variation": ("name", "is_baseline", "traffic_allocation", "status", "changes"),
    "entity": ("name", "type", "trigger"),
    "request": ("attributes", "call_attributes", "location", "state", "default_segments", "custom_segments",
                "conversions", "preview", "type_casting", "feature_experience_keys"),
    "conversion": ("rule_data", "goal_data", "force_multiple"),
}
SHORT_VISITORS = ("1", "2", "3", "a")


@dataclass(frozen=True)
class Edit:
    """Remove the value at `path`, or replace it with `instead`."""

    path: Path
    instead: Any = None
    removes: bool = True


@dataclass
class Case:
    """One config with one request, as in the lines."""

    config: dict[str, Any]
    request: dict[str, Any]

    def size(self) -> int:
        return len(json.dumps([self.config, self.request]))

    def edited(self, edits: Sequence[Edit]) -> "Case":
        case = copy.deepcopy(self)
        document = {"config": case.config, "request": case.request}
        # From the back, so that earlier positions stay valid; edits within a removed part are dropped.
        for edit in sorted(edits, key=lambda one: [(str(type(s)), s) for s in one.path], reverse=True):
            apply(document, edit)
        return case

    def lines(self, name: str) -> bytes:
        config = {**self.config, "id": name}
        request = {**self.request, "id": name, "config_ref": name}
        request.pop("expected", None)
        # The same key order and compact form as the generator's.
        texts = (json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in (config, request))
        return "".join(f"{text}\n" for text in texts).encode()


def apply(document: Any, edit: Edit) -> None:
    holder = document
    for step in edit.path[:-1]:
        holder = holder[step]
    if edit.removes:
        del holder[edit.path[-1]]
    else:
        holder[edit.path[-1]] = edit.instead


def shrink(case: Case, judge: Judge) -> tuple[Case, Optional[dict[str, Any]]]:
    """`judge` returns each case's mismatch of the wanted kind, or None; this returns that of the smallest case."""
    [mismatch] = judge([case])
    if mismatch is None:
        return case, None
    for _ in range(ROUNDS):
        edits = list(possible_edits(case))
        kept = [edit for edit, found in zip(edits, judge([case.edited([edit]) for edit in edits])) if found]
        smaller = [candidate for candidate in combined(case, kept) if candidate.size() < case.size()]
        showing = [(one, found) for one, found in zip(smaller, judge(smaller)) if found]
        if not showing:
            break
        case, mismatch = min(showing, key=lambda pair: pair[0].size())
    return case, mismatch


def combined(case: Case, edits: list[Edit]) -> Iterator[Case]:
    """All edits together, ever smaller runs of them, and each by itself."""
    length = len(edits)
    while length >= 1:
        for start in range(0, len(edits), length):
            run = without_nested(edits[start:start + length])
            yield case.edited(run)
        length //= 2


def without_nested(edits: list[Edit]) -> list[Edit]:
    removed = {edit.path for edit in edits if edit.removes}
    chosen: dict[Path, Edit] = {}
    for edit in edits:
        inside = any(edit.path[:depth] in removed for depth in range(1, len(edit.path)))
        if not inside and (edit.removes or edit.path not in removed):
            chosen.setdefault(edit.path, edit)
    return list(chosen.values())


def possible_edits(case: Case) -> Iterator[Edit]:
    yield from config_edits(case.config)
    yield from request_edits(case.request["request"])


def config_edits(line: dict[str, Any]) -> Iterator[Edit]:
    config, at = line["config"], ("config", "config")
    yield from spare(config, at, "config")
    yield from spare(config.get("project") or {}, (*at, "project"), "project")
    named = ids_named_by(config.get("experiences") or [])
    for name in ENTITY_LISTS:
        for index, entity in enumerate(config.get(name) or []):
            if entity.get("id") not in named:
                yield Edit((*at, name, index))
            yield from entity_edits(entity, (*at, name, index))
        if config.get(name) == []:
            yield Edit((*at, name))
    yield from elements(config.get("archived_experiences"), (*at, "archived_experiences"))
    for index, experience in enumerate(config.get("experiences") or []):
        path = (*at, "experiences", index)
        yield Edit(path)
        yield from experience_edits(experience, path)
        if "version" in experience and line["profile"] != "python":  # there, packed ids need not ascend
            yield Edit((*path, "version"))


def ids_named_by(experiences: list[dict[str, Any]]) -> set[str]:
    """An audience is removed after its last mention: the packages differ on ids that do not resolve."""
    names = ("audiences", "locations")
    return {one for experience in experiences for name in names for one in experience.get(name) or []}


def entity_edits(entity: dict[str, Any], path: Path) -> Iterator[Edit]:
    yield from spare(entity, path, "entity")
    yield from elements(entity.get("variables"), (*path, "variables"))
    yield from rule_edits(entity.get("rules"), (*path, "rules"))


def experience_edits(experience: dict[str, Any], path: Path) -> Iterator[Edit]:
    yield from spare(experience, path, "experience")
    yield from elements(experience.get("audiences"), (*path, "audiences"))
    yield from elements(experience.get("locations"), (*path, "locations"))
    yield from rule_edits(experience.get("site_area"), (*path, "site_area"))
    for index, variation in enumerate(experience.get("variations") or []):
        inner = (*path, "variations", index)
        yield Edit(inner)
        yield from spare(variation, inner, "variation")
        for at, change in enumerate(variation.get("changes") or []):
            yield Edit((*inner, "changes", at))
            variables = (change.get("data") or {}).get("variables_data")
            yield from inside(variables, (*inner, "changes", at, "data", "variables_data"))


def rule_edits(rules: Any, path: Path) -> Iterator[Edit]:
    """Drop branches that have a neighbour: an empty level would be a different question."""
    if isinstance(rules, list):
        for index, one in enumerate(rules):
            if len(rules) > 1:
                yield Edit((*path, index))
            yield from rule_edits(one, (*path, index))
    elif isinstance(rules, dict):
        for level in ("OR", "AND", "OR_WHEN"):
            yield from rule_edits(rules.get(level), (*path, level))
        matching = rules.get("matching")
        if isinstance(matching, dict) and matching.get("match_type") != "regexMatches":
            yield from shorter(rules.get("value"), (*path, "value"))


def request_edits(request: dict[str, Any]) -> Iterator[Edit]:
    at = ("request", "request")
    yield from spare(request, at, "request")
    for name in ("experience_keys", "feature_keys", "feature_experience_keys"):
        yield from elements(request.get(name), (*at, name))
    for name in ("attributes", "call_attributes", "location", "default_segments", "state"):
        yield from inside(request.get(name), (*at, name))
    custom = request.get("custom_segments") or {}
    yield from elements(custom.get("keys"), (*at, "custom_segments", "keys"))
    yield from inside(custom.get("rule_data"), (*at, "custom_segments", "rule_data"))
    for index, conversion in enumerate(request.get("conversions") or []):
        path = (*at, "conversions", index)
        yield Edit(path)
        yield from spare(conversion, path, "conversion")
        yield from inside(conversion.get("rule_data"), (*path, "rule_data"))
        yield from elements(conversion.get("goal_data"), (*path, "goal_data"))
    for short in SHORT_VISITORS:
        if len(short) < len(request["visitor_id"]):
            yield Edit((*at, "visitor_id"), short, removes=False)


def spare(holder: dict[str, Any], path: Path, what: str) -> Iterator[Edit]:
    for key in SPARE_KEYS[what]:
        if key in holder:
            yield Edit((*path, key))


def elements(values: Any, path: Path) -> Iterator[Edit]:
    for index in range(len(values) if isinstance(values, list) else 0):
        yield Edit((*path, index))


def inside(value: Any, path: Path) -> Iterator[Edit]:
    """Shrink an unconstrained value."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield Edit((*path, key))
            yield from inside(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield Edit((*path, index))
            yield from inside(one, (*path, index))
    else:
        yield from shorter(value, path)


def shorter(value: Any, path: Path) -> Iterator[Edit]:
    if isinstance(value, str) and len(value) > 1:
        half = len(value) // 2
        yield Edit(path, value[:half], removes=False)
        yield Edit(path, value[half:], removes=False)
