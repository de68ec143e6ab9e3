"""Annealed importance sampling of a decoder's log-likelihood."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor

from pyro_dgm.errors import ArgumentTypeError, DataError, PyroDGMError, ShapeError
from pyro_dgm.metrics.likelihood import LikelihoodEstimate
from pyro_dgm.metrics.tail_index import tail_index
from pyro_dgm.models.generative_model import check_rows, seeded

__all__ = ["AnnealedEstimate", "annealed_log_likelihood"]


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
    model: Any,
    x: Tensor,
    *,
    context: Tensor | None = None,
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
        model: Anything with ``prior()``, and with ``decode(z)`` that gives the distribution of x, as a VAE
            has, or ``generate(z)`` that gives rows, as an
            :class:`~pyro_dgm.models.ImplicitGenerator` has: to those give ``likelihood``.
        x: Rows of shape ``(n, *event)``.
        context: What the rows are conditioned on, of shape ``(n, C)``, for a model that takes it.
        num_chains: Number of chains of each row.
        num_temperatures: Number of steps from the prior to the posterior; the estimate rises with it.
        leapfrog_steps: Leapfrog steps of each move.
        step_size: Length of the first ones.
        likelihood: From ``generate(z)``, or from the mean of ``decode(z)``, to the density of x, such as
            ``lambda mean: Normal(mean, 0.1).to_event(3)``: the figure is then one about that noise.
        seed: Seed of the chains, which then leaves the global random state as it was.

    Raises:
        ArgumentTypeError: If the model gives x no density, and no likelihood does.
        ShapeError: If rows and the model's rows have different shapes.
        DataError: If a count is not positive, or a row not finite.

    Reference:
        Neal, Annealed Importance Sampling, Statistics and Computing 11, 2001.
        https://arxiv.org/abs/physics/9803008
        Wu, Burda, Salakhutdinov and Grosse, On the Quantitative Analysis of Decoder-Based Generative Models,
        ICLR 2017. https://arxiv.org/abs/1611.04273

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_dgm.models import ImplicitGenerator
        >>> gan = ImplicitGenerator(torch.nn.Linear(2, 3), latent_dim=2)
        >>> noisy = lambda mean: dist.Normal(mean, 0.5).to_event(1)
        >>> found = annealed_log_likelihood(gan, torch.zeros(4, 3), likelihood=noisy, num_temperatures=9)
        >>> found.noise
        'Normal of scale 0.5'
    """
    if min(num_chains, num_temperatures, leapfrog_steps, len(x)) < 1:
        raise DataError("x, num_chains, num_temperatures and leapfrog_steps must not be empty or below 1.")
    given = () if context is None else (context,)
    observed = _observation(model, likelihood, given)
    with seeded(seed), torch.no_grad():
        prior = model.prior(*given)
        # a prior that reads the context has one distribution for each row already
        z = prior.sample(Size([num_chains] if prior.batch_shape else [num_chains, len(x)]))
        check_rows("annealed_log_likelihood", x, z)
        _check_rows(x, observed(z))

        def densities(z: Tensor) -> tuple[Tensor, Tensor]:
            return prior.log_prob(z), observed(z).log_prob(x)

        log_weight = torch.zeros(num_chains, len(x), dtype=torch.double)
        accepted = torch.zeros(len(x), dtype=z.dtype)
        step = torch.full((len(x),), step_size, dtype=z.dtype)
        betas = _schedule(num_temperatures)
        for previous, beta in itertools.pairwise(betas):
            log_weight += (beta - previous) * densities(z)[1].double()
            z, rate = _move(z, beta, densities, step, leapfrog_steps)
            accepted += rate / num_temperatures
            step = torch.where(rate > 0.65, 1.02 * step, 0.98 * step).clamp(1e-4, 2.0)
        described = _noise(observed(z))
    log_sum = log_weight.logsumexp(0)
    ess = (2 * log_sum - (2 * log_weight).logsumexp(0)).exp().nan_to_num(0.0)
    log_prob = log_sum - math.log(num_chains)
    return AnnealedEstimate(log_prob, ess, num_chains, tail_index(log_weight), accepted, described)


def _observation(
    model: Any, likelihood: Callable[[Tensor], TorchDistribution] | None, given: tuple[Tensor, ...]
) -> Callable[[Tensor], TorchDistribution]:
    """How x is distributed given z."""
    if likelihood is None and not hasattr(model, "decode"):
        raise ArgumentTypeError(
            f"{type(model).__name__} gives x no density given z. State one, which belongs beside the figure: "
            "likelihood=lambda mean: dist.Normal(mean, 0.1).to_event(k), with k the rank of a row."
        )
    if likelihood is None:
        return lambda z: model.decode(z, *given)
    around = likelihood
    if hasattr(model, "generate"):
        return lambda z: around(model.generate(z, *given))
    return lambda z: around(model.decode(z, *given).mean)


def _check_rows(x: Tensor, p_x: TorchDistribution) -> None:
    if x.shape[1:] != p_x.event_shape:
        raise ShapeError(
            f"the density of x given z has events of shape {tuple(p_x.event_shape)}, but x has rows of shape "
            f"{tuple(x.shape[1:])}. Give rows that the model could have made, and to_event(k) all of their "
            "dimensions."
        )
    if not x.isfinite().all():
        row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
        raise DataError(f"x is not finite in row {row}, which has no density.")
    try:
        p_x.log_prob(x)
    except ValueError as error:
        if isinstance(error, PyroDGMError):
            raise
        raise DataError(
            f"the rows are outside the support of the density of x given z, a {type(p_x).__name__}: rescale, "
            "binarise or dequantise them, or give another likelihood=."
        ) from error


def _noise(p_x: TorchDistribution) -> str:
    """Describe the density of x given z, for the record."""
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
