"""Kullback-Leibler divergences in closed form, known to ``torch.distributions.kl_divergence``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal
from torch.distributions.kl import register_kl

from pyro_dgm.distributions.standard_normal import StandardNormal
from pyro_dgm.errors import ShapeError

__all__ = ["kl_by_dimension", "kl_of_full_normal", "kl_of_normal"]


def kl_by_dimension(normal: Any) -> Tensor:
    r"""The divergence of each entry of a diagonal normal from N(0, 1).

    .. math:: \frac{1}{2} (\sigma^2 + \mu^2 - 1 - \log \sigma^2)

    Returns:
        A tensor ``(*batch, D)``, in nats.
    """
    loc: Tensor = normal.base_dist.loc
    scale: Tensor = normal.base_dist.scale
    return 0.5 * (scale.square() + loc.square() - 1) - scale.log()


@register_kl(Independent, StandardNormal)  # type: ignore[untyped-decorator]
def kl_of_normal(p: Any, q: StandardNormal) -> Tensor:
    """The divergence of a diagonal normal from N(0, I), in nats."""
    if not isinstance(p.base_dist, Normal) or p.event_shape != q.event_shape:
        raise NotImplementedError(f"no closed form of the divergence of {p} from {q}")
    return kl_by_dimension(p).sum(-1)


@register_kl(MultivariateNormal, StandardNormal)  # type: ignore[untyped-decorator]
def kl_of_full_normal(p: MultivariateNormal, q: StandardNormal) -> Tensor:
    r"""The divergence of a normal of full covariance from N(0, I), in nats.

    .. math:: \frac{1}{2} (\lVert L \rVert_F^2 + \lVert \mu \rVert^2 - D) - \sum_i \log L_{ii}
    """
    if p.event_shape != q.event_shape:
        raise ShapeError(
            f"a divergence needs events of one shape, but got {p.event_shape} and {q.event_shape}."
        )
    squares = p.scale_tril.square().sum((-2, -1)) + p.loc.square().sum(-1)
    logs = torch.diagonal(p.scale_tril, dim1=-2, dim2=-1).log().sum(-1)
    divergence: Tensor = 0.5 * (squares - p.loc.shape[-1]) - logs
    return divergence
