"""As many steps of a continuous flow as its likelihood needs, at every moment of training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pyro_dgm.diagnostics.settled_steps import j_ml_with, takes_fixed_steps
from pyro_dgm.errors import DataError
from pyro_dgm.training.budget import positive_int
from pyro_dgm.training.callbacks import Callback, FitState

__all__ = ["StepControl"]


class StepControl(Callback):
    r"""Sets ``nt_train`` so that twice as many steps would change J_ML by at most ``limit``.

    A solve with few steps has another likelihood than the flow that it stands for. Long training finds the
    velocities for which that difference is large and flattering; no loss of its own shows it. Here the change

    .. math:: \delta = J_{ML}(2 n) - J_{ML}(n)

    over some rows is looked at every so often: beyond the limit, the number n is doubled; far below it, where
    half of it would do too, halved. A fresh flow is the identity, which one step follows, so that training
    begins at a fraction of its later cost; one that has trained before, by flow matching say, begins with as
    many as it needs. ``nt_eval`` is raised along where it has to be.

    Args:
        flow: A flow with ``nt_train`` and ``nt_eval``, or a model that holds one as ``model.flow``.
        rows: Rows of data ``(n, D)`` to look at; a few hundred do.
        context: Their contexts ``(n, C)`` for a conditional flow.
        limit: The largest change of J_ML, in nats.
        every: Number of updates between two looks; the cost of a look is near that of one update.
        least: Smallest number of steps.
        most: Largest number of steps.

    Attributes:
        record: For each look the update, the number of steps from there on, and the change. Of the looks
            before the first update those that raised the number.

    Raises:
        TypeError: If the flow takes no number of steps.

    Example:
        >>> import torch
        >>> from pyro_dgm.flows import CNF
        >>> from pyro_dgm.models import NormalizingFlow
        >>> from pyro_dgm.training import fit
        >>> x, model = torch.randn(256, 2), NormalizingFlow(CNF(2, hidden_dims=(8,)))
        >>> control = StepControl(model, x, every=5)
        >>> _ = fit(model, x, steps=10, callbacks=[control], progress=False)
        >>> model.flow.nt_train
        1
    """

    def __init__(
        self,
        flow: nn.Module,
        rows: Tensor,
        context: Tensor | None = None,
        *,
        limit: float = 5e-3,
        every: int = 50,
        least: int = 1,
        most: int = 64,
    ) -> None:
        self.flow: Any = getattr(flow, "flow", flow)
        if not takes_fixed_steps(self.flow):
            raise TypeError(
                f"StepControl sets the number of fixed steps of a continuous flow, but {type(flow).__name__} "
                "takes none: use it with CNF, FFJORD or OTFlow and a fixed-step solver."
            )
        if not len(rows) or not rows.isfinite().all():
            raise DataError("StepControl needs finite rows, at least one of them.")
        if not limit > 0:
            raise ValueError(f"StepControl needs limit > 0, but got {limit}.")
        self.rows, self.context, self.limit = rows, context, limit
        self.every = positive_int("every", every)
        self.least, self.most = positive_int("least", least), positive_int("most", most)
        self.record: list[tuple[int, int, float]] = []

    def on_start(self, state: FitState) -> None:
        """Begin with the smallest number that keeps the limit: few steps would undo a warm start."""
        self._set(self.least)
        while (num := self.flow.nt_train) < self.most:
            change = self.j_ml(2 * num) - self.j_ml(num)
            if abs(change) <= self.limit:
                break
            self._set(min(2 * num, self.most))
            self.record.append((state.step, self.flow.nt_train, change))

    def on_step(self, state: FitState) -> None:
        """Look, and set the number of steps."""
        num = self.flow.nt_train
        change = self.j_ml(2 * num) - self.j_ml(num)
        # RK4 with half as many steps is off by 16 times as much.
        if not abs(change) <= self.limit:
            num = min(2 * num, self.most)
        elif num > self.least and abs(change) < self.limit / 16 and self._half_does(num):
            num = max(num // 2, self.least)
        self._set(num)
        self.record.append((state.step, num, change))

    def j_ml(self, num_steps: int) -> float:
        """Return J_ML of the rows with so many equal steps, in nats."""
        return j_ml_with(num_steps, self.flow, self.rows, self.context)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps."""
        return {"num_steps": self.flow.nt_train}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the number of steps of the interrupted run."""
        self._set(state["num_steps"])

    def _half_does(self, num: int) -> bool:
        return abs(self.j_ml(num) - self.j_ml(num // 2)) < self.limit / 2

    def _set(self, num: int) -> None:
        self.flow.nt_train, self.flow.nt_eval = num, max(self.flow.nt_eval, num)
