"""What a regulariser of an adversarial game can do, and what it is shown."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from pyro_dgm.nets.row_mixing import mixing_part
from pyro_dgm.objectives.batch import Batch

__all__ = ["Penalty", "Regulariser", "Round", "Score", "warn_if_rows_mix"]

Score = Callable[[Tensor], Tensor]


class Penalty(NamedTuple):
    """A term of a loss and what was seen on the way.

    Attributes:
        loss: The weighted term, a scalar.
        slope: The largest gradient norm found, a lower bound of the critic's Lipschitz constant; None if no
            gradient was taken.
    """

    loss: Tensor
    slope: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One move of one player.

    Attributes:
        batch: The batch of data.
        real: Its rows as the critic sees them, of shape ``(n, *event)``.
        fake: As many generated rows as the critic sees them; with gradients in the generator's move.
        score: The critic as a function of rows.
        critic: The critic.
        model: The generator.
    """

    batch: Batch
    real: Tensor
    fake: Tensor
    score: Score
    critic: nn.Module
    model: nn.Module


class Regulariser:
    """A term of either player's loss, noise on the rows, or a change after an update; by default nothing.

    Attributes:
        replaces_generator_loss: Whether the generator minimises :meth:`generator_term` alone.
    """

    replaces_generator_loss: bool = False

    def check(self, critic: nn.Module) -> None:
        """Warn, or raise, if this critic makes the regulariser mean something else."""

    def perturbed(self, rows: Tensor) -> Tensor:
        """Return rows, real or generated, as the critic is to see them."""
        return rows

    def critic_term(self, move: Round) -> Penalty | None:
        """Return a term of the critic's loss, or None."""
        return None

    def generator_term(self, move: Round) -> Tensor | None:
        """Return a term of the generator's loss, or None."""
        return None

    def after_critic_update(self, critic: nn.Module) -> None:
        """Change the critic right after its optimiser did."""

    def after_step(self, model: nn.Module, critic: nn.Module) -> None:
        """Take note of a finished step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on from here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""


def warn_if_rows_mix(critic: nn.Module, what: str) -> None:
    """Warn where a regulariser that speaks of the critic's slope meets a critic that has none."""
    found = mixing_part(critic)
    if found is not None:
        name, part = found
        warnings.warn(
            f"the critic contains {type(part).__name__} ({name or 'itself'}), which mixes rows: {what} then "
            "bounds nothing. Build it with norm=None, 'layer' or 'group'.",
            UserWarning,
            stacklevel=5,
        )
