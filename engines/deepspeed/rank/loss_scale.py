"""Dynamic loss scaling: in float16 small gradients would be zero, so the loss is multiplied before they are computed."""

from __future__ import annotations

# a new run begins with it
INITIAL = 2.0**16
# from one it is not lowered: a gradient that is not finite then is not the scale's doing
LEAST = 1.0
MOST = 2.0**32
# updates after which a larger one is tried
WINDOW = 1000


class LossScale:
    """A power of two that halves when gradients overflow, and doubles by the count of updates.

    So it is all that a checkpoint has to hold: there is no counter that a resumed run would begin anew.
    """

    def __init__(self, precision: str, value: float | None) -> None:
        self._dynamic = precision == "fp16"
        self.value = (INITIAL if value is None else value) if self._dynamic else 1.0

    @property
    def recorded(self) -> float | None:
        """What a step's record holds; null where the loss is not scaled."""
        return self.value if self._dynamic else None

    def grow(self, updates: int) -> None:
        """Before a step, after so many updates."""
        if self._dynamic and updates > 0 and updates % WINDOW == 0:
            self.value = min(2 * self.value, MOST)

    def halve(self) -> bool:
        """After an overflow; false where it cannot be lower."""
        if not self._dynamic or self.value <= LEAST:
            return False
        self.value /= 2
        return True
