#!/usr/bin/env python3
"""Print what the launcher has to know of the image: its hyperparameters and metric definitions, from src/.

    scripts/image_contract.py > launcher/data/image.json

The launcher imports nothing of the image; this file is what they share. tests/launcher keeps it up to date.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from star_rating.hyperparameters import Hyperparameters
from star_rating.logs import metric_definitions

print(  # noqa: T201 - this command's output
    json.dumps(
        {
            "metric_definitions": {definition["Name"]: definition["Regex"] for definition in metric_definitions()},
            "hyperparameters": {
                field.name: {"default": field.default, **field.metadata}
                for field in dataclasses.fields(Hyperparameters)
            },
        },
        indent=1,
    )
)
