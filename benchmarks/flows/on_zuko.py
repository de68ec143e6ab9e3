"""zuko's flows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.flows.contender import BINS, BOUND, HIDDEN, LAYERS, Contender
from pyro_dgm.zuko_guard import import_zuko

__all__ = ["make"]


def make(family: str, dim: int) -> Contender | None:
    """Return the flow of a family, or None for those that zuko does not have."""
    if family == "planar":
        return None
    zuko = import_zuko()
    sizes = {"transforms": LAYERS[family], "hidden_features": HIDDEN}
    if family == "real-nvp":
        flow = zuko.flows.RealNVP(dim, **sizes)
    elif family == "spline":
        # The coupling with a plain network, which is faster than NSF(passes=2) with masked ones.
        univariate = partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND)
        flow = zuko.flows.RealNVP(dim, univariate=univariate, shapes=[(BINS,), (BINS,), (BINS - 1,)], **sizes)
    else:
        flow = zuko.flows.MAF(dim, **sizes)

    def distribution() -> torch.distributions.Distribution:
        if family != "iaf":
            return flow(None)
        composed, base = flow.transform(None), flow.base(None)
        return zuko.distributions.NormalizingFlow(composed.inv, base)

    def rsample_and_log_prob(n: int) -> tuple[Tensor, Tensor]:
        return distribution().rsample_and_log_prob((n,))

    return Contender(
        flow,
        lambda x: distribution().log_prob(x),
        lambda n: distribution().sample((n,)),
        rsample_and_log_prob,
    )
