"""Whether a model's samples are made one by one."""

from __future__ import annotations

import torch
from torch import nn

from pyro_dgm.models import evaluating
from pyro_dgm.report.measurement import Measurement

__all__ = ["batch_mode_row"]

_LIMIT = 1e-4


@torch.no_grad()
def batch_mode_row(model: str, data: str, network: nn.Module, latent_dim: int) -> Measurement:
    """Measure how much the image of one latent depends on the others that are generated with it.

    In evaluation mode it must not: a network that still normalises by the statistics of its batch gives
    samples that are no independent draws, and figures of them mean little.
    """
    z = torch.randn(64, latent_dim, generator=torch.Generator().manual_seed(0))
    with evaluating(network):
        difference = (network(z)[:2] - network(z[:2])).abs().max().item()
    return Measurement(
        model,
        data,
        "dependence on the batch",
        difference,
        "",
        f"< {_LIMIT:.0e}".replace("e-0", "e-"),
        "largest change of g(z) between batches of 64 and of 2, in evaluation mode",
        holds=difference < _LIMIT,
    )
