"""The machine and the versions that a benchmark's numbers belong to, as one JSON line.

A process of its own: run.json's module, which knows them, imports TensorFlow.
"""

from __future__ import annotations

import json
import os

from star_rating.hardware.instruction_set import choose
from star_rating.results import run_record

if __name__ == "__main__":
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # A processor's name says little in a virtual machine: two generations of EPYC have the same.
    instruction_set = choose(dict(os.environ)).best
    machine = {**run_record.machine(), "memory_bytes": memory, "instruction_set": instruction_set}
    print("\n" + json.dumps({"machine": machine, "versions": run_record.versions()}))
