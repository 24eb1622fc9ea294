"""The server's process: `python -m local_sagemaker --state FOLDER`; `launcher local start` is what starts it.

It ends in order at SIGTERM, Ctrl-C and `launcher local stop`: running jobs fail, saying why, and leave nothing.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from local_sagemaker.docker_client.container_request import HostLimits
from local_sagemaker.errors import EmulatorError
from local_sagemaker.server import LocalServer, ServerSettings
from local_sagemaker.state import ACCOUNT_AGES, State, account_of_environment


def main(arguments: list[str]) -> int:
    """Serve until told to end."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # what the server writes is its owner's alone
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    limits = HostLimits(options.cpus_per_host, options.memory_per_host)
    try:
        account = options.account or account_of_environment() or "old"
        settings = ServerSettings(options.port, options.jobs, limits, options.stop_seconds, account)
        with LocalServer(State(options.state), settings) as server:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: server.end())
            logging.getLogger("local_sagemaker").info("serving %s at %s", options.state, server.address)
            server.wait()
    except EmulatorError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_sagemaker", description="Serve a local SageMaker.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--cpus-per-host", type=float)
    parser.add_argument("--memory-per-host", type=int, help="bytes")
    parser.add_argument("--account", choices=ACCOUNT_AGES)
    parser.add_argument("--stop-seconds", type=float, default=120.0)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
