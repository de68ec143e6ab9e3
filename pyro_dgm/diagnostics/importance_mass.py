"""The mass of a density in any dimension, by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pyro.distributions import MultivariateStudentT
from pyro.ops.stats import fit_generalized_pareto
from torch import Size, Tensor

__all__ = ["ImportanceMass", "importance_mass"]

_DEGREES_OF_FREEDOM = 4.0


@dataclass(frozen=True)
class ImportanceMass:
    """What importance sampling found.

    Attributes:
        mass: The estimate of the density's integral.
        standard_error: Its standard error, to be trusted if ``k_hat`` is below 0.7.
        effective_draws: The effective number of draws.
        k_hat: Tail index of the weights: above 0.7 the estimate can be far off, and its standard error with
            it.
        mean_log_prob: The mean log-density under the density (scaled to mass one), in nats.
        mean_log_prob_error: Its standard error.
        bad_point: A point at which the density is NaN or infinite, if one was met.
    """

    mass: float
    standard_error: float
    effective_draws: float
    k_hat: float
    mean_log_prob: float
    mean_log_prob_error: float
    bad_point: list[float] | None = None

    @property
    def is_reliable(self) -> bool:
        """Whether the weights' tail is light enough for the standard error to mean something."""
        return self.k_hat < 0.7


def importance_mass(
    log_density: Callable[[Tensor], Tensor], samples: Tensor, *, num_draws: int = 20_000
) -> ImportanceMass:
    r"""Estimate :math:`\int \exp(\log p)` with draws from a wide Student-t proposal.

    .. math:: \frac{1}{S} \sum_s \frac{p(y_s)}{q(y_s)}, \qquad
              q = t_4(\text{mean}, \text{covariance of the samples})

    Args:
        log_density: Maps points ``(n, D)`` in double precision to log-densities ``(n,)``.
        samples: Points ``(m, D)`` of the distribution, to which the proposal is fitted.
        num_draws: Number ``S`` of draws.

    Reference:
        Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling, JMLR 2024, for the tail
        index. https://arxiv.org/abs/1507.02646
    """
    samples = samples.double()
    covariance = samples.T.cov().reshape(samples.shape[1], -1)
    jitter = 1e-9 * covariance.diagonal().mean().clamp_min(1e-24) * torch.eye(len(covariance))
    scale_tril = torch.linalg.cholesky(covariance + jitter)
    df = torch.tensor(_DEGREES_OF_FREEDOM, dtype=torch.double)
    proposal = MultivariateStudentT(df, samples.mean(0), scale_tril)
    points = proposal.sample(Size([num_draws]))
    log_p = log_density(points).double()
    wrong = log_p.isnan() | (log_p == torch.inf)
    bad_point = points[wrong][0].tolist() if wrong.any() else None
    log_weights = log_p - proposal.log_prob(points)
    weights = log_weights.exp()
    shares = (log_weights - log_weights.logsumexp(0)).exp()
    surprise = torch.where(shares > 0, log_p, 0.0)
    mean_log_prob = (shares * surprise).sum()
    return ImportanceMass(
        mass=weights.mean().item(),
        standard_error=weights.std().item() / math.sqrt(num_draws),
        effective_draws=1 / shares.square().sum().item() if bad_point is None else 0.0,
        k_hat=_tail_index(log_weights),
        mean_log_prob=mean_log_prob.item(),
        mean_log_prob_error=(shares * (surprise - mean_log_prob)).square().sum().sqrt().item(),
        bad_point=bad_point,
    )


def _tail_index(log_weights: Tensor) -> float:
    """The shape of a generalised Pareto distribution fitted to the largest weights."""
    finite = log_weights[log_weights.isfinite()]
    count = min(len(log_weights) // 5, math.ceil(3 * math.sqrt(len(log_weights))))
    if len(finite) <= count:
        return math.inf
    largest = (finite - finite.max()).exp().topk(count + 1).values
    tail = largest[:-1] - largest[-1]
    tail = tail[tail > 0]
    if len(tail) < 5:
        return -math.inf if largest[-1] > 0.999 else math.inf  # equal weights, or one that outweighs all
    k_hat, _ = fit_generalized_pareto(tail)
    return k_hat if math.isfinite(k_hat) else math.inf
