#!/usr/bin/env python3
"""Runs the quickstart against an independent server: plain Python over TLS, two routes.

Makes a certificate with openssl, serves a config and accepts tracking posts, starts the quickstart with
only its variables set, and compares what arrived with what the quickstart reports. Exit status 0 if they
agree.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = (ROOT / "examples" / "shop.json").read_bytes()
KEY = "10035569/10034190"


class Plain(BaseHTTPRequestHandler):
    """Serves the config route and the tracking route, and counts events."""

    protocol_version = "HTTP/1.1"
    events: list[str] = []
    lock = threading.Lock()

    def do_GET(self) -> None:
        known = self.path == f"/api/v1/config/{KEY}"
        self.answer(200 if known else 404, CONFIG if known else b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != f"/collect/track/{KEY}":
            return self.answer(404, b"")
        kinds = [event["eventType"] for visitor in body["visitors"] for event in visitor["events"]]
        with self.lock:
            self.events.extend(kinds)
        return self.answer(200, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True)
    return cert, key


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        cert, key = certificate(Path(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), Plain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"https://localhost:{server.server_port}"
        environment = {
            **os.environ, "CONVERT_SDK_KEY": KEY, "CONVERT_CONFIG_ENDPOINT": base,
            "CONVERT_TRACK_ENDPOINT": f"{base}/collect", "CONVERT_CA_FILE": str(cert),
            "CONVERT_VISITORS": "500", "CONVERT_EXPERIENCE": "checkout",
            "CONVERT_FEATURE": "checkout-form", "CONVERT_GOAL": "signup",
        }
        ran = subprocess.run(["cargo", "run", "--quiet", "--example", "quickstart"], cwd=ROOT,
                             env=environment, stdout=subprocess.PIPE, text=True, check=False)
        server.shutdown()
    print(ran.stdout, end="")
    said = re.search(r"delivered +\d+ +\((\d+) events\)", ran.stdout)
    print(f"the plain server received {len(Plain.events)} events")
    agreed = ran.returncode == 0 and said is not None and int(said.group(1)) == len(Plain.events) > 0
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
