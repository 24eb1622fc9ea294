"""Numbers as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a time in its unit."""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(number_of_bytes: float) -> str:
    """Return a number of bytes in its unit."""
    unit, name = byte_unit(number_of_bytes)
    return f"{number_of_bytes / unit:.3g} {name}"


def byte_unit(most: float) -> tuple[float, str]:
    """Return the unit for numbers up to `most`: how many bytes it has, and its name."""
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next(((unit, name) for unit, name in units if most >= unit), (1.0, "B"))


def percent(share: float, digits: int = 0) -> str:
    """Return a share of one in per cent."""
    return f"{100 * share:.{digits}f} %"
