"""normflows' layers in its ``NormalizingFlow``."""

from __future__ import annotations

import normflows as nf
import torch
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from torch import Tensor, nn

from benchmarks.flows.contender import BINS, BOUND, HIDDEN, LAYERS, Contender

__all__ = ["make"]


class _Net(nf.nets.MLP):
    """Its network; the splines read the width off this attribute, to scale their inputs."""

    hidden_features = HIDDEN[-1]

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        return super().forward(x)


class _Spline(PiecewiseRationalQuadraticCoupling):
    """Its coupling, with densities for the direction of data to latent as all of its layers have them."""

    def forward(self, z: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        z, log_det = super().inverse(z, context)
        return z, log_det.view(-1)

    def inverse(self, z: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        z, log_det = super().forward(z, context)
        return z, log_det.view(-1)


def make(family: str, dim: int) -> Contender:
    """Return the flow of a family."""
    layers: list[nn.Module] = []
    for i in range(LAYERS[family]):
        layers += _layers(family, dim, i)
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)

    # What NormalizingFlow.sample does, for as many rows, with the density's gradient.
    return Contender(flow, flow.log_prob, lambda n: flow.sample(n)[0], flow.sample)


def _layers(family: str, dim: int, i: int) -> list[nn.Module]:
    kept = dim - dim // 2
    if family == "planar":
        return [nf.flows.Planar((dim,))]
    if family == "real-nvp":
        net = nf.nets.MLP([kept, *HIDDEN, 2 * (dim - kept)])
        return [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(dim, mode="swap")]
    if family == "spline":
        mask = torch.ones(dim)
        mask[i % 2 :: 2] = -1

        def make_net(in_features: int, out_features: int) -> nn.Module:
            return _Net([in_features, *HIDDEN, out_features])

        return [_Spline(mask, make_net, num_bins=BINS, tails="linear", tail_bound=BOUND)]
    made = nf.flows.MaskedAffineAutoregressive(
        dim, HIDDEN[0], num_blocks=len(HIDDEN) - 1, use_residual_blocks=False
    )
    # Its layer draws in one pass, an IAF; a MAF is its reverse.
    return [nf.flows.Reverse(made) if family == "maf" else made, nf.flows.Permute(dim, mode="swap")]
