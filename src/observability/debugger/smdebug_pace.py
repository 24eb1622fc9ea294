"""A save interval that widens where saving is dear; import it after smdebug_messages.install().

hook.get_collection("weights").save_config = PacedSaveConfig(10, Pace(hook.cost, share=0.02))
"""

from __future__ import annotations

from smdebug.core.modes import ModeKeys
from smdebug.core.save_config import SaveConfig

from observability.debugger.cost import Pace


class PacedSaveConfig(SaveConfig):
    """Every `save_interval` training steps those that the pace allows, and no validation step."""

    def __init__(self, save_interval: int, pace: Pace) -> None:
        super().__init__(save_interval=save_interval)
        self._pace = pace

    def should_save_step(self, mode: ModeKeys, step: int) -> bool:
        """Return whether a step of a mode is saved."""
        return bool(mode == ModeKeys.TRAIN and super().should_save_step(mode, step) and self._pace.allows(step))
