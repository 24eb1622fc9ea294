"""Where cores have hardware threads: whether TensorFlow gets one thread per core or per logical CPU, by measurement.

    threads = calibrate(threads, lambda: matrix_products(2048, 768, 3072), lambda: None, os.environ)

Two hardware threads of a core share the unit that multiplies, so that one thread per core is the rule; but they hide
each other's waiting for memory. Which is more, a second of a training step's own products tells. TensorFlow makes its
threads once per process, at its first operation: a child process per choice multiplies, in turns. The children are
forks of this process, which has imported TensorFlow and run nothing, so that they begin at once.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from star_rating.hardware.threads import INTER_OP, INTRA_OP, Threads

log = logging.getLogger(__name__)

SECONDS = 0.9
"""That a calibration takes at most, but for starting and ending its processes."""
MARGIN = 0.05
"""Share of the time that all logical CPUs must save: less is noise."""
FEWEST_TURNS = 4
"""With fewer nothing is concluded; the first, in which TensorFlow starts, is not among them."""
MOST_TURNS = 20
"""More tell nothing more."""
_SECONDS = struct.Struct("d")

Work = Callable[[int], object]
"""Does one piece of work; its number, from 0, says which of several kinds."""


def calibrate(
    threads: Threads,
    make_work: Callable[[], Work],
    previous: Callable[[], Mapping[str, Any] | None],
    environ: MutableMapping[str, str],
) -> Threads:
    """Return the threads to compute in, and set them in `environ`; the log says which and why.

    `previous` gives the record() of the run that this one resumes, or of the job's first host: its choice holds where
    this machine has it. Nothing is done where there is nothing to choose. Call this after TensorFlow is imported and
    before its first operation.
    """
    if threads.intra_op == threads.most:
        return threads
    choices = (threads.intra_op, threads.most)
    before = (previous() or {}).get("intra_op")
    if before in choices:
        chosen, why = int(before), "as chosen before"
    else:
        chosen, why = choose_faster(choices, measure(choices, make_work))
    environ[INTRA_OP] = environ[INTER_OP] = str(chosen)
    log.info("TensorFlow computes in %d threads: %s", chosen, why)
    return replace(threads, intra_op=chosen, inter_op=chosen, reason=why)


def choose_faster(choices: tuple[int, int], seconds: Sequence[Sequence[float]]) -> tuple[int, str]:
    """Return which number of threads to take, and why; `seconds` are those of each turn, in the order of `choices`."""
    per_core, per_logical_cpu = choices
    if len(seconds) < FEWEST_TURNS:
        return per_core, f"one for each core, as {SECONDS:g} s did not suffice to measure {per_logical_cpu}"
    ratio = statistics.median(logical / core for core, logical in seconds)
    if ratio <= 1 - MARGIN:
        return per_logical_cpu, f"products take {ratio:.2f} times as long as in {per_core}"
    return per_core, f"one for each core, as products in {per_logical_cpu} take {ratio:.2f} times as long"


def measure(choices: Sequence[int], make_work: Callable[[], Work]) -> list[tuple[float, ...]]:
    """Return the seconds of each turn with each number of threads; as many turns as there is time for, and use of."""
    deadline = time.monotonic() + SECONDS
    turns: list[tuple[float, ...]] = []
    with ExitStack() as children:
        try:
            started = [children.enter_context(_child(number, make_work)) for number in choices]
            while len(turns) <= MOST_TURNS:
                turns.append(tuple(child.turn(len(turns), deadline) for child in started))
        except (OSError, TimeoutError) as ending:  # no more processes; a child that ended; the time is over
            log.debug("calibration: %s", ending)
    return turns[1:]


def matrix_products(tokens: int, dim: int, hidden_dim: int) -> Work:
    """Return what multiplies as a feed-forward layer does: forward, backward to the weights, backward to the inputs."""
    import tensorflow as tf  # after its environment is set

    inputs, weights, outputs = tf.ones([tokens, dim]), tf.ones([dim, hidden_dim]), tf.ones([tokens, hidden_dim])
    products = (
        lambda: tf.matmul(inputs, weights),
        lambda: tf.matmul(inputs, outputs, transpose_a=True),
        lambda: tf.matmul(outputs, weights, transpose_b=True),
    )
    return lambda number: products[number % len(products)]()[0, 0].numpy()


@dataclass(frozen=True)
class _Child:
    """A process that works when it is told to."""

    orders: int
    answers: int
    """File descriptors."""

    def turn(self, number: int, deadline: float) -> float:
        """Have it do one piece of work; return its seconds. Raises TimeoutError, and OSError if it has ended."""
        os.write(self.orders, _SECONDS.pack(number))
        ready, *_ = select.select([self.answers], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TimeoutError("the time is over")
        answer = os.read(self.answers, _SECONDS.size)
        if len(answer) < _SECONDS.size:
            raise BrokenPipeError("a child has ended")
        return float(_SECONDS.unpack(answer)[0])


@contextmanager
def _child(threads: int, make_work: Callable[[], Work]) -> Iterator[_Child]:
    orders, answers = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(orders[1])
            os.close(answers[0])
            _serve(threads, make_work, orders[0], answers[1])
        finally:
            os._exit(1)
    os.close(orders[0])
    os.close(answers[1])
    try:
        yield _Child(orders[1], answers[0])
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(orders[1])
        os.close(answers[0])


def _serve(threads: int, make_work: Callable[[], Work], orders: int, answers: int) -> None:
    """Do a piece of work per order, and answer its seconds."""
    faulthandler.disable()  # an instruction that traps is an answer, too
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 2 * SECONDS)  # should nobody be left to end this process
    os.environ[INTRA_OP] = os.environ[INTER_OP] = str(threads)
    work = make_work()
    while order := os.read(orders, _SECONDS.size):
        (number,) = _SECONDS.unpack(order)
        began = time.perf_counter()
        work(int(number))
        os.write(answers, _SECONDS.pack(time.perf_counter() - began))
