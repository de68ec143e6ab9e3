"""The variational mixture of posteriors as a prior."""

from __future__ import annotations

from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_dgm.distributions.mixture_of_normals import MixtureOfNormals

__all__ = ["VampPrior"]


class _Posterior(Protocol):
    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(z | x)."""


class VampPrior(nn.Module):
    r"""A prior that is a mixture of the guide's posteriors at pseudo-inputs that train.

    .. math:: p(z) = \sum_k \pi_k \, q(z \mid u_k)

    The best prior for a given guide is its average over the data; this is its affordable stand-in. The guide
    trains through both of its roles.

    Args:
        guide: The amortized guide of the same VAE. It is not a part of this module: the VAE owns it.
        pseudo_inputs: Where the pseudo-inputs :math:`u_k` start, of shape ``(K, *event)``; rows of the data
            do well.
        data_range: Least and largest value of an entry, to which the pseudo-inputs are cut; None for no cut.

    Reference:
        Tomczak and Welling, VAE with a VampPrior, AISTATS 2018. https://arxiv.org/abs/1705.07120

    Example:
        >>> from pyro_dgm.guides import AmortizedNormal
        >>> from pyro_dgm.nets import MLPEncoder
        >>> guide = AmortizedNormal(MLPEncoder((4,), 2))
        >>> VampPrior(guide, torch.rand(10, 4))().log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        guide: _Posterior,
        pseudo_inputs: Tensor,
        *,
        data_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        # in a tuple, so that the guide's parameters are not registered twice
        self._guide: tuple[Any] = (guide,)
        self.data_range = data_range
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.detach().clone())
        self.logits = nn.Parameter(torch.zeros(len(pseudo_inputs)))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape ``(latent_dim,)``."""
        u: Tensor = self.pseudo_inputs
        if self.data_range is not None:
            u = u.clamp(*self.data_range)
        mixture: dist.TorchDistribution = MixtureOfNormals(
            dist.Categorical(logits=self.logits), self._guide[0].posterior(u)
        )
        return mixture
