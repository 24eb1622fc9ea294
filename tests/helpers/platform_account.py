"""An AWS account on loopback, empty at first: the local SageMaker's port, with a real registry behind its ECR.

    with account(folder, program) as environment: ...     # AWS_ENDPOINT_URL, the keys, a region

It is a process of its own: moto's state is one for a process, and the tests' has other accounts in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from moto.ecr.models import Repository

from local_sagemaker.server import LocalServer
from local_sagemaker.state import State
from tests.helpers.ecr_stand_in import Registry
from tests.helpers.pushing import REPOSITORY

REGION = "us-east-1"


@contextmanager
def account(folder: Path, program: str) -> Iterator[dict[str, str]]:
    """Serve an empty account from a folder; `program` is docker-registry. Yield what clients need to reach it."""
    command = [sys.executable, "-m", "tests.helpers.platform_account", str(folder), program]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address, token, registry = server.stdout.readline().split()
        try:
            yield {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": token,
                "AWS_SECRET_ACCESS_KEY": token,
                "AWS_REGION": REGION,
                "AWS_EC2_METADATA_DISABLED": "true",
                "NO_PROXY": "127.0.0.1",
                "REGISTRY": registry,
            }
        finally:
            server.communicate(timeout=60)  # the end of its stdin is what it waits for


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("program")
    options = parser.parse_args()
    registry = Registry(options.folder / "registry", options.program)
    registry.start()
    original = Repository.__init__

    def at_our_port(self: Any, *arguments: Any, **settings: Any) -> None:
        original(self, *arguments, **settings)
        self.uri = f"127.0.0.1:{registry.port}/{self.name}"

    try:
        with (
            mock.patch.object(Repository, "__init__", at_our_port),
            LocalServer(State(options.folder / "account")) as server,
        ):
            sys.stdout.write(f"{server.address} {server.token} 127.0.0.1:{registry.port}\n")
            sys.stdout.flush()
            sys.stdin.read()
    finally:
        registry.kill()


if __name__ == "__main__":
    os.umask(0o077)
    main()
