"""What the launcher knows without asking: the image, AWS's rule images, prices, a core's speed. JSON, one file each."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Return one of this folder's JSON files."""
    content: dict[str, Any] = json.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))
    return content


def metric_definitions() -> dict[str, str]:
    """Return metric name -> regular expression of the image's own log lines (`docker run IMAGE metrics`)."""
    definitions: dict[str, str] = load("image.json")["metric_definitions"]
    return definitions


def hyperparameters() -> dict[str, dict[str, Any]]:
    """Return hyperparameter name -> kind, default and limits, as the image checks them."""
    known: dict[str, dict[str, Any]] = load("image.json")["hyperparameters"]
    return known


def rule_evaluator_image(region: str) -> str | None:
    """Return AWS's image for Debugger's built-in rules, or None if there is none."""
    account = load("rule_images.json")["accounts"].get(region)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return account and f"{account}.dkr.ecr.{region}.{domain}/sagemaker-debugger-rules:latest"


def hourly_price(region: str, instance_type: str) -> float | None:
    """Return dollars per hour and host, on demand; None if prices.json has none."""
    price: float | None = load("prices.json")["regions"].get(region, {}).get(instance_type)
    return price


def spot_price_share() -> float:
    """Return which share of the on-demand price spot is assumed to cost."""
    share: float = load("prices.json")["spot"]["share_of_on_demand"]
    return share


def serverless_price(region: str) -> float | None:
    """Return dollars per GB of memory and second of a serverless endpoint; None if prices.json has none."""
    price: float | None = load("prices.json")["serverless"].get(region)
    return price


def prices_as_of() -> str:
    """Return the day on which prices.json was written."""
    day: str = load("prices.json")["as_of"]
    return day
