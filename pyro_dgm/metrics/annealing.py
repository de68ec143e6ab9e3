"""Annealed importance sampling of a decoder's log-likelihood."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.metrics.likelihood import LikelihoodEstimate
from pyro_dgm.metrics.tail_index import tail_index
from pyro_dgm.models.generative_model import seeded

__all__ = ["AnnealedEstimate", "annealed_log_likelihood"]


class _Decoder(Protocol):
    def prior(self) -> TorchDistribution:
        """Return p(z)."""

    def decode(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z)."""


@dataclass(frozen=True)
class AnnealedEstimate(LikelihoodEstimate):
    """An estimate of log p(x) by annealed importance sampling: a lower bound in expectation.

    Attributes:
        acceptance: Share of the Hamiltonian moves that were accepted for each row, on average over the
            temperatures; far from 0.65, and the moves were too long or too short.
        noise: What the density of x given z is: it belongs beside the figure.
    """

    acceptance: Tensor
    noise: str

    def __str__(self) -> str:
        accepted = self.acceptance.mean()
        return f"{super().__str__()}; annealed under {self.noise}, {accepted:.0%} of moves accepted"


def annealed_log_likelihood(
    model: _Decoder,
    x: Tensor,
    *,
    num_chains: int = 16,
    num_temperatures: int = 500,
    leapfrog_steps: int = 10,
    step_size: float = 0.1,
    likelihood: Callable[[Tensor], TorchDistribution] | None = None,
    seed: int | None = None,
) -> AnnealedEstimate:
    r"""Estimate log p(x) of each row under a decoder and its prior, without any encoder.

    Chains start at the prior and pass through :math:`p(z) p(x | z)^{\beta_t}` with :math:`\beta` from 0 to 1
    along a sigmoid, one Hamiltonian move at each; their weights multiply the ratios of neighbours:

    .. math:: \log w = \sum_t (\beta_t - \beta_{t-1}) \log p(x | z_{t-1})

    The mean of the weights is an unbiased estimate of p(x), so that the estimate of its logarithm lies below
    in expectation. Step sizes adapt to each row towards 65 % acceptance. Modules are used as they are: put
    them in evaluation mode.

    Args:
        model: Anything with ``prior()`` and ``decode(z)``: a VAE, an autoencoder. A generator without a
            density needs one first: give ``likelihood``.
        x: Rows of shape ``(n, *event)``.
        num_chains: Number of chains of each row.
        num_temperatures: Number of steps from the prior to the posterior; the estimate rises with it.
        leapfrog_steps: Leapfrog steps of each move.
        step_size: Length of the first ones.
        likelihood: From the mean of ``decode(z)`` to the density of x instead of ``decode(z)`` itself, such
            as ``lambda mean: Normal(mean, 0.1).to_event(3)``: the figure is then one about that noise.
        seed: Seed of the chains, which then leaves the global random state as it was.

    Raises:
        DataError: If a count is not positive.

    Reference:
        Neal, Annealed Importance Sampling, Statistics and Computing 11, 2001.
        https://arxiv.org/abs/physics/9803008
        Wu, Burda, Salakhutdinov and Grosse, On the Quantitative Analysis of Decoder-Based Generative Models,
        ICLR 2017. https://arxiv.org/abs/1611.04273
    """
    if min(num_chains, num_temperatures, leapfrog_steps, len(x)) < 1:
        raise DataError("x, num_chains, num_temperatures and leapfrog_steps must not be empty or below 1.")
    prior = model.prior()

    def densities(z: Tensor) -> tuple[Tensor, Tensor]:
        p_x = model.decode(z) if likelihood is None else likelihood(model.decode(z).mean)
        return prior.log_prob(z), p_x.log_prob(x)

    with seeded(seed), torch.no_grad():
        z = prior.sample(Size([num_chains, len(x)]))
        log_weight = torch.zeros(num_chains, len(x), dtype=torch.double)
        accepted = torch.zeros(len(x), dtype=z.dtype)
        step = torch.full((len(x),), step_size, dtype=z.dtype)
        betas = _schedule(num_temperatures)
        for previous, beta in itertools.pairwise(betas):
            log_weight += (beta - previous) * densities(z)[1].double()
            z, rate = _move(z, beta, densities, step, leapfrog_steps)
            accepted += rate / num_temperatures
            step = torch.where(rate > 0.65, 1.02 * step, 0.98 * step).clamp(1e-4, 2.0)
        described = _noise(model, z, likelihood)
    log_sum = log_weight.logsumexp(0)
    ess = (2 * log_sum - (2 * log_weight).logsumexp(0)).exp().nan_to_num(0.0)
    log_prob = log_sum - math.log(num_chains)
    return AnnealedEstimate(log_prob, ess, num_chains, tail_index(log_weight), accepted, described)


def _noise(model: _Decoder, z: Tensor, likelihood: Callable[[Tensor], TorchDistribution] | None) -> str:
    """Describe the density of x given z, for the record."""
    p_x = model.decode(z[:1]) if likelihood is None else likelihood(model.decode(z[:1]).mean)
    base: Any = getattr(p_x, "base_dist", p_x)
    scale = getattr(base, "scale", None)
    if scale is None:
        return type(base).__name__
    low, high = float(scale.min()), float(scale.max())
    return f"{type(base).__name__} of scale {low:g}" + ("" if high == low else f" to {high:g}")


def _schedule(number: int) -> list[float]:
    """From 0 to 1 along a sigmoid, finest at both ends."""
    t = torch.linspace(-4, 4, number + 1, dtype=torch.double).sigmoid()
    betas: list[float] = ((t - t[0]) / (t[-1] - t[0])).tolist()
    return betas


def _move(
    z: Tensor,
    beta: float,
    densities: Callable[[Tensor], tuple[Tensor, Tensor]],
    step: Tensor,
    leapfrog_steps: int,
) -> tuple[Tensor, Tensor]:
    """One Hamiltonian move of all chains; return where they are, and the acceptance of each row."""
    length = step.unsqueeze(-1)

    def energy(position: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            position = position.detach().requires_grad_()
            log_prior, log_likelihood = densities(position)
            value = log_prior + beta * log_likelihood
            (slope,) = torch.autograd.grad(value.sum(), position)
        return value.detach(), slope

    momentum = torch.randn_like(z)
    value, slope = energy(z)
    start = value - 0.5 * momentum.square().sum(-1)
    position = z
    for _ in range(leapfrog_steps):
        momentum = momentum + 0.5 * length * slope
        position = position + length * momentum
        value, slope = energy(position)
        momentum = momentum + 0.5 * length * slope
    end = value - 0.5 * momentum.square().sum(-1)
    accept = torch.rand_like(end).log() < (end - start).nan_to_num(-math.inf)
    return torch.where(accept.unsqueeze(-1), position, z), accept.to(z.dtype).mean(0)
