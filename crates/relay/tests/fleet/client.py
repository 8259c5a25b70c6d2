"""A client of the fleet with the official Python package, which drops what it cannot deliver at once.

Arguments: base URL, SDK key, name, visitors in a batch. Ends with its standard input.
"""

from __future__ import annotations

import sys
import threading
import time

from convert_sdk import Core, SDKConfig, TransportConfig
from convert_sdk.events import LifecycleEvent


def main() -> None:
    url, sdk_key, name, batch = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    # The package cannot be given an authority.
    transport = TransportConfig(base_url=url, track_base_url=url + "/v1", verify_tls=False)
    core = Core(SDKConfig(sdk_key=sdk_key, transport=transport, batch_size=1_000_000))
    core.initialize()
    outcomes: list[bool] = []
    core.on(LifecycleEvent.API_QUEUE_RELEASED, lambda _payload, error: outcomes.append(error is None))
    number = 0
    while not ended.is_set():
        visitors = [f"{name}-{number + index}" for index in range(batch)]
        number += batch
        for visitor in visitors:
            context = core.create_context(visitor)
            context.run_experience("homepage-headline")
            context.track_conversion("purchase")
        outcomes.clear()
        try:
            core.flush()
        except Exception:  # noqa: BLE001 - whatever it is, the package has reported it
            outcomes.append(False)
        word = "acknowledged" if outcomes and all(outcomes) else "dropped"
        if word == "dropped":
            time.sleep(0.05)
        print(word, "once", *visitors, flush=True)


if __name__ == "__main__":
    main()
