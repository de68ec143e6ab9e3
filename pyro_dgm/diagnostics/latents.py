"""What a VAE's latents do: which are used, what they cost, and how far they are from the prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.distributions import StandardNormal, kl_by_dimension
from pyro_dgm.errors import ArgumentTypeError, DataError
from pyro_dgm.metrics import Estimate, energy_distance, real_floor
from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import check_rows, evaluating, seeded
from pyro_dgm.models.vae import posterior_centre

__all__ = [
    "LatentReport",
    "active_units",
    "aggregate_posterior",
    "latent_report",
    "posterior_draws",
    "rate_distortion",
]

_THRESHOLD = 0.01


@dataclass(frozen=True)
class LatentReport:
    """How a VAE uses its latents on given rows.

    Attributes:
        reconstruction: The distortion, E[-log p(x | z)], in nats per row.
        rate: E[log q(z | x) - log p(z)], the mean divergence from the prior, in nats per row. Distortion and
            rate add up to the negative ELBO.
        kl: For each dimension the rate of its own, where posterior and prior are factorised and the prior is
            N(0, I); None otherwise. Of shape ``(q,)``, in nats.
        mean_variance: The variance over the rows of the posterior mean of each dimension, of shape ``(q,)``.
        active: Which dimensions are used: those where that variance is above 0.01.
    """

    reconstruction: float
    rate: float
    kl: Tensor | None
    mean_variance: Tensor
    active: Tensor

    @property
    def num_active(self) -> int:
        """Number of dimensions that are used."""
        return int(self.active.sum())

    @property
    def negative_elbo(self) -> float:
        """Distortion plus rate, in nats per row."""
        return self.reconstruction + self.rate

    def __str__(self) -> str:
        return (
            f"-ELBO {self.negative_elbo:.3f} = distortion {self.reconstruction:.3f} + rate {self.rate:.3f} "
            f"nats; {self.num_active} of {len(self.active)} latent dimensions active"
        )


@torch.no_grad()
def latent_report(
    vae: VAE, x: Tensor, *, context: Tensor | None = None, chunk: int = 1000, seed: int | None = 0
) -> LatentReport:
    """Measure rate, distortion and the use of each latent dimension, with one draw for each row.

    Reports of one VAE trained with several ``beta`` are the points of its rate-distortion curve.

    Args:
        vae: The VAE, with its guide.
        x: The rows, of shape ``(n, *event)``; at least two.
        context: What they are conditioned on, or None.
        chunk: Rows evaluated at once.
        seed: Seed of the draws, which then leaves the global random state as it was.

    Raises:
        DataError: If there are fewer than two rows.

    Reference:
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016 (active units).
        https://arxiv.org/abs/1509.00519
        Alemi et al., Fixing a Broken ELBO, ICML 2018 (rate and distortion). https://arxiv.org/abs/1711.00464
    """
    check_rows("latent_report", x, vae.origin)
    _two_rows(x)
    if not x.isfinite().all():
        row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
        raise DataError(f"x is not finite in row {row}: {x[row].tolist()}.")
    distortion = rate = 0.0
    centres, divergences = [], []
    with evaluating(vae), seeded(seed):
        prior = vae.prior(context if context is None else context[:1])
        for start in range(0, len(x), chunk):
            rows = x[start : start + chunk]
            given = None if context is None else context[start : start + chunk]
            posterior, prior = vae.posterior(rows, given), vae.prior(given)
            with torch.enable_grad():  # a flow's own draw is then scored without inverting
                z = posterior.rsample()
                log_q = posterior.log_prob(z).detach()
            distortion -= vae.log_likelihood(rows, z.detach(), given).double().sum().item()
            rate += (log_q - prior.log_prob(z.detach())).double().sum().item()
            centres.append(posterior_centre(posterior))
            base = getattr(posterior, "base_dist", None)
            if isinstance(prior, StandardNormal) and isinstance(base, torch.distributions.Normal):
                divergences.append(kl_by_dimension(posterior))
    variance = torch.cat(centres).var(0)
    kl = torch.cat(divergences).mean(0) if divergences else None
    return LatentReport(distortion / len(x), rate / len(x), kl, variance, variance > _THRESHOLD)


def active_units(vae: VAE, x: Tensor, *, context: Tensor | None = None) -> int:
    """Number of latent dimensions whose posterior mean varies over the rows, by more than 0.01."""
    _two_rows(x)
    with torch.no_grad():
        return int((vae.encode(x, context).var(0) > _THRESHOLD).sum())


@torch.no_grad()
def posterior_draws(vae: VAE, x: Tensor, *, context: Tensor | None = None, seed: int | None = 0) -> Tensor:
    """Draw one latent from q(z | x) for each row: a sample of the aggregate posterior, ``(n, q)``."""
    check_rows("posterior_draws", x, vae.origin)
    with evaluating(vae), seeded(seed):
        z: Tensor = vae.posterior(x, context).sample()
    return z


def aggregate_posterior(
    vae: VAE, x: Tensor, *, context: Tensor | None = None, seed: int = 0, num_bootstrap: int = 200
) -> Estimate:
    """Energy distance between the aggregate posterior and the prior, beside what two prior samples score.

    Between draws from q(z | x), one for each row, and as many from p(z). Posterior *means* would understate
    the spread: they are closer together than what the decoder sees in training.

    Args:
        vae: The VAE, with its guide.
        x: The rows, of shape ``(n, *event)``.
        context: What they are conditioned on, or None.
        seed: Seed of the draws and of the interval.
        num_bootstrap: Number of resamples behind the interval.
    """
    _two_rows(x)
    z = posterior_draws(vae, x, context=context, seed=seed)
    with torch.no_grad(), evaluating(vae), seeded(seed + 1):
        shape = torch.Size([2 * len(x)])
        drawn = vae.prior().sample(shape) if context is None else _prior_draws(vae, context)
    floor = real_floor(drawn, seed=seed) if context is None else None
    return energy_distance(z, drawn[: len(x)], seed=seed, num_bootstrap=num_bootstrap, floor=floor)


def rate_distortion(
    models: Sequence[VAE], x: Tensor, *, context: Tensor | None = None, seed: int = 0
) -> list[tuple[float, float]]:
    """Rate and distortion of each VAE on the rows, by rising rate: the points of a curve, in nats per row.

    :func:`~pyro_dgm.plotting.rate_distortion` draws them.

    Args:
        models: VAEs trained with several ``beta``.
        x: The rows, of shape ``(n, *event)``; at least two.
        context: What they are conditioned on, or None.
        seed: Seed of the draws.

    Raises:
        ArgumentTypeError: If it is not a sequence of VAEs.
    """
    if not isinstance(models, Sequence) or not all(isinstance(vae, VAE) for vae in models):
        raise ArgumentTypeError(
            "rate_distortion needs a list of VAEs, one for each point of the curve, such as those trained "
            f"with ELBO(vae, beta=beta), but got a {type(models).__name__}."
        )
    reports = [latent_report(vae, x, context=context, seed=seed) for vae in models]
    return sorted((report.rate, report.reconstruction) for report in reports)


def _prior_draws(vae: VAE, context: Tensor) -> Tensor:
    prior = vae.prior(context)
    shape = torch.Size([]) if prior.batch_shape else context.shape[:1]
    drawn: Tensor = prior.sample(shape)
    return drawn


def _two_rows(x: Tensor) -> None:
    if len(x) < 2:
        raise DataError(f"variances over rows need at least two of them, but x has {len(x)}.")
