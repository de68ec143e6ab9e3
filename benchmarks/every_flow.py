"""Every flow over vectors, as it comes out of the box, on the plane."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pyro_dgm import flows
from pyro_dgm.flows import Composition, Flow
from pyro_dgm.transforms import Bernstein, SumOfSquares

__all__ = ["FLOWS", "at_rest"]

FLOWS: dict[str, Callable[[], Flow]] = {
    "NICE": lambda: flows.NICE(2),
    "NICE logistic": lambda: flows.NICE(2, base="logistic"),
    "RealNVP": lambda: flows.RealNVP(2),
    "MAF": lambda: flows.MAF(2),
    "MAF mixture": lambda: flows.MAF(2, num_components=5),
    "IAF": lambda: flows.IAF(2),
    "Planar": lambda: flows.Planar(2),
    "Radial": lambda: flows.Radial(2),
    "Sylvester": lambda: flows.Sylvester(2),
    "NeuralSpline": lambda: flows.NeuralSpline(2),
    "NeuralSplineAutoregressive": lambda: flows.NeuralSplineAutoregressive(2),
    "NAF": lambda: flows.NAF(2),
    "UNAF": lambda: flows.UNAF(2),
    "BernsteinFlow": lambda: flows.BernsteinFlow(2),
    "SumOfSquaresFlow": lambda: flows.SumOfSquaresFlow(2),
    "CouplingFlow Bernstein": lambda: flows.CouplingFlow(2, Bernstein()),
    "CouplingFlow squares": lambda: flows.CouplingFlow(2, SumOfSquares()),
    "CircularSpline no angle": lambda: flows.CircularSpline(2, circular=[]),
    "Whitened RealNVP": lambda: flows.Whitened(flows.RealNVP(2), correlated=True, trainable=True),
    "ActNorm and LU": lambda: Composition(2, [flows.RealNVP(2), flows.LULinear(2), flows.ActNorm(2)]),
    "MAF and BatchNorm": lambda: Composition(
        2, [flows.MAF(2, num_layers=2), flows.BatchNorm(2), flows.MAF(2, num_layers=2), flows.BatchNorm(2)]
    ),
    "OTFlow": lambda: flows.OTFlow(2),
    "CNF": lambda: flows.CNF(2),
    "FFJORD": lambda: flows.FFJORD(2),
}


def at_rest(flow: Flow, rows: Tensor) -> Flow:
    """The flow as it is reported: in evaluation mode, batch normalisation with the data's statistics."""
    if isinstance(flow, Composition):
        flow.set_statistics(rows)
    return flow.eval()
