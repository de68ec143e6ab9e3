"""What can be said of a model in the plane when the truth is known."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.data import Target2D
from pyro_dgm.metrics import energy_distance, modes_hit, sliced_wasserstein
from pyro_dgm.models import VAE, NormalizingFlow

NUM = 4000


def divergence(target: Target2D, model: Any, num: int = 4000) -> tuple[float, float] | None:
    """KL(truth || model) and its standard error in nats, or None of a model without a density.

    A paired difference at fresh points. A VAE's density is its marginal: an integral over the latent, by the
    trapezoidal rule on a fine grid.
    """
    x = target.sample(num, seed=11)
    if isinstance(model, NormalizingFlow):
        with torch.no_grad():
            log_q = model.log_prob(x)
    elif isinstance(model, VAE):
        log_q = marginal(model, x[:500])
        x = x[:500]
    else:
        return None
    gap = (target.log_prob(x) - log_q).double()
    return gap.mean().item(), gap.std().item() / math.sqrt(len(gap))


@torch.no_grad()
def marginal(vae: VAE, x: Tensor) -> Tensor:
    """The log-density of a VAE with one or two latents and independent normal entries, by quadrature."""
    q = vae.latent_dim
    axis = torch.linspace(-5, 5, {1: 40_001, 2: 801}[q])
    cell = q * math.log((axis[1] - axis[0]).item())
    z = torch.cartesian_prod(*[axis] * q).reshape(-1, q)
    weight = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) + cell
    parts = vae.decode(z).base_dist
    loc, scale = parts.loc.expand(len(z), 2), parts.scale.expand(len(z), 2)
    found = []
    for rows in x.split(25):
        distance = ((rows[:, None] - loc) / scale).square().sum(-1) / 2
        found.append(torch.logsumexp(weight - distance - scale.log().sum(-1), 1) - math.log(2 * math.pi))
    return torch.cat(found)


def centres_of(target: Target2D) -> Tensor | None:
    """Points that stand for the modes: centres of the eight Gaussians, points on the two arcs."""
    if target.name.startswith("8"):
        angle = torch.arange(8) * math.pi / 4
        return 4 / 1.414 * torch.stack((angle.cos(), angle.sin()), 1).reshape(8, 1, 2)
    if target.name.startswith("moons"):
        t = torch.linspace(0, math.pi, 400)
        upper = torch.stack((t.cos(), t.sin()), 1)
        return torch.stack((upper, torch.stack((1 - t.cos(), 0.5 - t.sin()), 1)))
    return None


def off_support(target: Target2D, samples: Tensor) -> float:
    """Share of samples outside the region of highest density that holds 99.9 % of the truth."""
    own = target.log_prob(target.sample(50_000, seed=12))
    level = own.quantile(0.001)
    return (target.log_prob(samples) < level).double().mean().item()


def filaments(target: Target2D, samples: Tensor) -> float | None:
    """Share of samples off the support *between* modes: not much farther from the second than the first."""
    centres = centres_of(target)
    if centres is None:
        return None
    own = target.log_prob(target.sample(50_000, seed=12))
    outside = target.log_prob(samples) < own.quantile(0.001)
    near = torch.stack([torch.cdist(samples, mode).min(1).values for mode in centres], 1)
    first, second = near.topk(2, largest=False).values.T
    return (outside & (second < 3 * first)).double().mean().item()


def condition(model: Any, num: int = 500) -> tuple[float, float] | None:
    """Median and 99 % quantile of the ratio of singular values of the generator's Jacobian at latents."""
    q = model.capabilities.latent_dim
    if q < 2:
        return None
    z = torch.randn(num, q, generator=torch.Generator().manual_seed(13))

    def generate(one: Tensor) -> Tensor:
        if isinstance(model, NormalizingFlow):
            out: Tensor = model.flow.transform()(one[None])[0]
        elif isinstance(model, VAE):
            out = model.decode(one[None]).mean[0]
        else:
            out = model.generate(one[None])[0]
        return out

    jacobian = torch.stack([torch.autograd.functional.jacobian(generate, one) for one in z])
    values = torch.linalg.svdvals(jacobian)[:, :2]
    ratio = values[:, 0] / values[:, 1].clamp_min(1e-12)
    return ratio.median().item(), ratio.quantile(0.99).item()


def sample_figures(target: Target2D, samples: Tensor) -> dict[str, float | None]:
    """Distances of samples from fresh rows of the truth, and where they lie."""
    real = target.sample(NUM, seed=14)
    found: dict[str, float | None] = {
        "energy": energy_distance(samples, real, num_bootstrap=2).value,
        "sliced W1": sliced_wasserstein(samples, real, seed=0).value,
        "off support": off_support(target, samples),
        "filaments": filaments(target, samples),
        "modes": None,
    }
    if target.name.startswith("8"):
        centres = centres_of(target)
        assert centres is not None
        found["modes"] = modes_hit(samples, centres.reshape(8, 2), radius=3 * 0.5 / 1.414).hit
    return found
