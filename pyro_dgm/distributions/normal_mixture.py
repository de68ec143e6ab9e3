"""A learned mixture of normals as a prior."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import nn

from pyro_dgm.distributions.mixture_of_normals import MixtureOfNormals

__all__ = ["NormalMixture"]


class NormalMixture(nn.Module):
    r"""A prior :math:`p(z) = \sum_m \pi_m N(z; \mu_m, \mathrm{diag}(\sigma_m^2))` whose parameters train.

    Args:
        latent_dim: Size ``q`` of the latent.
        num_components: Number of components. They start at places drawn from N(0, I), with unit scale and
            equal weights.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> NormalMixture(2, 5)().sample((3,)).shape
        torch.Size([3, 2])
    """

    def __init__(self, latent_dim: int, num_components: int = 10) -> None:
        super().__init__()
        if latent_dim < 1 or num_components < 1:
            raise ValueError(
                f"NormalMixture needs latent_dim >= 1 and num_components >= 1, but got {latent_dim} and "
                f"{num_components}."
            )
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(num_components, latent_dim))
        self.logits = nn.Parameter(torch.zeros(num_components))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape ``(latent_dim,)``."""
        components = dist.Normal(self.loc, self.log_scale.exp()).to_event(1)
        mixture: dist.TorchDistribution = MixtureOfNormals(dist.Categorical(logits=self.logits), components)
        return mixture
