"""The guarded step of a model whose weights are spread over the processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.divergence import all_finite, bad_data
from pyro_dgm.training.gradient_step import GradientStep
from pyro_dgm.training.parts import local_of, spread_like

__all__ = ["ShardedStep"]


class ShardedStep(GradientStep):
    """A :class:`GradientStep` inside :func:`~pyro_dgm.training.sharding.sharded`.

    Gradients of divided parameters are added up where their part is held, by PyTorch; those of parameters
    without dimensions here. Whether something is finite, and how large the gradient is, is asked of all.
    """

    def _wrapped(self, objective: nn.Module) -> nn.Module:
        return objective  # it has hooks of its own

    @contextmanager
    def _unsynchronised(self) -> Iterator[None]:
        self.objective.set_requires_gradient_sync(False)  # type: ignore[operator]
        try:
            yield
        finally:
            self.objective.set_requires_gradient_sync(True)  # type: ignore[operator]

    def _factor(self, share: float) -> float:
        # the gradients are averaged over the processes, each of which counts by its share of the rows
        return share * self.ranks.weight * self.ranks.size

    def _backward(self, step: int, batch: Batch) -> dict[str, float]:
        values = super()._backward(step, batch)
        for parameter in self.parameters:
            if parameter.dim() == 0 and parameter.grad is not None:
                dist.all_reduce(parameter.grad.div_(self.ranks.size))
        return values

    def _norm_of(self, gradients: list[Tensor]) -> Tensor:
        # a gradient that all processes hold is counted once
        parts = [local_of(g) if g.dim() else g / self.ranks.size**0.5 for g in gradients]
        square = get_total_norm(parts).square()
        dist.all_reduce(square)
        return square.sqrt()

    def _scale_to_clip(self, total: Tensor) -> None:
        assert self.clip is not None
        factor = (self.clip / (total + 1e-6)).clamp(max=1.0)
        for parameter in self.parameters:
            if parameter.grad is not None:
                local_of(parameter.grad).mul_(factor)

    def _all_finite(self, tensors: Iterable[Tensor]) -> bool:
        return not self.ranks.any_of([not all_finite(local_of(t) for t in tensors)])[0]

    def _find_culprit(self, batch: Batch) -> str | None:
        # calling parts of the model on one process alone would wait for the others forever
        if (where := self.ranks.agree(bad_data(batch))) is not None:
            return where
        for name, parameter in self.objective.named_parameters():
            if not self._all_finite([parameter]):
                return f"parameter {name!r}"
        return None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`, in parts or whole."""
        own = self.objective.state_dict()
        weights = {name: spread_like(t, own.get(name, t)) for name, t in state["objective"].items()}
        super().load_state_dict({"objective": weights, "optimizer": self._spread(state["optimizer"])})

    def _spread(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """The state of the optimiser, of each parameter the part that is here."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state = {
            number: {
                key: spread_like(value, parameters[number]) if isinstance(value, Tensor) else value
                for key, value in values.items()
            }
            for number, values in saved["state"].items()
        }
        return {**saved, "state": state}
