"""Counts what an SDK asks of AWS, operation by operation. On PYTHONPATH; CALLS names the file that gets the counts."""

from __future__ import annotations

import atexit
import collections
import json
import os
from pathlib import Path
from typing import Any

from botocore.client import BaseClient

_counts: collections.Counter[str] = collections.Counter()
_make_api_call = BaseClient._make_api_call


def _counted(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    _counts[f"{client.meta.service_model.service_id}: {operation}"] += 1
    return _make_api_call(client, operation, parameters)


BaseClient._make_api_call = _counted
atexit.register(lambda: Path(os.environ["CALLS"]).write_text(json.dumps(_counts, sort_keys=True), encoding="utf-8"))
