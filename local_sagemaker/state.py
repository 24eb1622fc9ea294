"""The state folder: everything that a local SageMaker remembers, and the address at which its server answers.

    state = State(default_folder())
    with state.owned():                 # one server a folder
        state.announce(port, token)
    state.running_server()              # what a client connects to, or None

It is the caller's, readable by nobody else: it holds the server's token, and requests hold environment values.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal, get_args

from local_sagemaker.errors import EmulatorError
from local_sagemaker.state_files import write

ACCOUNT = "123456789012"
"""moto's; every role, bucket and ARN of the local SageMaker is of this account."""

AccountAge = Literal["new", "old"]
"""Whether the account is one that AWS lets use Debugger: old, by a first use before 2026-07-30."""

ACCOUNT_AGES: tuple[AccountAge, ...] = get_args(AccountAge)

REGION = "us-east-1"
"""Where a client is that names no region."""


def job_key(name: str, region: str) -> str:
    """Return a name that is unique in all regions, for folders and containers; no job's own name has a dot."""
    return name if region == REGION else f"{name}.{region}"


def name_and_region(key: str) -> tuple[str, str]:
    """Return what a job's key is made of."""
    name, _, region = key.partition(".")
    return name, region or REGION


_LOCK_SECONDS = 1.0
"""For how long the lock may be in use before there is another server: who looks for one holds it for a moment."""


class StateInUseError(EmulatorError):
    """Another server owns the folder."""


class WrongAccountError(EmulatorError):
    """LOCAL_SAGEMAKER_ACCOUNT names no kind of account."""


class NoHomeError(EmulatorError):
    """No folder of the user's is known."""


class ForeignStateError(EmulatorError):
    """The folder is another user's, or no folder."""


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    pid: int
    port: int
    token: str = field(default="", repr=False)
    account: AccountAge = "old"

    @property
    def page(self) -> str:
        """The page's address, with the token that lets a browser in; what follows `#` may be appended."""
        return f"{self.address}/?token={self.token}"

    @property
    def exports(self) -> dict[str, str]:
        """What AWS's clients take from the environment to come here."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": self.token,
            "AWS_SECRET_ACCESS_KEY": self.token,
        }

    @property
    def address(self) -> str:
        """What AWS_ENDPOINT_URL is set to."""
        return f"http://127.0.0.1:{self.port}"


def default_folder() -> Path:
    """Return $LOCAL_SAGEMAKER_STATE, else a folder of $XDG_STATE_HOME, by default ~/.local/state; raise NoHomeError."""
    named, home = os.environ.get("LOCAL_SAGEMAKER_STATE"), os.environ.get("XDG_STATE_HOME")
    try:
        return (
            Path(named) if named else Path(home or Path.home() / ".local" / "state") / "distilbert-launcher" / "local"
        )
    except RuntimeError:  # a user id without a name and without HOME, as in many a container
        raise NoHomeError("there is no home folder for a state folder; set LOCAL_SAGEMAKER_STATE or HOME") from None


def account_of_environment() -> AccountAge | None:
    """Return $LOCAL_SAGEMAKER_ACCOUNT; raise WrongAccountError."""
    named = os.environ.get("LOCAL_SAGEMAKER_ACCOUNT")
    account = next((age for age in ACCOUNT_AGES if age == named), None)
    if named and account is None:
        raise WrongAccountError(f"LOCAL_SAGEMAKER_ACCOUNT is {named!r}; set it to {' or '.join(ACCOUNT_AGES)}")
    return account


class State:
    """A state folder, by its path."""

    def __init__(self, folder: Path) -> None:
        self._given = folder.absolute()
        self.folder = folder.resolve()  # what is walked below has no links but those that containers make

    @property
    def identity(self) -> str:
        """What this folder's containers and networks are labelled with, so that each server finds its own."""
        return hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.folder / "server.log"

    def make(self) -> None:
        """Make the folder, or take it from everybody but its owner; raise ForeignStateError if that is another user."""
        for part in (self._given, *self._given.parents):
            if part.is_symlink() and part.lstat().st_uid not in (0, os.geteuid()):
                raise ForeignStateError(f"{part} is a link that another user has made; name a folder by its own path")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ForeignStateError(f"{self.folder} cannot be a state folder: {error.strerror}") from None
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid():
                raise ForeignStateError(
                    f"{self.folder} belongs to the user {found.st_uid}, and this is {os.geteuid()}: name a folder of "
                    "your own in LOCAL_SAGEMAKER_STATE or --state"
                )
            if found.st_mode & 0o077:
                os.fchmod(descriptor, 0o700)
                if (self.folder / "server.lock").exists():  # and not somebody's home that was named by mistake
                    _take_from_others(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def owned(self) -> Iterator[Server | None]:
        """Own the folder as its only server; raise StateInUseError. The lock ends with the process, however it ends.

        Yields the server that was there before, if it was killed.
        """
        self.make()
        with (self.folder / "server.lock").open("a") as lock:
            give_up = time.monotonic() + _LOCK_SECONDS
            while not _is_locked_by_us(lock, fcntl.LOCK_EX):
                if time.monotonic() > give_up:
                    raise StateInUseError(f"a server runs on {self.folder} already: launcher local status")
                time.sleep(0.02)
            killed = self._announced()
            # Nobody is to connect to it while this one starts.
            (self.folder / "server.json").unlink(missing_ok=True)
            try:
                yield killed
            finally:
                (self.folder / "server.json").unlink(missing_ok=True)

    def announce(self, port: int, token: str, account: AccountAge = "old") -> Server:
        """Say where the server of this process answers, to whom, and as what kind of account."""
        server = Server(os.getpid(), port, token, account)
        write(self.folder / "server.json", json.dumps(asdict(server)).encode())
        return server

    def write_way_to_page(self, server: Server) -> Path:
        """Write a file that leads a browser to the page: every user can read a browser's command line, and no token."""
        path = self.folder / "page.html"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={server.page}">\n')
        return path

    def is_owned(self) -> bool:
        """Tell whether a server runs, or is about to; raise ForeignStateError."""
        try:
            with (self.folder / "server.lock").open("r") as lock:
                return not _is_locked_by_us(lock, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ForeignStateError(f"{self.folder} cannot be read: {error.strerror}") from None

    def running_server(self) -> Server | None:
        """Return the server that owns the folder and has announced itself, or None; raise ForeignStateError."""
        if not self.is_owned():
            return None  # what server.json says is of a server that was killed
        server = self._announced()
        try:
            if server is not None:
                os.kill(server.pid, 0)
        except (OSError, ValueError, TypeError, OverflowError):
            return None  # it is starting
        return server

    def _announced(self) -> Server | None:
        """Return what server.json says; None if nothing that can be read."""
        try:
            return Server(**json.loads((self.folder / "server.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def _is_locked_by_us(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_from_others(top: int) -> None:
    """Leave what an earlier version made readable to its owner alone; links stay as they are."""
    for _, _, names, folder in os.fwalk(".", dir_fd=top):
        for name in names:
            with suppress(OSError):  # gone meanwhile, or unreadable already
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
                try:
                    status = os.fstat(file)
                    if stat.S_ISREG(status.st_mode):
                        os.fchmod(file, stat.S_IMODE(status.st_mode) & 0o700)
                finally:
                    os.close(file)
        with suppress(OSError):
            os.fchmod(folder, 0o700)
