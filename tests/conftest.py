"""What the tests of every folder share; they may run in several processes (scripts/test.sh).

CI runs a short form of what takes long. `--full` runs all of it (`make test-long`), and is the one switch:

    @pytest.mark.long                                       # a test, or a pytest.param, that CI leaves out
    def test_an_input_is_read_or_refused(scaled: Callable[..., int]) -> None:
        feed(read, inputs, number=scaled(6000))             # 600 in CI, 6,000 with --full
        trials = scaled(10, in_ci=2)                        # 2 in CI, 10 with --full

`pytest --full -m long` runs what CI leaves out: the tests marked `long`, and those that use `scaled`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

SAID = "said"
SHARE_IN_CI = 0.1
"""Of the inputs of a test, where it does not say how many CI takes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="run tests marked long, and all inputs of those that use scaled"
    )


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --full, mark what would be shorter without it; without --full, leave out what is marked long."""
    if config.getoption("--full"):
        for item in items:
            if "scaled" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.long)
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture
def scaled(pytestconfig: pytest.Config) -> Callable[..., int]:
    """Say how many inputs or trials this run takes out of `full`: without --full `in_ci`, or a tenth."""
    full_counts = bool(pytestconfig.getoption("--full"))

    def of(full: int, in_ci: int | None = None) -> int:
        return full if full_counts else math.ceil(full * SHARE_IN_CI) if in_ci is None else in_ci

    return of


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say a line that belongs into the log of a run that passes, too; it comes at the run's end."""
    return lambda line: record_property(SAID, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what passing tests have said, in whichever process."""
    lines = [
        str(line)
        for report in terminalreporter.getreports("passed")
        for name, line in report.user_properties
        if name == SAID
    ]
    if lines:
        terminalreporter.section("said")
        for line in lines:
            terminalreporter.write_line(line)
