"""nflows' transforms, composed as its examples do."""

from __future__ import annotations

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.nn.nets import MLP
from nflows.transforms import (
    AffineCouplingTransform,
    CompositeTransform,
    InverseTransform,
    MaskedAffineAutoregressiveTransform,
    PiecewiseRationalQuadraticCouplingTransform,
    ReversePermutation,
)
from torch import Tensor, nn

from benchmarks.flows.contender import BINS, BOUND, HIDDEN, LAYERS, Contender

__all__ = ["make"]


class _Net(MLP):
    """Its network; the splines read the width off this attribute, to scale their inputs."""

    hidden_features = HIDDEN[-1]

    def forward(self, inputs: Tensor, context: None = None) -> Tensor:
        return super().forward(inputs)


def make(family: str, dim: int) -> Contender | None:
    """Return the flow of a family, or None for those that nflows does not have."""
    if family == "planar":
        return None
    layers = [_layer(family, dim, i) for i in range(LAYERS[family])]
    if family in ("maf", "iaf"):
        layers = [part for layer in layers for part in (layer, ReversePermutation(dim))][:-1]
    transform = CompositeTransform(layers)
    if family == "iaf":
        transform = InverseTransform(transform)
    flow = Flow(transform, StandardNormal([dim]))
    return Contender(flow, flow.log_prob, flow.sample, flow.sample_and_log_prob)


def _layer(family: str, dim: int, i: int) -> nn.Module:
    if family in ("maf", "iaf"):
        return MaskedAffineAutoregressiveTransform(
            dim, HIDDEN[0], num_blocks=len(HIDDEN) - 1, use_residual_blocks=False
        )
    mask = torch.ones(dim)
    mask[i % 2 :: 2] = -1  # what is positive is changed

    def net(in_features: int, out_features: int) -> nn.Module:
        return _Net([in_features], [out_features], list(HIDDEN))

    if family == "real-nvp":
        return AffineCouplingTransform(mask, net)
    return PiecewiseRationalQuadraticCouplingTransform(
        mask, net, num_bins=BINS, tails="linear", tail_bound=BOUND
    )
