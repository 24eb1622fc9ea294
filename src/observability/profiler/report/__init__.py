"""The profiler's report: what a profile says, on one page.

results = write_report([folder], Path("profiler-report.html"), title="my-job")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from observability.profiler.files import replace
from observability.profiler.profile_reader import Profile
from observability.profiler.report.contents import RuleResult, build_contents, evaluate
from observability.profiler.report.page import page
from observability.profiler.rules import ProfileRule


def write_report(
    folders: Sequence[Path], path: Path, title: str, rules: Sequence[ProfileRule] | None = None
) -> list[RuleResult]:
    """Write the report on a profile, and return the rules' results; with AWS's defaults unless rules are given."""
    profile = Profile(*folders)
    profile.refresh()
    results = evaluate(profile, rules)
    html = page(build_contents(profile, title, results))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, html.encode())
    return results
