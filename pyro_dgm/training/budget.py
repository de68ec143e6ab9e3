"""How long to train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyro_dgm.arguments import positive_int, positive_number

__all__ = ["DEFAULT_STEPS", "Budget", "positive_int", "positive_number"]

DEFAULT_STEPS = 2000


@dataclass(frozen=True)
class Budget:
    """The limits of a run; what is reached first ends it.

    Attributes:
        steps: Number of steps, or None for no limit.
        max_time: Wall-clock seconds, or None for no limit.
    """

    steps: int | None
    max_time: float | None

    @classmethod
    def of(
        cls, steps: int | None, epochs: int | None, max_time: float | None, steps_per_epoch: int | None
    ) -> Budget:
        """Check the three limits a user may give, and count epochs in steps.

        Without any limit it is :data:`DEFAULT_STEPS` steps.

        Raises:
            ValueError: If steps and epochs are both given, if epochs are asked of data without end, or if a
                number is not positive.
        """
        if steps is not None and epochs is not None:
            raise ValueError(f"give either steps or epochs, but got steps={steps} and epochs={epochs}.")
        if max_time is not None:
            max_time = positive_number("max_time", max_time)
        if epochs is not None:
            epochs = positive_int("epochs", epochs)
            if steps_per_epoch is None:
                raise ValueError("data without a known length have no epochs. Say steps= instead.")
            return cls(epochs * steps_per_epoch, max_time)
        if steps is None and max_time is None:
            steps = DEFAULT_STEPS
        return cls(None if steps is None else positive_int("steps", steps), max_time)

    def done(self, step: int, seconds: float) -> float:
        """The fraction of training done before the step that comes next, in [0, 1]."""
        if self.steps is not None:
            return step / self.steps
        return min(seconds / (self.max_time or math.inf), 1.0)

    def over(self, step: int, seconds: float) -> str | None:
        """Why no further step is due after ``step`` of them; None if one is."""
        if self.steps is not None and step >= self.steps:
            return "done"
        if self.max_time is not None and step and seconds >= self.max_time:
            return "max_time"
        return None
