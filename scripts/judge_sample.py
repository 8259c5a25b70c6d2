"""Compares what a sample says it has shown and converted, one JSON object a line, with the emulator's record.
Usage: judge_sample.py ADMIN_URL < OUTPUT"""

import json
import sys
import urllib.parse
import urllib.request

PROJECT = "examples/arcade.json"
GAMES = 3  # of each sample, every one by a visitor of its own


def admin(resource):
    with urllib.request.urlopen(f"{sys.argv[1]}/__admin/{resource}", timeout=10) as response:
        return json.load(response)


def expected(lines, goals):
    """The wire events of each visitor: a conversion with revenue is two."""
    events = {}
    for line in lines:
        of = events.setdefault(line["visitor"], [])
        if "experience" in line:
            of.append(("bucketing", line["experience"], line["variation"]))
        else:
            of.append(("conversion", goals[line["goal"]], None))
            of.append(("conversion", goals[line["goal"]], round(line["amount"], 2)))
    return {visitor: sorted(of, key=str) for visitor, of in events.items()}


def recorded(visitor):
    events = []
    for event in admin(f"received?visitor={urllib.parse.quote(visitor)}")["events"]:
        if event["event_type"] == "bucketing":
            events.append(("bucketing", event["experience_id"], event["variation_id"]))
        else:
            data = dict(event["goal_data"] or [])
            events.append(("conversion", event["goal_id"], data.get("amount")))
    return sorted(events, key=str)


def main():
    with open(PROJECT, encoding="utf-8") as file:
        goals = {goal["key"]: goal["id"] for goal in json.load(file)["goals"]}
    *lines, end = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    totals = admin("received")["totals"]
    wanted = expected(lines, goals)
    found = {visitor: recorded(visitor) for visitor in wanted}
    faults = []
    for visitor in wanted:
        if wanted[visitor] != found[visitor]:
            faults.append(f"{visitor}: said {wanted[visitor]}, received {found[visitor]}")
    if len(wanted) != GAMES:
        faults.append(f"{len(wanted)} visitors instead of {GAMES}")
    kinds = {event[0] for of in wanted.values() for event in of}
    if kinds != {"bucketing", "conversion"}:
        faults.append(f"shown and converted: {kinds or 'nothing'}")
    if totals["events"] != sum(map(len, wanted.values())):
        faults.append(f"{totals['events']} events received, also of others")
    if totals["flawed"] or totals["dropped_as_bot"]:
        faults.append(f"wrong requests: {totals}")
    if end["sdk_threads"] or end["undelivered"]:
        faults.append(f"in the end: {end}")
    print(f"{len(wanted)} visitors, {totals['events']} events in {totals['track_requests']} requests, "
          f"threads of the SDK: {end['sdk_threads']} of {end['threads']}")
    sys.exit("\n".join(faults) or None)


main()
