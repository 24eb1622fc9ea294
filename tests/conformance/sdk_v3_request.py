"""Run a program of SDK v3 against a server that writes down its CreateTrainingJob, and refuses it.

    python sdk_v3_request.py PROGRAM.py REQUEST.json

Runs in .venv-sagemaker-sdk-v3; imports nothing of this project. The server is on loopback, and the only one that the
program can reach.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROGRAM, OUTPUT = sys.argv[1], Path(sys.argv[2])
JSON_REFUSAL = b'{"__type": "AccessDeniedException", "message": "refused"}'
XML_REFUSAL = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>refused</Message></Error></ErrorResponse>"

requests: list[object] = []


class Refusing(BaseHTTPRequestHandler):
    """An endpoint of AWS that refuses everything."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target")
        if target == "SageMaker.CreateTrainingJob":
            requests.append(json.loads(body))
        answer = JSON_REFUSAL if target else XML_REFUSAL
        self.send_response(403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_HEAD = do_PUT = do_POST  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_MAX_ATTEMPTS": "1",
}
from botocore.exceptions import ClientError  # noqa: E402 - after its settings

try:
    runpy.run_path(PROGRAM)
except ClientError as error:
    print(error)
(request,) = requests
OUTPUT.write_text(json.dumps(request, indent=1), encoding="utf-8")
