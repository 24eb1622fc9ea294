"""Run vector instructions, one after the other, and say which work; meant to die of one that does not.

    python isa_probe.py '[["c5fdefc0c5f877c3", false]]'      # prints "works" or "refused" for each entry

An entry is machine code in hexadecimal and whether it needs AMX's tile registers. "refused": the kernel does not give
this process the tile registers, and oneDNN, which asks the same way, will not use them either. Only
star_rating.hardware.instruction_set runs this file, as a child process.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import resource
import sys

ARCH_PRCTL = 158
"""System call number on x86-64."""
ARCH_REQ_XCOMP_PERM = 0x1023
XFEATURE_XTILEDATA = 18
"""Linux, Documentation/arch/x86/xstate.rst: AMX's tile data are given to a process on request."""


def tile_configuration() -> ctypes.Array[ctypes.c_char]:
    """Return ldtilecfg's 64 bytes: palette 1, tiles 0 to 2 of 16 rows of 64 bytes."""
    configuration = bytearray(64)
    configuration[0] = 1
    for tile in range(3):
        configuration[16 + 2 * tile] = 64
        configuration[48 + tile] = 16
    return ctypes.create_string_buffer(bytes(configuration), 64)


def run(code: bytes) -> None:
    """Call machine code as a function of one pointer."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    configuration = tile_configuration()
    function(ctypes.addressof(configuration))


def main(request: str) -> None:
    """Try every entry; each answer is written before the next instruction can end the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a trap is an answer, not a crash to keep a core file of
    libc = ctypes.CDLL(None)
    for code, tiles in json.loads(request):
        granted = not tiles or libc.syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0
        if granted:
            run(bytes.fromhex(code))
        print("works" if granted else "refused", flush=True)  # noqa: T201 - the answer goes to the parent's pipe


if __name__ == "__main__":
    main(sys.argv[1])
