"""Fault injection: what is to go wrong, how often, and for which job.

    faults = FaultInjector(state.folder / "faults.json")
    faults.add(Fault(kind="interrupt", job="star-rating-1", after=(5, 20), times=3))
    faults.take("interrupt", "star-rating-1")       # one of the three, or None

| kind | what happens | of its fields |
|---|---|---|
| interrupt | a spot job's hosts are reclaimed, so long after training has begun | after |
| lose-host | a host vanishes, without a word | after, host |
| capacity | there are no machines for `seconds`; without `seconds`, there will be none | seconds |
| download | the channels come slowly, or an object cannot be read | bytes_per_second, fail_at |
| api | an operation is answered with an error | operation, code, message, status |

They outlive the server, as far as they have not happened.
"""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from local_sagemaker.state_files import StateFiles, StorageError, write

FaultKind = Literal["interrupt", "lose-host", "capacity", "download", "api"]

ANY = "*"


class Fault(BaseModel):
    """One thing that goes wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    job: str = ANY
    """Name of the job, or any."""
    times: Annotated[int, Field(ge=1)] = 1
    after: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (0.0, 0.0)
    """Seconds of training, at a random moment between the two."""
    host: str = "algo-1"
    seconds: Annotated[float, Field(ge=0)] | None = None
    bytes_per_second: Annotated[float, Field(gt=0)] | None = None
    fail_at: Annotated[int, Field(ge=1)] | None = None
    """Number of the object."""
    operation: str = ANY
    """As in X-Amz-Target, CreateTrainingJob for example."""
    code: str = "ThrottlingException"
    message: str = "Rate exceeded"
    status: Annotated[int, Field(ge=400, le=599)] = 400

    def moment(self) -> float:
        """Return after how many seconds it happens this time."""
        return random.uniform(*self.after)  # noqa: S311 - no secret


_LIST = TypeAdapter(list[Fault])


class FaultInjector:
    """The injected faults that have not happened yet; safe to use from any thread."""

    def __init__(self, path: Path, files: StateFiles | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._faults = (files or StateFiles()).read(path, _LIST.validate_json, "faults that were to happen") or []

    def add(self, fault: Fault) -> None:
        """Let something go wrong, after what was added before; raise StorageError."""
        with self._lock:
            self._keep([*self._faults, fault])

    def clear(self) -> None:
        """Let nothing go wrong."""
        with self._lock:
            self._keep([])

    def all(self) -> list[Fault]:
        """Return what has not happened yet."""
        return self._faults

    def take(self, kind: FaultKind, subject: str) -> Fault | None:
        """Return the first fault of a kind for a job (for `api`: an operation), and count it as happened."""
        if not self._faults:
            return None
        with self._lock:
            for number, fault in enumerate(self._faults):
                wanted = fault.operation if kind == "api" else fault.job
                if fault.kind == kind and wanted in (subject, ANY):
                    rest = [fault.model_copy(update={"times": fault.times - 1})] if fault.times > 1 else []
                    remaining = [*self._faults[:number], *rest, *self._faults[number + 1 :]]
                    with suppress(StorageError):  # it has happened, whether or not the disk takes that
                        self._keep(remaining)
                    self._faults = remaining
                    return fault
            return None

    def _keep(self, faults: list[Fault]) -> None:
        write(self._path, _LIST.dump_json(faults, indent=1))
        self._faults = faults
