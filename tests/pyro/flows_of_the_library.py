"""One small flow over two numbers (images: four) of every public kind, and some on constrained supports."""

import torch
from pyro.distributions.constraints import ordered_vector
from torch import nn
from torch.distributions import constraints

from pyro_dgm.flows import (
    CNF,
    FFJORD,
    IAF,
    MAF,
    NAF,
    NICE,
    UNAF,
    ActNorm,
    BatchNorm,
    BernsteinFlow,
    CircularSpline,
    Composition,
    CouplingFlow,
    Embedded,
    Given,
    Glow,
    LULinear,
    NeuralSpline,
    NeuralSplineAutoregressive,
    NeuralSplineImage,
    OTFlow,
    Permutation,
    Planar,
    Radial,
    RealNVP,
    RealNVPImage,
    SumOfSquaresFlow,
    Sylvester,
    Whitened,
    from_zuko,
)
from pyro_dgm.transforms import Bernstein
from pyro_dgm.zuko_guard import import_zuko

SMALL = {"num_layers": 2, "hidden_dims": (8,)}
IMAGE = {"num_levels": 1, "hidden_channels": 4, "num_blocks": 1}


def after_a_batch(flow):
    """A flow whose data-dependent layers have seen their first batch."""
    flow().log_prob(0.3 + 1.2 * torch.randn(64, *flow.event_shape))
    return flow


def zuko_flow(kind):
    return from_zuko(getattr(import_zuko().flows, kind)(2, transforms=2, hidden_features=(8,)))


FLOWS = {
    "ActNorm, LULinear, Permutation": lambda: after_a_batch(
        Composition(2, [NICE(2, hidden_dims=(8,)), ActNorm(2), Permutation(2), LULinear(2)])
    ),
    "BatchNorm": lambda: after_a_batch(Composition(2, [MAF(2, **SMALL), BatchNorm(2)])),
    "BernsteinFlow": lambda: BernsteinFlow(2, degree=6, **SMALL),
    "CNF": lambda: CNF(2, hidden_dims=(4,), nt_train=8),
    "CircularSpline": lambda: CircularSpline(2, circular=[0], num_bins=4, **SMALL),
    "CouplingFlow": lambda: CouplingFlow(2, Bernstein(6), **SMALL),
    "Embedded, Given": lambda: Given(
        Embedded(RealNVP(2, context_dim=2, **SMALL), torch.zeros(3), torch.ones(3), nn.Linear(3, 2)),
        torch.tensor([0.5, -1.0, 2.0]),
    ),
    "FFJORD": lambda: FFJORD(2, hidden_dims=(4, 4), nt_train=8, trace="exact"),
    "Glow": lambda: after_a_batch(Glow((1, 2, 2), num_steps=1, **IMAGE)),
    "IAF": lambda: IAF(2, **SMALL),
    "MAF": lambda: MAF(2, **SMALL),
    "MAF, mixture base": lambda: MAF(2, num_components=3, **SMALL),
    "NAF": lambda: NAF(2, num_units=4, **SMALL),
    "NICE": lambda: NICE(2, hidden_dims=(8,)),
    "NICE, logistic base": lambda: NICE(2, hidden_dims=(8,), base="logistic"),
    "NeuralSpline": lambda: NeuralSpline(2, **SMALL),
    "NeuralSpline, affine": lambda: NeuralSpline(2, affine=True, **SMALL),
    "NeuralSplineAutoregressive": lambda: NeuralSplineAutoregressive(2, **SMALL),
    "NeuralSplineImage": lambda: NeuralSplineImage((1, 2, 2), num_bins=4, hidden_dims=(8,), **IMAGE),
    "OTFlow": lambda: OTFlow(2, width=4, rank=1, nt_train=8),
    "Planar": lambda: Planar(2, num_layers=4),
    "Radial": lambda: Radial(2, num_layers=4),
    "RealNVP": lambda: RealNVP(2, num_layers=4, hidden_dims=(8,)),
    "RealNVPImage": lambda: RealNVPImage((1, 2, 2), num_couplings=1, **IMAGE),
    "SumOfSquaresFlow": lambda: SumOfSquaresFlow(2, **SMALL),
    "Sylvester": lambda: Sylvester(2, num_layers=2),
    "UNAF": lambda: UNAF(2, num_layers=1, hidden_dims=(8,), num_signals=3, integrand_dims=(8,)),
    "Whitened": lambda: Whitened(
        RealNVP(2, **SMALL), torch.tensor([0.3, -0.2]), torch.tensor([0.5, 1.5]), correlated=True
    ),
    # Not zuko's NAF, which clips between its layers: some latents belong to no data.
    "zuko.flows.BPF": lambda: zuko_flow("BPF"),
    "zuko.flows.MAF": lambda: zuko_flow("MAF"),
    "zuko.flows.NSF": lambda: zuko_flow("NSF"),
    "RealNVP, positive": lambda: RealNVP(2, support=constraints.positive, **SMALL),
    "RealNVP, simplex": lambda: RealNVP(3, support=constraints.simplex, **SMALL),
    "MAF, interval": lambda: MAF(2, support=constraints.interval(-1, 3), **SMALL),
    "NeuralSpline, ordered": lambda: NeuralSpline(2, support=ordered_vector, **SMALL),
}
