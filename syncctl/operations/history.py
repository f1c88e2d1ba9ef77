"""What passes have done."""

from syncctl.db.history import list_passes, list_steps

__all__ = ["list_passes", "list_steps"]
