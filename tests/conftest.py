"""What the tests of every folder share; they may run in several processes (scripts/test.sh)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SAID = "said"


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
