"""One guarded step down the gradient of a loss module."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.divergence import LastGood, all_finite, diverged, find_culprit
from pyro_dgm.training.first_step import first_loss
from pyro_dgm.training.memory import forget, is_out_of_memory, ran_out
from pyro_dgm.training.optimizers import OptimizerLike, as_optimizer, keeps_finite, trainable_parameters
from pyro_dgm.training.ranks import Ranks, part_of
from pyro_dgm.training.within import Within

__all__ = ["GradientStep"]

# Gradients below are squared without overflow; updates between two copies of weights that need none.
_MODERATE, _KEEP_EVERY = 1e18, 100


class GradientStep:
    """Steps a loss module with an optimiser: clipped, and stopped before anything that is not finite.

    Args:
        objective: A module from a batch to a scalar loss. Its ``terms``, if it has any, are reported.
        optimizer: An optimiser, or a function that makes one of a list of parameters; fused Adam by default.
        lr: Learning rate of the default optimiser.
        clip: Largest global norm of the gradient; None for no clipping.
        accumulate: Number of parts that a batch is split into, whose gradients are added up.
        within: What the loss is computed in: precision and noise.
        ranks: The processes that train together.

    Raises:
        ValueError: If nothing in the objective trains, or a parameter is not finite at the start.
    """

    def __init__(
        self,
        objective: nn.Module,
        optimizer: OptimizerLike | None,
        lr: float,
        clip: float | None,
        *,
        accumulate: int = 1,
        within: Within | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.objective, self.clip, self.accumulate = objective, clip, accumulate
        self.within, self.ranks = within or Within(), ranks or Ranks()
        self.optimizer = as_optimizer(optimizer, trainable_parameters(objective), lr)
        self.parameters = [
            p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad
        ]
        self._lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._weights = LastGood(self.parameters)
        self._buffers = LastGood(objective.buffers())
        # Whether the optimiser is the default one, with moderate gradients so far; and has its moments.
        self._moderate, self._has_moments = optimizer is None, False
        self._updating = False
        self._loss, self._checked = self._wrapped(objective), False

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Make one update and return loss, gradient norm, learning rate and the objective's terms.

        Raises:
            TrainingDiverged: If the loss or the gradient is not finite. No update is then made, and
                parameters and buffers are what they were before the step.
            OutOfMemory: If the step does not fit into the memory; the same holds then.
        """
        self._buffers.keep()
        self._updating = False
        try:
            self.optimizer.zero_grad()
            values = self._backward(step, batch)
            norm = self._clipped_norm(step, batch, values["loss"])
            self._updating = self._keep_weights(step, norm)
            self.optimizer.step()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                if self._updating:
                    self._undo()
                raise
            raise ran_out(error, step, len(batch.x), self.accumulate, self._undo) from error
        loss = values.pop("loss")
        return {"loss": loss, "grad_norm": norm, "lr": self.optimizer.param_groups[0]["lr"], **values}

    def scale_lr(self, factor: float) -> None:
        """Set the learning rates to a multiple of what they were at the start."""
        for group, lr in zip(self.optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lr * factor

    def close(self) -> None:
        """Free the gradients and put the learning rates back."""
        self.optimizer.zero_grad()
        self.scale_lr(1.0)

    def _backward(self, step: int, batch: Batch) -> dict[str, float]:
        """Fill the gradients, part by part, and return the loss and its terms."""
        if self.accumulate == 1:
            return self._backward_part(step, batch, 1.0)
        values: dict[str, float] = {}
        # processes with fewer rows than parts still take part in each of them
        parts = self.accumulate if self.ranks.many else min(self.accumulate, len(batch.x))
        for number in range(parts):
            part, share = part_of(batch, number, parts)
            with nullcontext() if number == parts - 1 else self._unsynchronised():
                for name, value in self._backward_part(step, part, share).items():
                    values[name] = values.get(name, 0.0) + value
        return values

    def _backward_part(self, step: int, part: Batch, share: float) -> dict[str, float]:
        """Add the gradients of a part of the batch, and return its share of the loss and of its terms."""
        with self.within.of(step, part):
            loss = self._loss(part) if self._checked else first_loss(self._loss, part)
            self._checked = True
            values = {"loss": loss.item(), **_terms_of(self.objective)}
            if share != 1.0:
                values = {name: share * value if share else 0.0 for name, value in values.items()}
            if self.ranks.many:
                values = self.ranks.mean(values)
            if not math.isfinite(values["loss"]):
                self._stop(step, part, values["loss"], f"the loss is {values['loss']}")
            factor = self._factor(share)
            (loss if factor == 1.0 else factor * loss).backward()
        return values

    def _wrapped(self, objective: nn.Module) -> nn.Module:
        """The module whose gradients are those of the batch of all processes."""
        return self.ranks.wrap(objective)

    def _unsynchronised(self) -> AbstractContextManager[None]:
        """A block in which gradients are added up on this process alone."""
        return self.ranks.unsynchronised(self._loss)

    def _factor(self, share: float) -> float:
        """What the loss of a part with this share of the batch's rows is multiplied with."""
        return share

    def state_dict(self) -> dict[str, Any]:
        """Return the state of objective and optimiser."""
        return {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict`; learning rates are those of now, not those that were saved."""
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._has_moments = False
        self.scale_lr(1.0)

    def _keep_weights(self, step: int, norm: float) -> bool:
        """Keep the weights where the update could lose them, and now and then besides; returns whether."""
        self._moderate &= norm < _MODERATE  # its moments remember a larger one
        known = self._moderate and self._has_moments and self.optimizer.param_groups[0]["lr"] <= 1.0
        if known and step % _KEEP_EVERY:
            return False
        self._weights.keep()
        self._has_moments = self._moderate and keeps_finite(self.optimizer)
        return True

    def _undo(self) -> str:
        """Go back to before the step, whatever part of it was done."""
        self.optimizer.zero_grad()
        self._buffers.restore()
        if not self._updating:
            return ""
        self._weights.restore()
        return forget([self.optimizer])

    def _clipped_norm(self, step: int, batch: Batch, loss: float) -> float:
        grads = [p.grad for p in self.parameters if p.grad is not None]
        total = self._norm_of(grads)
        norm = total.item()
        if not math.isfinite(norm):
            if not self._all_finite(grads):
                self._stop(step, batch, loss, f"the gradient is not finite, though the loss is {loss}")
            # Each entry is finite and only the sum of their squares is not.
            total = self._norm_of([g.double() for g in grads])
            norm = total.item()
        if self.clip is not None and norm > self.clip:
            self._scale_to_clip(total)
        return norm

    def _norm_of(self, gradients: list[Tensor]) -> Tensor:
        """The global norm of gradients."""
        return get_total_norm(gradients)

    def _scale_to_clip(self, total: Tensor) -> None:
        """Scale all gradients, whose norm is ``total``, down to the largest that is allowed."""
        assert self.clip is not None
        clip_grads_with_norm_(self.parameters, self.clip, total)

    def _all_finite(self, tensors: Iterable[Tensor]) -> bool:
        """Whether all entries are finite."""
        return all_finite(tensors)

    def _find_culprit(self, batch: Batch) -> str | None:
        """What is not finite and comes first."""
        return find_culprit(self.objective, batch)

    def _stop(self, step: int, batch: Batch, loss: float, what: str) -> NoReturn:
        where = None
        if math.isfinite(loss):
            bad = [
                name
                for name, p in self.objective.named_parameters()
                if p.grad is not None and not self._all_finite([p.grad])
            ]
            where = f"the gradient of parameter {bad[0]!r}, of {len(bad)} such" if bad else None
        where = where or self._find_culprit(batch)
        self._buffers.restore()
        if not self._all_finite(self.parameters):
            self._weights.restore()
        self.optimizer.zero_grad()
        lr = self.optimizer.param_groups[0]["lr"]
        clipped = "is off: clip=10.0 switches it on" if self.clip is None else f"is at clip={self.clip}"
        raise diverged(step, loss, what, where, [f"lr is {lr:g}, and clipping {clipped}."])


def _terms_of(objective: nn.Module) -> dict[str, float]:
    terms: dict[str, Tensor] | None = getattr(objective, "terms", None)
    return {name: float(term) for name, term in terms.items()} if terms else {}
