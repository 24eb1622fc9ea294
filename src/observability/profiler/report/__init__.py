"""The profiler's report: what a profile says, on one page.

verdicts = write_report([folder], Path("profiler-report.html"), title="my-job")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from observability.profiler.files import replace
from observability.profiler.reading import Profile
from observability.profiler.report.contents import Verdict, gather, judge
from observability.profiler.report.page import page
from observability.profiler.rules.base import ProfileRule


def write_report(
    folders: Sequence[Path], path: Path, title: str, rules: Sequence[ProfileRule] | None = None
) -> list[Verdict]:
    """Write the report on a profile, and return the rules' verdicts; with AWS's defaults unless rules are given."""
    profile = Profile(*folders)
    profile.refresh()
    verdicts = judge(profile, rules)
    html = page(gather(profile, title, verdicts))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, html.encode())
    return verdicts
