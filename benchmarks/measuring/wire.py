"""A network with a delay between containers that have none: what one sends arrives at another so much later.

    with Wire([4711, 4712], delay_seconds=0.005):       # the processes whose network namespaces it joins
        ...                                             # they reach one another at wire_address(0), wire_address(1)

For kernels without netem. Each namespace gets a TUN device, and this process passes the packets on, so that the hosts'
own TCP meets the delay, with its windows and its slow start. Packets are as large as can be, and few enough for Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import queue
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
"""From linux/if_tun.h: a device of IP packets, with nothing in front of them."""
_CLONE_NEWNET = 0x40000000
_DEVICE = "wire0"
_MTU = 65_000
_DESTINATION = 19
"""Where in an IPv4 packet the last byte of its destination is."""
_IPV4 = 4


def wire_address(number: int) -> str:
    """Return the address of the host with that number, counted from 0."""
    return f"10.77.0.{number + 1}"


class Wire:
    """Carries packets between network namespaces, as long as its block lasts; needs root."""

    def __init__(self, processes: Sequence[int], delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self._devices = [_device(process, wire_address(number)) for number, process in enumerate(processes)]
        self._queues: list[queue.SimpleQueue[tuple[float, bytes]]] = [queue.SimpleQueue() for _ in processes]

    def __enter__(self) -> Self:
        """Begin to carry, in two threads a host, which end with their devices' containers."""
        for number in range(len(self._devices)):
            for work in (self._take, self._give):
                threading.Thread(target=work, args=[number], name=f"wire {number}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the devices go."""
        for device in self._devices:
            os.close(device)

    def _take(self, number: int) -> None:
        """Read what a host sends."""
        with contextlib.suppress(OSError):
            while True:
                packet = os.read(self._devices[number], 1 << 17)
                target = packet[_DESTINATION] - 1 if packet[0] >> 4 == _IPV4 else -1
                if 0 <= target < len(self._queues):
                    self._queues[target].put((time.monotonic(), packet))

    def _give(self, number: int) -> None:
        """Write to a host what the others have sent it, in its time."""
        with contextlib.suppress(OSError):
            while True:
                sent, packet = self._queues[number].get()
                time.sleep(max(0.0, sent + self.delay_seconds - time.monotonic()))
                os.write(self._devices[number], packet)


def _device(process: int, address: str) -> int:
    """Make a TUN device in a process's network namespace and return its file descriptor."""
    made: queue.SimpleQueue[int | OSError] = queue.SimpleQueue()

    def make() -> None:  # in a thread of its own, which stays in that namespace
        try:
            with Path(f"/proc/{process}/ns/net").open("rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            device = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
            made.put(device)
        except OSError as error:
            made.put(error)

    threading.Thread(target=make).start()
    device = made.get()
    if isinstance(device, OSError):
        raise device
    for command in (
        ["addr", "add", f"{address}/24", "dev", _DEVICE],
        ["link", "set", _DEVICE, "mtu", f"{_MTU}", "txqueuelen", "10000", "up"],
    ):
        subprocess.run(["nsenter", "--target", str(process), "--net", "ip", *command], check=True)
    return device
