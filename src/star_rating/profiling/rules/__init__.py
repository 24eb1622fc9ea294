"""AWS's rules on a profile, by their names, with their parameters and defaults (smdebug_rulesconfig 1.0.1).

star_rating.rules evaluates them, as does the report; on a machine without a GPU those about GPUs say that.
"""

from __future__ import annotations

from star_rating.profiling.rules.profiler_report import PROFILE_RULES, ProfilerReport
from star_rating.rules.rule import ProfilerRule

RULES: tuple[type[ProfilerRule], ...] = (*PROFILE_RULES, ProfilerReport)
"""What star_rating.rules looks for."""
