"""What a training loop asks of whatever learns from its batches."""

from __future__ import annotations

from typing import Any, Protocol

from pyro_dgm.objectives.batch import Batch

__all__ = ["Learner"]


class Learner(Protocol):
    """What learns from a batch."""

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Make one update and return what was measured before it."""

    def scale_lr(self, factor: float) -> None:
        """Set the learning rates to a multiple of what they were at the start."""

    def close(self) -> None:
        """Let go of what only training needs."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on from here: weights and optimisers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
