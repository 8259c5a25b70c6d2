"""A host that runs the official Python package: decides and converts for the given visitors.

Reads a JSON object from standard input (redis, prefix, sdk_key, base, track, visitors, goals, segments) and
prints the variation id of each visitor.
"""

from __future__ import annotations

import json
import sys

from convert_sdk import Core, SDKConfig, TransportConfig

from store import RedisStore


def main() -> None:
    task = json.load(sys.stdin)
    config = SDKConfig(
        sdk_key=task["sdk_key"],
        data_store=RedisStore(task["redis"], task["prefix"]),
        # The package cannot be given an authority, and nobody else trusts the emulator's.
        transport=TransportConfig(base_url=task["base"], track_base_url=task["track"], verify_tls=False),
    )
    core = Core(config)
    core.initialize()
    variations = []
    for visitor in task["visitors"]:
        context = core.create_context(visitor)
        if task["segments"]:
            context.set_segments(task["segments"])
        variations.append(context.run_experience("homepage-headline").variation_id)
        for goal in task["goals"]:
            context.track_conversion(goal)
    core.flush()
    json.dump(variations, sys.stdout)


if __name__ == "__main__":
    main()
