"""Neural spline flows on the torus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_dgm.distributions import StandardBase
from pyro_dgm.distributions.standard_torus import StandardTorus, torus
from pyro_dgm.flows.flow import Flow
from pyro_dgm.nets import MLP
from pyro_dgm.transforms import (
    Affine,
    Bijection,
    CircularRationalQuadratic,
    ColumnStack,
    Coupling,
    Couplings,
    PerRow,
    RationalQuadratic,
    Successive,
)

__all__ = ["CircularSpline"]


class CircularSpline(Flow):
    r"""Couplings over angles, or angles and real numbers: a neural spline flow on a torus or a cylinder.

    Angles are changed by circular splines and a rotation, real numbers by splines and an affine map; the
    conditioners see angles by cosine and sine. So the density is continuous across the seam. The base is
    uniform in the angles. Both directions cost one pass of each conditioner. Fresh flows are the identity.

    Angles are in radians, in :math:`[-\pi, \pi]`; beyond, the log-density is minus infinity, and an error
    where arguments are validated.

    Args:
        input_dim: Size ``D`` of the data vectors.
        context_dim: Size of the conditioning vector; zero for none.
        circular: Which entries are angles, by their places; by default all.
        num_layers: Number of couplings.
        hidden_dims: Widths of the hidden layers of each conditioner.
        num_bins: Number of bins of each spline.
        bound: The splines of real numbers act on ``[-bound, bound]``.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Rezende et al., Normalizing Flows on Tori and Spheres, ICML 2020. https://arxiv.org/abs/2002.02428

    Example:
        >>> flow = CircularSpline(2, circular=[0])  # an angle and a real number
        >>> flow().log_prob(torch.zeros(2))  # -1.5 log(2 pi)
        tensor(-2.7568, grad_fn=<AddBackward0>)
    """

    circular: Tensor

    def __init__(
        self,
        input_dim: int,
        context_dim: int = 0,
        *,
        circular: Sequence[int] | None = None,
        num_layers: int = 6,
        hidden_dims: Sequence[int] = (128, 128),
        num_bins: int = 8,
        bound: float = 5.0,
        name: str | None = None,
    ) -> None:
        super().__init__(input_dim, context_dim, name=name)
        if num_layers < 1:
            raise ValueError(f"CircularSpline needs num_layers >= 1, but got {num_layers}.")
        places = list(range(input_dim)) if circular is None else list(circular)
        if len(set(places)) < len(places) or not set(places) <= set(range(input_dim)):
            raise ValueError(
                f"circular= names the places of the angles among {input_dim} entries, each once and from 0 "
                f"to {input_dim - 1}, but got {places}."
            )
        angles = [i in places for i in range(input_dim)]
        self.register_buffer("circular", torch.tensor(angles).to(self.origin), persistent=False)
        self.space, self.split = torus(angles), input_dim // 2
        families = (
            CircularRationalQuadratic(num_bins),
            Successive(RationalQuadratic(num_bins, bound), Affine()),
        )
        # With one coordinate there is nothing to keep: every layer changes it.
        self.turns = [bool(i % 2) and input_dim > 1 for i in range(num_layers)]
        self.parts = angles[: self.split], angles[self.split :]
        self.families = [PerRow(*families, part) for part in self.parts]
        self.conditioners = nn.ModuleList()
        for change_upper in self.turns:
            kept, changed = self.parts if not change_upper else self.parts[::-1]
            size = families[0].num_parameters * len(changed)
            net = MLP(len(kept) + sum(kept), size, hidden_dims, context_dim=context_dim, zero_last=True)
            self.conditioners.append(net)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the stack of couplings, given a ``context`` of shape ``(*batch, C)``."""
        couplings = [
            Coupling(
                partial(_periodic, net, self.parts[1 if change_upper else 0]),
                self.families[0 if change_upper else 1],
                self.split,
                change_upper=change_upper,
            )
            for net, change_upper in zip(self.conditioners, self.turns, strict=True)
        ]
        return _OnTorus(couplings, context, self.circular > 0, self.space)

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the latent's distribution: uniform angles and standard normal numbers."""
        return StandardTorus(self.circular, () if context is None else context.shape[:-1])


class _OnTorus(ColumnStack):
    """Couplings over events of which the marked entries are angles."""

    def __init__(
        self, couplings: Sequence[Coupling], context: Tensor | None, angles: Tensor, space: Constraint
    ) -> None:
        super().__init__([Couplings(couplings)], context)
        self.angles = angles
        self.domain = self.codomain = space  # type: ignore[assignment]

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = super().inverse_and_ladj(y)
        inside = ((y.abs() <= math.pi) | ~self.angles).all(-1)
        return x, torch.where(inside, ladj, -torch.inf)


def _periodic(net: nn.Module, angles: list[bool], kept: Tensor, context: Tensor | None) -> Tensor:
    """A network of the kept entries ``(D_a, N)`` that sees of the angles the cosine and the sine."""
    turning = [i for i, is_angle in enumerate(angles) if is_angle]
    others = [i for i, is_angle in enumerate(angles) if not is_angle]
    seen = torch.cat((kept[turning].cos(), kept[turning].sin(), kept[others]))
    return net(seen, context, columns=True)  # type: ignore[no-any-return]
