"""Training a flow for so many CPU seconds, by flow matching first where it is given a share of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_dgm.diagnostics.settled_steps import j_ml_with
from pyro_dgm.diagnostics.step_count import MOST_STEPS, search_steps
from pyro_dgm.flows import Flow, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import FlowMatching
from pyro_dgm.training import AverageWeights, Callback, FitState, StepControl, fit

__all__ = ["converged_steps", "train"]

SMALLEST = 256


class TimedRows:
    """Rows for ``fit``, 256 to ``largest`` a step, until the CPU time is up."""

    def __init__(self, draw: Callable[[int], Tensor], seconds: float, largest: int) -> None:
        self.draw, self.seconds, self.largest = draw, seconds, largest
        self.start = time.process_time()

    def done(self) -> float:
        """The fraction of the time that is used up."""
        return min(1.0, (time.process_time() - self.start) / self.seconds)

    def sample(self, n: int) -> Tensor:
        """Draw a batch; the size that ``fit`` asks for is not used."""
        return self.draw(int(SMALLEST * (self.largest / SMALLEST) ** self.done()))


def train(
    flow: Flow,
    draw: Callable[[int], Tensor],
    seconds: float,
    *,
    lr: float,
    matching: float = 0.0,
    clip: float = 5.0,
    average: float = 0.995,
    largest: int = 512,
    control: bool = False,
    optimizer: type[Optimizer] | None = None,
    seed: int = 0,
) -> int:
    """Train in place, with a cosine schedule in each phase; return the number of updates.

    Args:
        flow: The flow; left in evaluation mode.
        draw: Draws so many fresh rows.
        seconds: CPU seconds.
        lr: Largest learning rate.
        matching: Share of the time that is spent on flow matching before the likelihood.
        clip: Largest norm of the gradient.
        average: Decay of the averaged weights.
        largest: Rows of the last batch; the first has 256.
        control: Whether the number of steps in time follows from the likelihood (``StepControl``).
        optimizer: Another optimiser than fused Adam.
        seed: Seed of ``fit``.
    """
    _load_the_engine()
    steps = 0
    for objective, share in ((FlowMatching, matching), (NormalizingFlow, 1 - matching)):
        if not share:
            continue
        data = TimedRows(draw, share * seconds, largest)

        def stop_in_time(state: FitState, data: TimedRows = data) -> None:
            if data.done() >= 1:
                state.stop("CPU time is up")

        def cosine(_: float, data: TimedRows = data) -> float:
            return 0.5 * (1 + math.cos(math.pi * data.done()))

        callbacks: list[Callback | Callable[[FitState], object]] = [stop_in_time, AverageWeights(average)]
        if control and objective is NormalizingFlow:
            callbacks.append(StepControl(flow, draw(512)))
        history = fit(
            objective(flow),
            data,
            steps=10**7,
            lr=lr,
            optimizer=optimizer,
            schedule=cosine,
            clip=clip,
            seed=seed,
            callbacks=callbacks,
            log_every=1000,
            progress=False,
        )
        steps += history.num_steps
    flow.eval()
    return steps


def _load_the_engine() -> None:
    """Import what ``fit`` imports at its first call: that is no training."""
    fit(NormalizingFlow(RealNVP(2, num_layers=2)), torch.randn(64, 2), steps=1, progress=False)


def converged_steps(flow: Flow, rows: Tensor) -> int:
    """The number of steps from which doubling changes J_ML by less than 1e-3; 512 if none does."""
    return search_steps(lambda steps: j_ml_with(steps, flow, rows)) or MOST_STEPS
