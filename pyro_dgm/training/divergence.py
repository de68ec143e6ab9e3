"""What to keep, whom to blame and what to say when a loss or gradient is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.errors import TrainingDiverged
from pyro_dgm.finite import is_finite
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.parts import local_of, spread_like

__all__ = ["LastGood", "all_finite", "bad_data", "diverged", "find_culprit", "first_bad_layer"]


class LastGood:
    """A copy of tensors, from before something was done to them.

    Args:
        tensors: What to keep copies of; parameters and buffers.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        tensors = [t.detach() for t in tensors]
        self._copies = [t.clone() for t in tensors]
        self._here, self._kept = [local_of(t) for t in tensors], [local_of(t) for t in self._copies]

    def keep(self) -> None:
        """Remember the tensors as they are now."""
        if self._here:
            torch._foreach_copy_(self._kept, self._here)

    def restore(self) -> None:
        """Set the tensors to what was kept."""
        if self._here:
            torch._foreach_copy_(self._here, self._kept)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Set the tensors to what was kept for the time of a block."""
        now = [t.clone() for t in self._here]
        self.restore()
        try:
            yield
        finally:
            if now:
                torch._foreach_copy_(self._here, now)

    @property
    def copies(self) -> list[Tensor]:
        """What was kept, for a checkpoint."""
        return self._copies

    def load(self, copies: Sequence[Tensor]) -> None:
        """Keep these instead; they are copied."""
        for own, other in zip(self._copies, copies, strict=True):
            if own.shape != other.shape:
                raise ValueError(f"a kept tensor has shape {tuple(own.shape)}, not {tuple(other.shape)}")
            own.copy_(spread_like(other, own))


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor has a NaN or infinite entry."""
    return all(is_finite(t) for t in tensors)


def bad_data(batch: Batch) -> str | None:
    """Name the first row of the batch that is not finite, if there is one."""
    for name, values in (("the data", batch.x), ("the context", batch.context)):
        if values is not None and not values.isfinite().all():
            row = int((~values.isfinite()).flatten(1).any(1).nonzero()[0])
            of_all = "" if batch.index is None else f", row {int(batch.index[row])} of the data"
            return f"{name}, row {row} of the batch{of_all}"
    return None


def find_culprit(objective: Any, batch: Batch) -> str | None:
    """Name what is not finite and comes first: data, a parameter, a Pyro site, or a layer's output."""
    if (where := bad_data(batch)) is not None:
        return where
    if not isinstance(objective, nn.Module):
        return None
    for name, parameter in objective.named_parameters():
        if not parameter.isfinite().all():
            return f"parameter {name!r}"
    blame = getattr(objective, "blame", None)
    site = blame(batch) if blame is not None else None
    return f"site {site!r}" if site is not None else first_bad_layer(objective, batch)


def first_bad_layer(objective: nn.Module, batch: Batch) -> str | None:
    """Name the first layer whose output on the batch is not finite, if there is one."""
    found: list[str] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in objective.named_modules() if name]
    try:
        with torch.no_grad():
            objective(batch)
    except (ValueError, RuntimeError):  # what comes after the bad layer may well refuse its output
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return f"the output of layer {found[0]!r}" if found else None


def diverged(
    step: int, loss: float, what: str, where: str | None, advice: Sequence[str] = ()
) -> TrainingDiverged:
    """Build the error of a step that met something that is not finite."""
    at = f" The first thing not finite is {where}." if where else ""
    todo = " ".join(("Lower lr, or look for outliers in the data.", *advice))
    return TrainingDiverged(
        f"training stopped at step {step} (counted from 0): {what}.{at} The parameters are those before that "
        f"step, the last finite ones. {todo}",
        step=step,
        loss=loss,
        where=where,
    )
