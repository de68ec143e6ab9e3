"""Pyro's own flows: transforms in a ``TransformedDistribution``, as its flow tutorial builds them."""

from __future__ import annotations

import pyro.distributions as dist
import pyro.distributions.transforms as T
import torch
from pyro.nn import AutoRegressiveNN, DenseNN
from torch import Tensor, nn

from benchmarks.flows.contender import BINS, BOUND, HIDDEN, LAYERS, Contender

__all__ = ["make"]


def make(family: str, dim: int) -> Contender:
    """Return the flow of a family."""
    transforms = _transforms(family, dim)
    # What is an inverse holds its layer as _inv.
    owners = [getattr(t, "_inv", None) if family == "maf" else t for t in transforms]
    module = nn.ModuleList(t for t in owners if isinstance(t, nn.Module))
    flow = dist.TransformedDistribution(dist.Normal(torch.zeros(dim), 1.0).to_event(1), transforms)

    def rsample_and_log_prob(n: int) -> tuple[Tensor, Tensor]:
        x = flow.rsample((n,))
        return x, flow.log_prob(x)

    # The tutorial clears the cache after each step, lest the next one reads values of the old weights.
    return Contender(
        module, flow.log_prob, lambda n: flow.sample((n,)), rsample_and_log_prob, flow.clear_cache
    )


def _transforms(family: str, dim: int) -> list[object]:
    layers, half = LAYERS[family], dim // 2
    changed = dim - half
    swap = torch.arange(dim).roll(half) if family in ("real-nvp", "spline") else torch.arange(dim).flip(0)
    if family == "planar":
        return [T.Planar(dim) for _ in range(layers)]
    transforms: list[object] = []
    for _ in range(layers):
        if family == "real-nvp":
            net = DenseNN(half, list(HIDDEN), [changed, changed])
            layer: object = T.AffineCoupling(half, net)
        elif family == "spline":
            net = DenseNN(half, list(HIDDEN), [changed * BINS, changed * BINS, changed * (BINS - 1)])
            layer = T.SplineCoupling(dim, half, net, BINS, BOUND, order="quadratic", identity=True)
        else:
            made = AutoRegressiveNN(dim, list(HIDDEN), permutation=torch.arange(dim))
            # Pyro's layer draws in one pass, an IAF; a MAF is its inverse.
            layer = T.AffineAutoregressive(made, stable=family == "iaf")
            layer = layer.inv if family == "maf" else layer  # type: ignore[attr-defined]
        transforms += [layer, T.Permute(swap)]
    return transforms[:-1]
