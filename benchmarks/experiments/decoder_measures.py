"""What experiment A measures beside ``report.compare``."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor

from benchmarks.experiments.decoder_models import Decoded
from pyro_dgm import data, metrics
from pyro_dgm.diagnostics import aggregate_posterior
from pyro_dgm.models import VAE, ImplicitGenerator

SIGMA = 0.1


class Noisy:
    """A generator's images with normal noise of a stated size: what gives any of them a density."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def prior(self) -> TorchDistribution:
        """Return p(z)."""
        return self.model.prior()  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> TorchDistribution:
        """Return the normal around the image of z."""
        return Normal(self.model.generate(z), SIGMA).to_event(3)  # type: ignore[no-any-return]


def annealed(model: Any, x: Tensor, temperatures: int) -> str:
    """Log-density of images under noise of 0.1, by annealed importance sampling: a lower bound."""
    found = metrics.annealed_log_likelihood(
        Noisy(model), x, num_chains=4, num_temperatures=temperatures, leapfrog_steps=4, seed=0
    )
    return f"{found.mean:.0f} ± {found.standard_error:.0f}"


def batch_w1(samples: Tensor, test: Tensor) -> float:
    """Exact W1 of batches of 64, mean over as many pairs as there are rows for."""
    num = min(len(samples), len(test)) // 64
    found = [
        metrics.batch_wasserstein(samples[64 * i :][:64], test[64 * i :][:64], batch=64).value
        for i in range(min(num, 12))
    ]
    return sum(found) / len(found)


@torch.no_grad()
def roughness(model: Any, q: int) -> float:
    """How unevenly images change along straight lines between latents: sd over mean of 20 steps' lengths."""
    ends = torch.randn(2, 50, 1, q, generator=torch.Generator().manual_seed(5))
    t = torch.linspace(0, 1, 21)[:, None]
    z = ends[0] + t * (ends[1] - ends[0])
    x = (model.decode(z).mean if isinstance(model, VAE) else model.generate(z)).flatten(2)
    lengths = x.diff(dim=1).norm(dim=-1)
    return (lengths.std(1) / lengths.mean(1).clamp_min(1e-9)).mean().item()


def likelihoods(model: Any, binary: data.ImageData) -> dict[tuple[str, str], str]:
    """The VAE's bounds on binary test images."""
    if isinstance(model, Exception):
        return {}
    x = binary.test[:2000]
    with torch.no_grad():
        elbo = torch.cat([model.log_prob_bound(part) for part in x.split(500)])
    estimate = metrics.importance_log_likelihood(model, x, num_samples=100, seed=0)
    return {("VAE", "-ELBO"): f"{-elbo.mean():.2f}", ("VAE", "-IWAE, K = 100"): f"{-estimate.mean:.2f}"}


@torch.no_grad()
def latents_from_prior(model: Any, binary: data.ImageData) -> str:
    """Energy distance of the latents of 2000 test images to as many of the prior; empty where none are."""
    x = binary.test[:2000]
    if isinstance(model, VAE):
        found = aggregate_posterior(model, x, seed=0)
    elif isinstance(model, ImplicitGenerator) and isinstance(model.generator, Decoded):
        z = model.generator.encode(x)
        prior = torch.randn(len(z), z.shape[-1], generator=torch.Generator().manual_seed(0))
        found = metrics.energy_distance(z, prior, seed=0)
    else:
        return ""
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def as_means(model: Any) -> Any:
    """A VAE as the generator of its means, so that all samples are grey images."""
    return ImplicitGenerator.from_vae(model).eval() if isinstance(model, VAE) else model
