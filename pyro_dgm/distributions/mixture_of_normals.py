"""Mixtures of diagonal normals, scored by products of matrices."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

__all__ = ["MixtureOfNormals"]


class MixtureOfNormals(dist.MixtureSameFamily):  # type: ignore[misc]
    r"""A mixture whose ``K`` components, if they are diagonal normals, are scored all at once.

    .. math::
        \sum_j \frac{(z_j - \mu_{kj})^2}{\sigma_{kj}^2} = \langle z^2, \sigma_k^{-2} \rangle
        - 2 \langle z, \mu_k \sigma_k^{-2} \rangle + \langle \mu_k^2, \sigma_k^{-2} \rangle

    Two products of matrices for all rows and components, where the usual way writes ``K`` vectors for each
    row. Digits are lost only where components are far narrower than they lie apart; the mean of the locations
    is taken as the origin, to lose few. Other components are scored as ever.

    Args:
        mixture_distribution: The categorical distribution of the component.
        component_distribution: The components, of batch shape ``(K,)``.

    Example:
        >>> components = dist.Normal(torch.zeros(3, 2), 1.0).to_event(1)
        >>> MixtureOfNormals(dist.Categorical(logits=torch.zeros(3)), components).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of events, in nats."""
        independent = self.component_distribution
        normal = independent.base_dist if isinstance(independent, Independent) else None
        if not isinstance(normal, Normal) or normal.loc.dim() != 2 or value.shape[-1] != normal.loc.shape[1]:
            log_prob: Tensor = super().log_prob(value)
            return log_prob
        if self._validate_args:
            self._validate_sample(value)
        origin = normal.loc.detach().mean(0)
        z, loc = value - origin, normal.loc - origin
        precision = normal.scale.square().reciprocal()
        weighted = loc * precision
        squares = z.square() @ precision.t() - 2 * (z @ weighted.t()) + (loc * weighted).sum(-1)
        constant = normal.scale.log().sum(-1) + 0.5 * loc.shape[1] * math.log(2 * math.pi)
        log_weights = self.mixture_distribution.logits - constant  # a categorical normalises its logits
        return torch.logsumexp(log_weights - 0.5 * squares, -1)
