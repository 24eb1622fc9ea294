"""AWS's rules on a profile, by their names, with their parameters and defaults (smdebug_rulesconfig 1.0.1).

star_rating.rules evaluates them, as does the report; on a machine without a GPU those about GPUs say that.
"""

from __future__ import annotations

from star_rating.profiling.rules.base import ProfileRule
from star_rating.profiling.rules.gpu import CPUBottleneck, GPUMemoryIncrease, LoadBalancing, LowGPUUtilization
from star_rating.profiling.rules.steps import MaxInitializationTime, StepOutlier
from star_rating.profiling.rules.system import BatchSize, IOBottleneck, OverallSystemUsage

PROFILE_RULES: tuple[type[ProfileRule], ...] = (
    BatchSize,
    CPUBottleneck,
    GPUMemoryIncrease,
    IOBottleneck,
    LoadBalancing,
    LowGPUUtilization,
    MaxInitializationTime,
    OverallSystemUsage,
    StepOutlier,
)
RULES = PROFILE_RULES
