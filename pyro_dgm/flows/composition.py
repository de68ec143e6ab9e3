"""A flow that users put together from layers and other flows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows.batch_norm import BatchNorm
from pyro_dgm.flows.flow import Flow
from pyro_dgm.transforms import Bijection, Composed

__all__ = ["Composition"]


class Composition(Flow):
    """Layers and flows after one another, as one flow.

    A part is a layer such as :class:`ActNorm`, :class:`BatchNorm`, :class:`LULinear` or
    :class:`Permutation`, a flow of ours (its bijection is taken, its base is not), or any ``nn.Module`` that
    maps a context, or None, to a :class:`~pyro_dgm.transforms.Bijection`. A flow built without a context is
    given none.

    Args:
        input_dim: Size ``D`` of the data vectors.
        parts: The parts, the first nearest to the base.
        context_dim: Size of the conditioning vector; zero for none.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        DataError: If there is no part, or one is not a module, or a flow of another size.

    Example:
        >>> from pyro_dgm.flows import ActNorm, LULinear, NeuralSpline
        >>> flow = Composition(3, [NeuralSpline(3, num_layers=2), LULinear(3), ActNorm(3)])
        >>> flow().log_prob(torch.randn(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        input_dim: int,
        parts: Sequence[nn.Module],
        context_dim: int = 0,
        *,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        size = self.latent_dim
        for i, part in enumerate(parts):
            _check_part(i, part, size, context_dim)
        if not parts:
            raise DataError("Composition needs at least one part, but got none.")
        self.parts = nn.ModuleList(parts)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the parts' bijections after one another, given a ``context`` of shape ``(*batch, C)``."""
        return Composed([_bijection(part, context) for part in self.parts])

    @torch.no_grad()
    def set_statistics(self, x: Tensor, context: Tensor | None = None, *, rows_at_once: int = 4096) -> None:
        """Give every :class:`BatchNorm` the statistics of the whole data set, for evaluation.

        The data go through the parts from the last to the first; each batch normalisation takes the mean and
        variance of all rows that reach it. Call it after training, and before reporting a likelihood.

        Args:
            x: All rows, of shape ``(n, D)``.
            context: Their contexts, of shape ``(n, C)``.
            rows_at_once: Number of rows in memory at once in the passes of the other parts.
        """
        was_training = self.training
        self.eval()
        x = x if self.outer is None else self.outer.inv(x)
        try:
            for part in reversed(self.parts):
                if isinstance(part, BatchNorm):
                    part.set_statistics(x)
                elif isinstance(part, Composition):
                    part.set_statistics(x, _context_of(part, context), rows_at_once=rows_at_once)
                x = _inverted(part, x, context, rows_at_once)
        finally:
            self.train(was_training)


def _bijection(part: nn.Module, context: Tensor | None) -> Bijection:
    context = _context_of(part, context)
    bijection: Bijection = part.transform(context) if isinstance(part, Flow) else part(context)
    return bijection


def _context_of(part: nn.Module, context: Tensor | None) -> Tensor | None:
    return None if isinstance(part, Flow) and not part.context_dim else context


def _inverted(part: nn.Module, x: Tensor, context: Tensor | None, rows_at_once: int) -> Tensor:
    blocks = x.split(rows_at_once)
    contexts = [None] * len(blocks) if context is None else context.split(rows_at_once)
    return torch.cat(
        [_bijection(part, c).inverse_and_ladj(rows)[0] for rows, c in zip(blocks, contexts, strict=True)]
    )


def _check_part(i: int, part: nn.Module, size: int, context_dim: int) -> None:
    if not isinstance(part, nn.Module):
        raise DataError(
            f"part {i} of the Composition is a {type(part).__name__}, which is no module: pass a layer such "
            "as flows.ActNorm(D), a flow, or an nn.Module that maps a context to a Bijection."
        )
    if isinstance(part, Flow) and (
        part.event_shape != (size,) or part.context_dim not in (0, context_dim) or part.outer is not None
    ):
        raise ShapeError(
            f"part {i} of the Composition is {type(part).__name__}({part.extra_repr()}), but the composition "
            f"has latents of shape ({size},) and context_dim={context_dim}. Build both with the same sizes, "
            "and give the support to the composition."
        )
