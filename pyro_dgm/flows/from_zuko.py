"""Zuko's flows as flows of ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows.flow import Flow
from pyro_dgm.transforms import Bijection, ZukoBijection
from pyro_dgm.zuko_guard import import_zuko

__all__ = ["ZukoFlow", "from_zuko"]


class ZukoFlow(Flow):
    """A flow, a lazy transform or a transform of zuko's as a flow of ours; see :func:`from_zuko`.

    Args:
        part: The flow, lazy transform or transform, from data to latent.
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    def __init__(
        self,
        part: Any,
        input_dim: int,
        context_dim: int = 0,
        *,
        support: Constraint | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, support=support, name=name)
        if isinstance(part, nn.Module):
            self.part = part
        else:
            self.fixed = part
        # Zuko's circular flow maps a box of angles onto itself, and is periodic beyond.
        self.box = _box(part, context_dim)

    def base(self, context: Tensor | None = None) -> Any:
        """Return the latent's distribution: the flow's own base, N(0, I) for a transform."""
        if not isinstance(self.part_or_fixed, import_zuko().lazy.Flow):
            return super().base(context)
        base = self.part.base(context)  # type: ignore[operator]
        return base if context is None else base.expand(context.shape[:-1])

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return zuko's transform with exact inverses, from latent to data."""
        part = self.part_or_fixed
        if isinstance(part, import_zuko().lazy.Flow):
            part = part.transform
        return ZukoBijection(part(context) if isinstance(part, nn.Module) else part, self.box)

    @property
    def part_or_fixed(self) -> Any:
        """What this flow was made of."""
        return getattr(self, "part" if "part" in self._modules else "fixed")


def from_zuko(
    part: Any,
    input_dim: int | None = None,
    context_dim: int = 0,
    *,
    support: Constraint | None = None,
    name: str | None = None,
) -> ZukoFlow:
    """Make a flow of ours of any flow, lazy transform or transform of zuko's.

    It has the weights of the original, which go on being the very same tensors, and everything that flows
    have here: a Pyro distribution with support and memo, contexts, NUTS, guides. Where zuko inverts by
    bisection, the inverse is exact and twice differentiable instead. A flow keeps its own base; in front of a
    transform, which maps data to latents as in zuko's flows, there is N(0, I).

    Args:
        part: The flow, lazy transform or transform.
        input_dim: Size ``D`` of the data vectors; a flow without context says it itself.
        context_dim: Size of the conditioning vector; zero for none.
        support: Where the data lie, a constraint of torch or Pyro; by default all of space.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        DataError: If ``part`` is nothing of zuko's, or its size cannot be found.
        ShapeError: If it does not map vectors of the size, with the context.

    Example:
        >>> from pyro_dgm.zuko_guard import import_zuko
        >>> zuko = import_zuko()
        >>> flow = from_zuko(zuko.flows.NAF(3, 2), context_dim=2)
        >>> flow(torch.zeros(5, 2)).sample().shape
        torch.Size([5, 3])
    """
    lazy = import_zuko().lazy
    if not isinstance(part, lazy.Flow | lazy.LazyTransform | torch.distributions.Transform):
        raise DataError(
            f"from_zuko takes a flow, a lazy transform or a transform of zuko's, but got a "
            f"{type(part).__name__}. Pass for example zuko.flows.NAF(2)."
        )
    probe = torch.zeros(context_dim) if context_dim else None
    if input_dim is None:
        if not isinstance(part, lazy.Flow):
            raise DataError("the size of the data cannot be read off a transform: give input_dim.")
        input_dim = part.base(probe).event_shape.numel()
    flow = ZukoFlow(part, input_dim, context_dim, support=support, name=name)
    for tensor in part.parameters() if isinstance(part, nn.Module) else ():
        flow.to(tensor)
        break
    _check(flow)
    return flow


def _box(part: Any, context_dim: int) -> Constraint | None:
    """The box that a flow's base is uniform on; None for a base on all of space."""
    if not isinstance(part, import_zuko().lazy.Flow):
        return None
    like = next(iter(part.parameters()), torch.zeros(()))
    support = part.base(like.new_zeros(context_dim) if context_dim else None).support
    within = getattr(support, "base_constraint", support)
    if not isinstance(within, type(constraints.unit_interval)):
        return None
    low, high = (torch.as_tensor(b) for b in (within.lower_bound, within.upper_bound))
    return constraints.independent(constraints.interval(low.min().item(), high.max().item()), 1)


def _check(flow: ZukoFlow) -> None:
    context = flow.origin.new_zeros(flow.context_dim) if flow.context_dim else None
    try:
        with torch.no_grad():
            x = flow.unconstrained(context).inv(flow.origin)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ShapeError(
            f"zuko's transform does not map vectors of size {flow.latent_dim} with context_dim="
            f"{flow.context_dim} ({type(error).__name__}: {error}). Give the sizes it was built with."
        ) from error
    if x.shape != flow.origin.shape:
        raise ShapeError(
            f"zuko's transform maps vectors of shape {tuple(flow.origin.shape)} to {tuple(x.shape)}: the "
            "sizes must be equal."
        )
