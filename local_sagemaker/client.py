"""The other side of the server: find it, start it, end it, ask its admin API.

    server = ensure_server(State(default_folder()))     # starts one if none runs
    control(server, "GET", "status")

The launcher makes a Session of a server's address, token and region (launcher/cli/local.py).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from local_sagemaker.errors import EmulatorError
from local_sagemaker.state import REGION, Server, State, account_of_environment
from local_sagemaker.state_files import refuse_full_disk

_START_SECONDS = 300.0
"""A state of many objects takes a second for each 10,000, and longer on a busy machine."""
_STOP_SECONDS = 180.0

_EXTRA = ("docker", "flask", "flask_cors", "moto")
"""What pyproject.toml's extra `local` installs, by the names that are imported."""

_started: list[subprocess.Popen[bytes]] = []

_LOOPBACK = "127.0.0.1,localhost"


class ServerError(EmulatorError):
    """The local SageMaker does not start, or does not do what it was asked for."""


def ensure_server(state: State, options: Sequence[str] = ()) -> Server:
    """Return the server of a state folder, started if none runs; raise ServerError.

    A server that runs keeps the kind of account that it was started with; to want another one is an error.
    """
    running = state.running_server()
    if running is None:
        return start_server(state, options)
    wanted = account_of_environment()
    if wanted not in (None, running.account):
        raise ServerError(
            f"LOCAL_SAGEMAKER_ACCOUNT is {wanted}, and the server that runs is an {running.account} account's; "
            "end it first: launcher local stop"
        )
    return running


def start_server(state: State, options: Sequence[str] = ()) -> Server:
    """Start a server in the background, where it outlives this process; raise ServerError, StorageError."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerError(
            f"the local SageMaker needs {', '.join(missing)} as well: pip install 'distilbert-trainer[local]'"
        )
    state.make()
    refuse_full_disk(state.folder)  # where the server could not even log that
    command = [sys.executable, "-m", "local_sagemaker", "--state", str(state.folder), *options]
    with os.fdopen(os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab") as log:
        begin = log.tell()
        # Its folder is its own: this process's may be gone one day.
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=state.folder,
            env=_environment_of_server(),
        )
    _started.append(process)  # it lives on: nothing here waits for its end
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        server = state.running_server()
        if server is not None:
            for sentence in control(server, "GET", "status")["damaged"]:
                sys.stderr.write(f"warning: {sentence}\n")
            return server
        # Of two commands at once, one has started the server that both use, unless it was to have settings.
        if process.poll() is not None and (options or not state.is_owned()):
            said = state.log.read_bytes()[begin:].decode("utf-8", "replace").strip().splitlines()
            raise ServerError(said[-1].removeprefix("error: ") if said else f"it ended at once; see {state.log}")
        time.sleep(0.05)
    process.terminate()
    raise ServerError(f"it has not started after {_START_SECONDS:.0f} s; {state.log} says more")


def stop_server(state: State) -> bool:
    """End the server of a state folder and wait for it; False if none runs."""
    server = _announced(state)
    if server is None:
        return False
    with suppress(ServerError):  # it may end while it answers: that it has gone is what tells
        control(server, "POST", "shutdown")
    give_up = time.monotonic() + _STOP_SECONDS
    while state.running_server() == server or _is_alive(server.pid):
        if time.monotonic() > give_up:
            raise ServerError(f"the server (process {server.pid}) has not ended after {_STOP_SECONDS:.0f} s")
        time.sleep(0.05)
    return True


def _announced(state: State) -> Server | None:
    """Return the server of a state folder, once it has loaded what it holds."""
    give_up = time.monotonic() + _START_SECONDS
    while (server := state.running_server()) is None and state.is_owned() and time.monotonic() < give_up:
        time.sleep(0.05)
    return server


def _is_alive(identifier: int) -> bool:
    """Tell whether a server that this process started still runs; one that has ended leaves no zombie."""
    for process in [process for process in _started if process.pid == identifier]:
        if process.poll() is None:
            return True
        _started.remove(process)
    return False


def control(server: Server, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """Ask the admin API (local_sagemaker/admin_api.py); raise ServerError with its refusal."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{server.address}/_local/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {server.token}"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        raise ServerError(_refusal(text)) from None
    except (OSError, HTTPException) as error:
        raise ServerError(f"the server at {server.address} does not answer: {error}") from None


def region_of(environ: Mapping[str, str]) -> str:
    """Return the region of an environment, else the local SageMaker's own; no profile is asked."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or REGION


def past_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the two variables that keep requests to this machine from a proxy, with what they have already."""
    names = ("NO_PROXY", "no_proxy")
    return {name: f"{environ[name]},{_LOOPBACK}" if environ.get(name) else _LOOPBACK for name in names}


def _environment_of_server() -> dict[str, str]:
    """Return this process's environment without what a server has no business with: it never asks AWS anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAUNCHER_"))}
    # The launcher may run from its repository, without having been installed.
    packages = str(Path(__file__).parent.parent)
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))}


def _refusal(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
