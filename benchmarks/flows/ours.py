"""The flows of pyro_dgm, called as a user calls them."""

from __future__ import annotations

from benchmarks.flows.contender import BINS, BOUND, HIDDEN, LAYERS, Contender
from pyro_dgm.flows import IAF, MAF, Flow, NeuralSpline, Planar, RealNVP

__all__ = ["make"]


def make(family: str, dim: int) -> Contender:
    """Return the flow of a family."""
    layers = LAYERS[family]
    flow: Flow
    if family == "planar":
        flow = Planar(dim, num_layers=layers)
    elif family == "spline":
        flow = NeuralSpline(dim, num_layers=layers, hidden_dims=HIDDEN, num_bins=BINS, bound=BOUND)
    else:
        kind = {"real-nvp": RealNVP, "maf": MAF, "iaf": IAF}[family]
        flow = kind(dim, num_layers=layers, hidden_dims=HIDDEN)
    return Contender(
        flow,
        lambda x: flow().log_prob(x),
        lambda n: flow().sample((n,)),
        lambda n: flow().rsample_and_log_prob((n,)),
    )
