"""AWS's rules on a profile, by their names, with their parameters and defaults (smdebug_rulesconfig 1.0.1).

observability.rules evaluates them, as does the report; on a machine without a GPU those about GPUs say that.
"""

from __future__ import annotations

from observability.profiler.rules.profiler_report import PROFILE_RULES, ProfilerReport
from observability.rules.rule import ProfilerRule

RULES: tuple[type[ProfilerRule], ...] = (*PROFILE_RULES, ProfilerReport)
"""What observability.rules looks for."""
