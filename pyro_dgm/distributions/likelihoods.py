"""Observation models: from a decoder's output to the distribution of the data."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

__all__ = ["Bernoulli"]


class Bernoulli:
    """Independent binary entries, from logits.

    For binary data: grey values between 0 and 1 are outside its support, and its cross-entropy on them is
    not a likelihood.

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.

    Shape:
        Logits ``(*batch, *event)``; the distribution has batch shape ``batch`` and event shape ``event``.

    Example:
        >>> import torch
        >>> Bernoulli(event_dim=3)(torch.zeros(5, 1, 8, 8)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(self, event_dim: int = 1) -> None:
        self.event_dim = event_dim

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return the distribution with these ``logits``."""
        likelihood: dist.TorchDistribution = dist.Bernoulli(logits=logits).to_event(self.event_dim)
        return likelihood

    def __repr__(self) -> str:
        return f"Bernoulli(event_dim={self.event_dim})"
