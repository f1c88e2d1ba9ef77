"""What passes have done."""

from syncctl.db.history import PassRecord, StepRecord, list_passes, list_steps

__all__ = ["PassRecord", "StepRecord", "list_passes", "list_steps"]
