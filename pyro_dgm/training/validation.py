"""Watching a loss on held-out rows: best weights and early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.batches import as_source
from pyro_dgm.training.budget import positive_int
from pyro_dgm.training.callbacks import AverageWeights, Callback, FitState
from pyro_dgm.training.divergence import LastGood
from pyro_dgm.training.own_step import networks_of, numbers_in
from pyro_dgm.training.shuffled import Shuffled

__all__ = ["Validation"]


class Validation(Callback):
    """Evaluates the objective on all held-out rows: before training, at intervals, and at the end.

    The same random numbers are used each time, so that evaluations differ by the weights alone.

    Args:
        rows: Held-out rows, or a pair with their context, or any other finite data.
        every: Number of steps between evaluations.
        patience: Number of evaluations without a new best after which training stops; None for never.
        keep_best: Whether to end with the best weights. Not for objectives that measure several things.
        batch_size: Rows evaluated at once.
        like: A tensor that gives dtype and device.
        average: What keeps averaged weights, if they are to be validated instead; called before this.

    Raises:
        TypeError: If the rows are data without end, or patience is asked for and there is no single loss.
    """

    def __init__(
        self,
        rows: Any,
        every: int,
        patience: int | None,
        keep_best: bool,
        *,
        batch_size: int,
        like: Tensor,
        average: AverageWeights | None = None,
    ) -> None:
        source = as_source(rows, batch_size, 0, like)
        if not isinstance(source, Shuffled):
            raise TypeError(
                f"validation needs a finite set of rows, but got a {type(rows).__name__}. Draw some once: "
                "validation=target.sample(2000, seed=1)."
            )
        self.every, self.keep_best = positive_int("validate_every", every), keep_best
        self.patience = None if patience is None else positive_int("patience", patience)
        self._batches, self._evaluated, self._waited = list(source.in_order(batch_size)), -1, 0
        self._best: LastGood | None = None
        self._objective: Any = None
        self._average = average

    def on_start(self, state: FitState) -> None:
        """Evaluate the fresh weights, by which unusable rows are found before training."""
        self._objective = state.objective
        if state.step == 0:
            self._evaluate(state)

    def on_step(self, state: FitState) -> None:
        """Evaluate, and ask for the end if there was no new best for long enough."""
        self._evaluate(state)
        if self.patience is not None and self._waited >= self.patience:
            state.stop("early stopping")

    def on_end(self, state: FitState) -> None:
        """Evaluate the last weights and go back to the best ones."""
        if self._evaluated != state.step:
            self._evaluate(state)
        if self._best is not None:
            self._best.restore()

    @contextmanager
    def best_weights(self) -> Iterator[None]:
        """Set the weights to the best ones, if there are any, for the time of a block."""
        with nullcontext() if self._best is None else self._best.swapped_in():
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights, and how long there was no better."""
        best = None if self._best is None else self._best.copies
        return {"best": best, "waited": self._waited, "evaluated": self._evaluated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from these."""
        self._waited, self._evaluated = int(state["waited"]), int(state["evaluated"])
        if state["best"] is not None and self.keep_best:
            self._best = self._new_best()
            self._best.load(state["best"])

    def _new_best(self) -> LastGood:
        networks = networks_of(self._objective)
        return LastGood(t for n in networks for t in (*n.parameters(), *n.buffers()))

    def _evaluate(self, state: FitState) -> None:
        with nullcontext() if self._average is None else self._average.applied():
            self._evaluate_present(state)

    def _evaluate_present(self, state: FitState) -> None:
        self._evaluated = state.step
        values = self._measure(state.objective)
        if state.step:
            named = {f"validation_{name}": value for name, value in values.items()}
            state.history.record(state.step - 1, named)
        if set(values) != {"loss"}:
            if self.patience is not None:
                raise TypeError(
                    f"patience needs one validation loss, but this objective measures {', '.join(values)}. "
                    "Leave patience=None."
                )
            return
        self._compare(state, values["loss"])

    def _compare(self, state: FitState, loss: float) -> None:
        best = state.history.best_loss
        self._waited += 1
        if math.isfinite(loss) and (best is None or loss < best):
            state.history.best_loss, state.history.best_step, self._waited = loss, state.step, 0
            if self.keep_best and self._best is None:
                self._best = self._new_best()
            if self._best is not None:
                self._best.keep()

    def _measure(self, objective: Any) -> dict[str, float]:
        """Average what the objective measures over all rows."""
        sums: dict[str, float] = {}
        total = sum(len(batch.x) for batch in self._batches)
        for batch in self._batches:
            for name, value in numbers_in(_evaluate_loss(objective, batch)).items():
                sums[name] = sums.get(name, 0.0) + value * len(batch.x) / total
        return sums


def _evaluate_loss(objective: Any, batch: Batch) -> Any:
    if hasattr(objective, "evaluate_loss"):
        return objective.evaluate_loss(batch)
    if not isinstance(objective, nn.Module):
        raise TypeError(
            f"{type(objective).__name__} has no evaluate_loss(batch), so there is nothing to validate with."
        )
    was_training = objective.training
    objective.eval()
    try:
        with torch.no_grad():
            return objective(batch)
    finally:
        objective.train(was_training)
