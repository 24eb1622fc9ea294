"""Runs jobs: first come, first served, so many at a time, each in a thread of its own.

scheduler = Scheduler(world, jobs_at_once=2)
scheduler.recover()         # what a server that was killed has left
scheduler.start("training", "star-rating-1"); scheduler.send("training", "star-rating-1", Interrupt())
scheduler.close()           # running jobs fail, saying why
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from launcher.local.document import Kind
from launcher.local.jobs import NoSuchJobError
from launcher.local.life.job_life import JobLife
from launcher.local.life.messages import Message, Shutdown, Stop
from launcher.local.life.processing import ProcessingLife
from launcher.local.life.training import TrainingLife
from launcher.local.life.world import World

_LIVES: dict[Kind, type[JobLife]] = {"training": TrainingLife, "processing": ProcessingLife}

_log = logging.getLogger(__name__)

Key = tuple[Kind, str]


class Scheduler:
    """All lives of jobs; safe to use from any thread."""

    def __init__(self, world: World, jobs_at_once: int) -> None:
        self._world = world
        self._jobs_at_once = jobs_at_once
        self._lock = threading.Lock()
        self._waiting: deque[Key] = deque()
        self._lives: dict[Key, tuple[JobLife, threading.Thread]] = {}
        self._closed = False

    def recover(self) -> None:
        """Go on with every job that has not ended, and remove what is left of those that have or are unknown."""
        kinds: tuple[Kind, ...] = ("training", "processing")
        for kind in kinds:
            for job in self._world.jobs.list(kind):
                if not job.has_ended:
                    self.start(kind, job.name)

    def start(self, kind: Kind, name: str) -> None:
        """Run a job as soon as fewer than `jobs_at_once` run."""
        with self._lock:
            self._waiting.append((kind, name))
        self._dispatch()

    def stop(self, kind: Kind, name: str) -> None:
        """Tell a job that its document asks it to stop; one that waits ends without having begun."""
        if not self.send(kind, name, Stop()):
            with self._lock:
                if (kind, name) in self._waiting:
                    self._waiting.remove((kind, name))
                    self._begin((kind, name))

    def send(self, kind: Kind, name: str, message: Message) -> bool:
        """Send a running job a message; False if it does not run."""
        with self._lock:
            entry = self._lives.get((kind, name))
        if entry is None:
            return False
        entry[0].send(message)
        return True

    def close(self) -> None:
        """End every life: running jobs fail, waiting ones go on waiting for the next server."""
        with self._lock:
            self._closed = True
            entries = list(self._lives.values())
        for life, _ in entries:
            life.send(Shutdown())
        for _, thread in entries:
            thread.join()

    def _dispatch(self) -> None:
        with self._lock:
            while self._waiting and len(self._lives) < self._jobs_at_once and not self._closed:
                self._begin(self._waiting.popleft())

    def _begin(self, key: Key) -> None:
        kind, name = key
        life = _LIVES[kind](self._world, name)
        thread = threading.Thread(target=self._live, args=(key, life), name=f"{kind} {name}", daemon=True)
        self._lives[key] = (life, thread)
        thread.start()

    def _live(self, key: Key, life: JobLife) -> None:
        try:
            life.run()
        except NoSuchJobError:
            _log.warning("the job %s was deleted while it ran", key[1])
        finally:
            with self._lock:
                self._lives.pop(key, None)
            self._dispatch()
