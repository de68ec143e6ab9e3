"""Keeping a critic's weights in a box."""

from __future__ import annotations

import torch
from torch import nn

from pyro_dgm.objectives.regulariser import Regulariser, warn_if_rows_mix

__all__ = ["WeightClipping"]


class WeightClipping(Regulariser):
    """Clips every parameter of the critic to ``[-limit, limit]``, after each of its updates.

    After, so that the generator never meets weights outside the box. The box bounds the critic's slope, at an
    unknown value: read the critic's value beside its measured slope. With batch normalisation in the critic
    it bounds nothing, and a warning says so.

    Args:
        limit: The bound, positive.

    Reference:
        Arjovsky, Chintala and Bottou, Wasserstein GAN, ICML 2017. https://arxiv.org/abs/1701.07875

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> WeightClipping(0.01).after_critic_update(layer)
        >>> layer.weight.abs().max() <= 0.01
        tensor(True)
    """

    def __init__(self, limit: float = 0.01) -> None:
        if not limit > 0:
            raise ValueError(f"WeightClipping needs a limit above 0, but got {limit}.")
        self.limit = limit

    def check(self, critic: nn.Module) -> None:
        """Warn if the critic mixes rows."""
        warn_if_rows_mix(critic, "clipping its weights")

    @torch.no_grad()
    def after_critic_update(self, critic: nn.Module) -> None:
        """Clip the parameters that train."""
        parameters: list[torch.Tensor] = [p for p in critic.parameters() if p.requires_grad]
        torch._foreach_clamp_min_(parameters, -self.limit)
        torch._foreach_clamp_max_(parameters, self.limit)

    def __repr__(self) -> str:
        return f"WeightClipping({self.limit})"
