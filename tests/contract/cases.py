"""Every public flow, one line each; the tests of this folder run over all of them."""

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
)
from pyro_dgm.transforms import Bernstein, OntoSupport, SumOfSquares, wrapped

POSITIVE_AND_REAL = constraints.stack([constraints.positive, constraints.real], dim=-1)
REALS_AND_SIMPLEX = constraints.cat([constraints.real, constraints.simplex], dim=-1, lengths=[2, 3])


def after_a_batch(flow):
    """A flow whose data-dependent layers have seen their first batch."""
    flow().log_prob(0.3 + 1.2 * torch.randn(64, *flow.event_shape))
    return flow


TINY = {"hidden_channels": 4, "num_blocks": 1}  # conditioners of images

CASES = {
    "real-nvp-1d": lambda: RealNVP(1, num_layers=3, hidden_dims=(8,)),
    "real-nvp-2d": lambda: RealNVP(2, num_layers=4, hidden_dims=(8,)),
    "real-nvp-5d": lambda: RealNVP(5, num_layers=4, hidden_dims=(8,)),
    "real-nvp-5d-guide": lambda: RealNVP(5, num_layers=3, hidden_dims=(8,), max_stretch=1.0, split=1),
    "real-nvp-1d-context": lambda: RealNVP(1, context_dim=2, num_layers=3, hidden_dims=(8,)),
    "real-nvp-2d-context": lambda: RealNVP(2, context_dim=3, num_layers=4, hidden_dims=(8,)),
    "real-nvp-5d-context": lambda: RealNVP(5, context_dim=2, num_layers=4, hidden_dims=(8,)),
    "planar-1d": lambda: Planar(1, num_layers=3),
    "planar-2d": lambda: Planar(2, num_layers=4),
    "planar-2d-context": lambda: Planar(2, context_dim=3, num_layers=4, hidden_dims=(8,)),
    "planar-5d": lambda: Planar(5, num_layers=4),
    "radial-1d": lambda: Radial(1, num_layers=3),
    "radial-2d": lambda: Radial(2, num_layers=4),
    "radial-2d-context": lambda: Radial(2, context_dim=3, num_layers=4, hidden_dims=(8,)),
    "radial-5d": lambda: Radial(5, num_layers=4),
    "nice-2d": lambda: NICE(2, hidden_dims=(8,)),
    "nice-5d-context-logistic": lambda: NICE(5, context_dim=2, hidden_dims=(8,), base="logistic"),
    "maf-1d": lambda: MAF(1, num_layers=2, hidden_dims=(8,)),
    "maf-2d-context": lambda: MAF(2, context_dim=3, num_layers=2, hidden_dims=(8, 8)),
    "maf-5d": lambda: MAF(5, num_layers=2, hidden_dims=(8, 8)),
    "maf-mixture-2d-context": lambda: MAF(
        2, context_dim=3, num_layers=1, hidden_dims=(8, 8), num_components=3
    ),
    "iaf-2d": lambda: IAF(2, num_layers=2, hidden_dims=(8,)),
    "iaf-5d-context": lambda: IAF(5, context_dim=2, num_layers=2, hidden_dims=(8, 8)),
    "spline-1d": lambda: NeuralSpline(1, num_layers=2, hidden_dims=(8,)),
    "spline-2d-context": lambda: NeuralSpline(2, context_dim=3, num_layers=2, hidden_dims=(8,)),
    "spline-5d": lambda: NeuralSpline(5, num_layers=2, hidden_dims=(8,)),
    "spline-ar-2d": lambda: NeuralSplineAutoregressive(2, num_layers=2, hidden_dims=(8,)),
    "spline-ar-5d-context": lambda: NeuralSplineAutoregressive(
        5, context_dim=2, num_layers=2, hidden_dims=(8, 8)
    ),
    "composition-evaluating-1d": lambda: Composition(1, [MAF(1, num_layers=1), BatchNorm(1)]).eval(),
    "composition-2d-context": lambda: Composition(
        2, [RealNVP(2, context_dim=3, num_layers=2, hidden_dims=(8,)), LULinear(2)], context_dim=3
    ),
    "composition-5d": lambda: after_a_batch(
        Composition(5, [NICE(5, hidden_dims=(8,)), ActNorm(5), Permutation(5, "random"), LULinear(5)])
    ),
    "spline-2d-affine": lambda: NeuralSpline(2, num_layers=2, hidden_dims=(8,), affine=True),
    "spline-ar-3d-affine": lambda: NeuralSplineAutoregressive(3, num_layers=1, hidden_dims=(8,), affine=True),
    "whitened-2d-context": lambda: Whitened(
        RealNVP(2, context_dim=3, num_layers=2, hidden_dims=(8,)),
        loc=torch.tensor([0.3, -0.2]),
        scale=torch.tensor([0.5, 1.5]),
    ),
    "whitened-5d-correlated": lambda: Whitened(
        RealNVP(5, num_layers=2, hidden_dims=(8,)), correlated=True, trainable=True
    ),
    "embedded-2d-context": lambda: Embedded(
        RealNVP(2, context_dim=2, num_layers=2, hidden_dims=(8,)),
        torch.tensor([0.1, -0.4, 1.0]),
        torch.tensor([0.5, 2.0, 1.0]),
        nn.Linear(3, 2),
    ),
    "given-2d": lambda: Given(RealNVP(2, context_dim=3, num_layers=2, hidden_dims=(8,)), torch.ones(3)),
    "naf-1d": lambda: NAF(1, num_layers=1, hidden_dims=(8,), num_units=4),
    "naf-2d-context": lambda: NAF(2, context_dim=3, num_layers=2, hidden_dims=(8,), num_units=4),
    "unaf-2d": lambda: UNAF(2, num_layers=1, hidden_dims=(8,), num_signals=3, integrand_dims=(8,)),
    "bernstein-2d": lambda: BernsteinFlow(2, num_layers=2, hidden_dims=(8,), degree=6),
    "sum-of-squares-3d-context": lambda: SumOfSquaresFlow(3, context_dim=2, num_layers=2, hidden_dims=(8,)),
    "coupling-bernstein-2d": lambda: CouplingFlow(2, Bernstein(6), num_layers=2, hidden_dims=(8,)),
    "coupling-sum-of-squares-3d-context": lambda: CouplingFlow(
        3, SumOfSquares(2, 2), context_dim=2, num_layers=2, hidden_dims=(8,)
    ),
    "sylvester-1d": lambda: Sylvester(1, num_layers=2),
    "sylvester-2d-context": lambda: Sylvester(2, context_dim=3, num_layers=2, hidden_dims=(8,)),
    "sylvester-5d": lambda: Sylvester(5, num_layers=2, num_units=3),
    "positive-1d": lambda: RealNVP(1, num_layers=2, hidden_dims=(8,), support=constraints.positive),
    "interval-2d-context": lambda: MAF(
        2, 3, num_layers=2, hidden_dims=(8,), support=constraints.interval(-1, 3)
    ),
    "simplex-2d": lambda: RealNVP(3, num_layers=2, hidden_dims=(8,), support=constraints.simplex),
    "ordered-5d": lambda: NeuralSpline(5, num_layers=2, hidden_dims=(8,), support=ordered_vector),
    "cholesky-3d": lambda: IAF(2, num_layers=2, hidden_dims=(8,), support=constraints.lower_cholesky),
    "stack-2d": lambda: NICE(2, hidden_dims=(8,), support=POSITIVE_AND_REAL),
    "cat-4d-context": lambda: Radial(5, 2, num_layers=2, hidden_dims=(8,), support=REALS_AND_SIMPLEX),
    "spline-image-context": lambda: NeuralSplineImage(
        (2, 2, 2), context_dim=2, num_levels=1, **TINY, num_bins=4, hidden_dims=(8,)
    ),
    "real-nvp-image-context": lambda: RealNVPImage(
        (1, 2, 4), context_dim=2, num_levels=1, num_couplings=1, **TINY
    ),
    "glow": lambda: after_a_batch(Glow((1, 2, 4), num_levels=1, num_steps=1, **TINY)),
    "circular-1d": lambda: CircularSpline(1, num_layers=2, hidden_dims=(8,), num_bins=4),
    "circular-2d-context": lambda: CircularSpline(
        2, context_dim=3, circular=[0], num_layers=2, hidden_dims=(8,), num_bins=4
    ),
    "circular-3d": lambda: CircularSpline(3, circular=[0, 2], num_layers=2, hidden_dims=(8,), num_bins=4),
    "ot-flow-1d": lambda: OTFlow(1, width=4, rank=1, nt_train=16),
    "ot-flow-2d": lambda: OTFlow(2, width=4, rank=1, nt_train=16),
    "ot-flow-2d-context": lambda: OTFlow(2, context_dim=3, width=4, rank=1, nt_train=16),
    "cnf-1d": lambda: CNF(1, hidden_dims=(4,), nt_train=4),
    "cnf-2d-context": lambda: CNF(2, context_dim=3, hidden_dims=(4, 4), nt_train=4),
    "cnf-planar-2d": lambda: CNF(2, field="planar", hidden_dims=(4,), nt_train=4),
    "ffjord-5d-context": lambda: FFJORD(5, context_dim=2, hidden_dims=(4, 4), nt_train=4, trace="exact"),
    "ot-flow-5d": lambda: OTFlow(5, width=4, rank=1, nt_train=16),
}

# Further sizes of flows that stand above in another one: their tests are among the slow ones.
FURTHER = {
    "real-nvp-5d-guide",
    "real-nvp-1d",
    "real-nvp-2d",
    "real-nvp-1d-context",
    "real-nvp-5d-context",
    "planar-2d",
    "planar-5d",
    "radial-1d",
    "radial-5d",
    "nice-2d",
    "maf-1d",
    "maf-5d",
    "iaf-2d",
    "spline-1d",
    "spline-5d",
    "spline-ar-2d",
    "composition-evaluating-1d",
    "composition-2d-context",
    "spline-2d-affine",
    "whitened-2d-context",
    "naf-1d",
    "unaf-2d",
    "coupling-bernstein-2d",
    "sylvester-1d",
    "sylvester-5d",
    "interval-2d-context",
    "ordered-5d",
    "stack-2d",
    "spline-image-context",
    "real-nvp-image-context",
    "glow-evaluating-context",
    "circular-1d",
    "circular-3d",
    "ot-flow-1d",
    "ot-flow-5d",
    "cnf-1d",
    "cnf-planar-2d",
}


def perturbed(flow, scale=0.1):
    """A flow as after some use: a fresh one is the identity, which hides most mistakes."""
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(scale * torch.randn_like(p))
    return flow


def context_for(flow, *batch):
    """A context of batch shape ``batch`` in the flow's dtype; None for a flow that takes none."""
    return torch.randn(*batch, flow.context_dim).to(flow.origin) if flow.context_dim else None


def points_for(flow, *batch, scale=1.0):
    """Points of the latent's space."""
    x = scale * torch.randn(*batch, *flow.origin.shape).to(flow.origin)
    return torch.where(flow.circular > 0, wrapped(x), x) if isinstance(flow, CircularSpline) else x


def chart(flow):
    """The map from real vectors onto the support of the data; None where that is all of space."""
    return OntoSupport(flow.space, flow.input_dim) if isinstance(flow, CircularSpline) else flow.outer


def to_data(flow, x):
    """Points of the latent's space, carried onto the support of the data."""
    return x if flow.outer is None else flow.outer(x)


def data_for(flow, *batch, scale=1.0):
    """Values that the flow can score."""
    return to_data(flow, points_for(flow, *batch, scale=scale))


def coordinates(flow, y):
    """The numbers among the entries of an event that determine the others."""
    if flow.outer is None:
        return y.flatten(-len(flow.event_shape))
    if len(flow.event_shape) == 2:
        return y[(..., *torch.tril_indices(*flow.event_shape))]
    # A simplex, here always the last stretch of the event, is measured by all of its entries but the last.
    return y[..., : flow.latent_dim]


def limit_for(flow, rounding):
    """The error that a flow may have: rounding, or what is left of an ODE's steps or a quadrature."""
    if isinstance(flow, UNAF):
        return max(rounding, 1e-7)
    return 1e-3 if hasattr(flow, "nt_eval") else rounding
