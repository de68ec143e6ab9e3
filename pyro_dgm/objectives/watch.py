"""Watching an adversarial game: measures that no loss gives, and alarms."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pyro_dgm.errors import TrainingDiverged, UnknownNameError
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.objectives.coverage import HeldOutCoverage
from pyro_dgm.objectives.holding import holding
from pyro_dgm.objectives.penalties import interpolates, slope_at
from pyro_dgm.objectives.players import Fakes, Scores
from pyro_dgm.objectives.readings import AdversarialLosses

__all__ = ["GameWarning", "OnDivergence", "Watch"]

OnDivergence = Literal["warn", "raise", "ignore"]

_ADVICE = {
    "perfect discriminator": "the critic tells all rows apart, so that the generator learns little: add "
    "InstanceNoise() or R1(), smooth the label, or lower the critic's learning rate",
    "divergence": "the critic's loss keeps growing: add a GradientPenalty() or lower the learning rates",
    "exploding slope": "the critic is far steeper than a game without probabilities can use: weigh the "
    "GradientPenalty() more or apply it at every update, or lower the critic's learning rate",
    "mode collapse": "the generator leaves out a part of the held-out data and is not getting better: add a "
    "GradientPenalty(), a MinibatchDiscrimination layer, or more critic steps",
}


class GameWarning(UserWarning):
    """An adversarial game that is going wrong."""


class Watch:
    """Measures a game while it is played and raises the alarm, once for each kind of trouble.

    At each step, from numbers that are there anyway: a discriminator that is always sure, and a critic's loss
    that grows a hundredfold. Every so many steps, since it costs: the critic's slope, where no penalty
    measures it, and the coverage of held-out data. In games without probabilities, twice in turn a slope a
    hundred times as large as one, or as the first if that is more, is an alarm. None of it changes the game
    or its random numbers.

    Args:
        every: Number of steps between the measures that cost.
        held_out: Rows that the critic never sees, or a batch of them with context, or a
            :class:`~pyro_dgm.objectives.coverage.HeldOutCoverage`; None for no coverage.
        least_coverage: The coverage below which rows count as left out.
        patience: Number of measures of too low a coverage without improvement before the alarm.
        on_divergence: What an alarm does: ``"warn"``, ``"raise"`` a
            :class:`~pyro_dgm.errors.TrainingDiverged` or ``"ignore"``. In each case
            it is listed in :attr:`alarms`.

    Attributes:
        alarms: What was found, by name, with the step at which it was found.

    Example:
        >>> watch = Watch(held_out=torch.randn(500, 2), on_divergence="raise")
        >>> watch.alarms
        {}
    """

    def __init__(
        self,
        every: int = 100,
        *,
        held_out: Batch | Tensor | HeldOutCoverage | None = None,
        least_coverage: float = 0.97,
        patience: int = 10,
        on_divergence: OnDivergence = "warn",
    ) -> None:
        if every < 1 or patience < 1:
            raise ValueError(f"Watch needs every >= 1 and patience >= 1, got {every} and {patience}.")
        if on_divergence not in ("warn", "raise", "ignore"):
            raise UnknownNameError.of("on_divergence", str(on_divergence), ["warn", "raise", "ignore"])
        if isinstance(held_out, Batch | Tensor):
            held_out = HeldOutCoverage(held_out)
        self.coverage: HeldOutCoverage | None = held_out
        self.every, self.patience, self.least_coverage = every, patience, least_coverage
        self.on_divergence = on_divergence
        self.alarms: dict[str, int] = {}
        self._sure = self._stuck = 0
        self._size: float | None = None
        self._first_size = math.inf
        self._best = -1.0
        self._first_slope: float | None = None
        self._steep = 0

    def observe(
        self, step: int, losses: AdversarialLosses, batch: Batch, model: nn.Module, critic: nn.Module
    ) -> AdversarialLosses:
        """Note one finished step, the ``step``-th from 0, and return its losses with what was measured."""
        self._mind_sureness(step, losses)
        self._mind_growth(step, losses)
        if (step + 1) % self.every:
            return losses
        slope, coverage = losses.slope, None
        with holding(model, critic), torch.random.fork_rng():
            torch.manual_seed(step)
            if slope is None:
                slope = measured_slope(batch, model, critic)
            self._mind_slope(step, slope, losses)
            if self.coverage is not None:
                with torch.no_grad():
                    coverage = self.coverage(Fakes(model)(self.coverage.batch))
                self.mind_coverage(step, coverage)
        return losses._replace(slope=slope, coverage=coverage)

    def mind_coverage(self, step: int, coverage: float) -> None:
        """Note a measured coverage: too low without improvement for ``patience`` times is an alarm."""
        improved = coverage > self._best
        self._best = coverage if improved else self._best
        self._stuck = 0 if improved or coverage >= self.least_coverage else self._stuck + 1
        if self._stuck >= self.patience:
            self._alarm(step, "mode collapse", f"{1 - coverage:.1%} of held-out rows are out of its reach")

    def state_dict(self) -> dict[str, Any]:
        """Return the running figures."""
        return {
            "alarms": dict(self.alarms),
            "counts": (self._sure, self._stuck),
            "sizes": (self._size, self._first_size, self._best),
            "slopes": (self._first_slope, self._steep),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from running figures."""
        self.alarms = dict(state["alarms"])
        self._sure, self._stuck = state["counts"]
        self._size, self._first_size, self._best = state["sizes"]
        self._first_slope, self._steep = state.get("slopes", (None, 0))

    def _mind_sureness(self, step: int, losses: AdversarialLosses) -> None:
        sure = losses.js_bound is not None and losses.real > 0.99 and losses.fake < 0.01
        self._sure = self._sure + 1 if sure else 0
        if self._sure >= 2 * self.every:
            what = f"d(x) {losses.real:.4f}, d(g(z)) {losses.fake:.4f} for {self._sure} steps"
            self._alarm(step, "perfect discriminator", what)

    def _mind_growth(self, step: int, losses: AdversarialLosses) -> None:
        size = abs(losses.critic)
        self._size = size if self._size is None else self._size + (size - self._size) / self.every
        if step + 1 == self.every:
            self._first_size = max(1.0, self._size)
        if self._size > 100 * self._first_size:
            self._alarm(step, "divergence", f"the critic's loss is {losses.critic:.3g}")

    def _mind_slope(self, step: int, slope: float, losses: AdversarialLosses) -> None:
        if losses.js_bound is not None:
            return
        self._first_slope = slope if self._first_slope is None else self._first_slope
        self._steep = self._steep + 1 if slope > 100 * max(1.0, self._first_slope) else 0
        if self._steep >= 2:
            what = f"slope {slope:.3g} after {self._first_slope:.3g} at first"
            self._alarm(step, "exploding slope", what)

    def _alarm(self, step: int, name: str, what: str) -> None:
        if name in self.alarms:
            return
        self.alarms[name] = step
        message = f"{name} at step {step} ({what}): {_ADVICE[name]}."
        if self.on_divergence == "raise":
            raise TrainingDiverged(message, step=step, loss=math.nan, where=name)
        if self.on_divergence == "warn":
            warnings.warn(message, GameWarning, stacklevel=5)


def measured_slope(batch: Batch, model: nn.Module, critic: nn.Module) -> float:
    """The largest gradient norm of the critic between the rows of a batch and as many generated ones."""
    with torch.no_grad():
        points = interpolates(batch.x, Fakes(model)(batch))
    with torch.enable_grad():
        return float(slope_at(lambda x: Scores(critic)(x, batch), points).detach().max())
