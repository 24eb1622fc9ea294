"""Writes the config files that SageMaker writes for Debugger.

configure(contract, {"HookParameters": {"save_interval": "5"}})
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from star_rating.contract import Contract


def configure(contract: Contract, document: Any, name: str = "debughookconfig.json") -> Path:
    path = contract.config_dir / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path
