"""Mixtures of normals, as functions of the line onto itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.special import erfc, erfcx

from pyro_dgm.transforms.monotone import Monotone

__all__ = ["MixtureOfNormals"]

_LOG_SQRT_2_PI, _SQRT_HALF = 0.5 * math.log(2 * math.pi), math.sqrt(0.5)


class MixtureOfNormals(Monotone):
    r"""The normal quantile of a mixture's distribution function: it makes a mixture standard normal.

    .. math:: x = \Phi^{-1} \Big( \sum_{k=1}^K w_k \, \Phi \big( (y - \mu_k) / \sigma_k \big) \Big), \qquad
              w_k \ge 0, \; \sum_k w_k = 1

    If ``x`` is standard normal, then ``y`` has the density :math:`\sum_k w_k N(y; \mu_k, \sigma_k^2)`. Both
    are computed in logarithms of the smaller tail, so that far out no digits are lost. Draws are
    reparameterised: a component is never drawn.

    One more component is always there, which is not in the paper: a normal over all of the others, with a
    weight of 1e-4, the mean of their means, and twice the deviation of their equal mixture. Between two
    normals far apart the function would be flat to rounding, and values there would not come back.

    Args:
        num_components: Number of normals ``K`` that are free; ``3 K`` parameters.
        max_log_scale: Bound of :math:`|\log \sigma_k|`, in nats.
        wide_weight: Weight of the wide component; zero for none.

    Reference:
        Papamakarios, Pavlakou and Murray, Masked Autoregressive Flow for Density Estimation, NeurIPS 2017,
        section 3.2 (as the base of a flow). https://arxiv.org/abs/1705.07057
    """

    def __init__(
        self, num_components: int = 10, *, max_log_scale: float = 3.0, wide_weight: float = 1e-4
    ) -> None:
        if num_components < 1 or not 0.5 < max_log_scale < math.inf or not 0 <= wide_weight < 1:
            raise ValueError(
                "MixtureOfNormals needs num_components >= 1, a finite max_log_scale > 0.5 and "
                f"0 <= wide_weight < 1, but got {num_components=}, {max_log_scale=} and {wide_weight=}."
            )
        self.num_components, self.max_log_scale = num_components, max_log_scale
        self.wide_weight = wide_weight
        self.num_parameters = 3 * num_components

    def inverse(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the function."""
        raw_w, mean, raw_scale = parameters.split(self.num_components)
        log_w = torch.log_softmax(raw_w, 0)
        log_scale = self.max_log_scale * torch.tanh(raw_scale / self.max_log_scale)
        if self.wide_weight:
            wide = torch.full_like(log_w[:1], math.log(self.wide_weight))
            log_w = torch.cat((log_w + math.log1p(-self.wide_weight), wide))
            centre = mean.mean(0, keepdim=True)
            spread = ((mean - centre).square() + (2 * log_scale).exp()).mean(0, keepdim=True)
            mean = torch.cat((mean, centre))
            log_scale = torch.cat((log_scale, 0.5 * spread.log() + math.log(2)))
        z = (y - mean) * torch.exp(-log_scale)
        with torch.no_grad():  # in the upper half, turn round: what is summed is the smaller tail
            above = (log_w.exp() * torch.special.ndtr(z)).sum(0) > 0.5
            sign = torch.where(above, -1.0, 1.0).to(z)
        tail = _normal_quantile(torch.logsumexp(log_w + _log_ndtr(sign * z), 0))
        log_density = torch.logsumexp(log_w - log_scale - 0.5 * z.square(), 0)
        return sign * tail, log_density + 0.5 * tail.square()

    def identity(self) -> Tensor:
        """Equal weights, and means apart from each other: mean zero and variance one, near the identity.

        With equal means it would be the identity, and all components would stay alike.
        """
        k = self.num_components
        if k == 1:
            return torch.zeros(3)
        # Half of the variance lies between the components, half within.
        mean = torch.linspace(-1, 1, k) * math.sqrt(1.5 * (k - 1) / (k + 1))
        raw = self.max_log_scale * math.atanh(-0.5 * math.log(2) / self.max_log_scale)
        return torch.cat((torch.zeros(k), mean, torch.full((k,), raw)))


def _normal_quantile(log_p: Tensor) -> Tensor:
    r"""The root ``x`` of :math:`\log \Phi(x) = \log p`, for ``p`` up to about one half.

    Newton's method on a concave function, from a start below the root that is close far out, never
    oversteps. The last two steps carry the first and second derivatives.
    """
    target = log_p.detach()
    x = -torch.sqrt((-2 * (target + math.log(2))).clamp(min=0))  # Phi(x) <= exp(-x^2 / 2) / 2
    for step in range(6):
        target = log_p if step >= 4 else target
        value = _log_ndtr(x)
        x = x - (value - target) * torch.exp(value + 0.5 * x.square() + _LOG_SQRT_2_PI)
    return x


def _log_ndtr(z: Tensor) -> Tensor:
    r"""The logarithm of :math:`\Phi`; torch's own has no batching rule for ``torch.func.vmap``."""
    low = z < -1
    tail, rest = z.clamp(max=-1), z.clamp(min=-1)
    far = torch.log(0.5 * erfcx(-_SQRT_HALF * tail)) - 0.5 * tail.square()
    return torch.where(low, far, torch.log1p(-0.5 * erfc(_SQRT_HALF * rest)))
