"""A step through ``fit`` against the same flow in a loop by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.interleaved import interleaved
from pyro_dgm.flows import RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import fit

__all__ = ["FIT_BAR", "fit_against_plain_loop"]

FIT_BAR = 1.20
ROWS, BATCH, CLIP = 12_800, 256, 10.0


def plain_loop(flow: RealNVP, rows: Tensor) -> Callable[[], object]:
    """An epoch by hand: the flow's density, the same optimiser, clipping and finite check."""
    parameters = list(flow.parameters())
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def epoch() -> None:
        for index in torch.randperm(ROWS).split(BATCH):
            loss = -flow().log_prob(rows[index]).mean()
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, CLIP)
            if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
                raise FloatingPointError("the loss is not finite")
            optimiser.step()

    return epoch


def fit_against_plain_loop(rounds: int) -> list[float]:
    """The ratio of CPU times in each round."""
    torch.manual_seed(0)
    rows = torch.randn(ROWS, 2)
    flow, model = RealNVP(2), NormalizingFlow(RealNVP(2))
    model.flow = copy.deepcopy(flow)
    work = {
        "plain": plain_loop(flow, rows),
        "fit": lambda: fit(model, rows, epochs=1, batch_size=BATCH, clip=CLIP, progress=False),
    }
    seconds = interleaved(work, rounds=rounds, repeats=1)
    return [a / b for a, b in zip(seconds["fit"], seconds["plain"], strict=True)]
