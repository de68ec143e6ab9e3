"""Three tasks of simulation-based inference as Pyro models, with draws of their exact posteriors.

The definitions are those of Lueckmann, Boelts, Greenberg, Gonçalves and Macke, Benchmarking Simulation-Based
Inference, AISTATS 2021. https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True)
class Task:
    """A simulator of ``theta`` and ``x``, its prior, and exact draws of its posterior.

    Attributes:
        simulator: A Pyro model with the latent ``theta``, a vector, and the data ``x``.
        prior: The distribution of ``theta``.
        exact: Maps data and a number ``n`` to posterior draws ``(n, D)``.
    """

    simulator: Callable[[], object]
    prior: Callable[[], torch.distributions.Distribution]
    exact: Callable[[Tensor, int], Tensor]


def uniform(dim: int, bound: float) -> dist.TorchDistribution:
    return dist.Uniform(-bound * torch.ones(dim), bound * torch.ones(dim)).to_event(1)


def normal() -> dist.TorchDistribution:
    return dist.Normal(torch.zeros(10), 0.1**0.5).to_event(1)


def gaussian_linear() -> None:
    theta = pyro.sample("theta", normal())
    pyro.sample("x", dist.Normal(theta, 0.1**0.5).to_event(1))


def gaussian_linear_draws(x: Tensor, n: int) -> Tensor:
    """The conjugate posterior N(x / 2, 0.05 I)."""
    return x / 2 + 0.05**0.5 * torch.randn(n, 10)


def two_moons() -> None:
    """A crescent around a point that folds the plane: the posterior is two crescents."""
    theta = pyro.sample("theta", uniform(2, 1.0))
    angle = pyro.sample("angle", dist.Uniform(-math.pi / 2, math.pi / 2))
    radius = pyro.sample("radius", dist.Normal(0.1, 0.01))
    fold = torch.stack((-theta.sum(-1).abs(), theta[..., 1] - theta[..., 0]), -1) / 2**0.5
    pyro.deterministic("x", crescent(angle, radius) + fold, event_dim=1)


def crescent(angle: Tensor, radius: Tensor) -> Tensor:
    return torch.stack((radius * angle.cos() + 0.25, radius * angle.sin()), -1)


def two_moons_draws(x: Tensor, n: int) -> Tensor:
    """Noise that is drawn leaves two thetas, each other's mirror images; those outside of the prior go."""
    drawn: list[Tensor] = []
    while sum(map(len, drawn)) < n:
        angle, radius = math.pi * (torch.rand(2 * n) - 0.5), 0.1 + 0.01 * torch.randn(2 * n)
        rest = crescent(angle, radius) - x  # (|theta_1 + theta_2|, theta_1 - theta_2) / sqrt(2)
        rest = rest[rest[:, 0] >= 0]
        side = rest[:, 0] * (2 * torch.randint(2, (len(rest),)) - 1)
        theta = torch.stack((side + rest[:, 1], side - rest[:, 1]), -1) / 2**0.5
        drawn.append(theta[(theta.abs() < 1).all(-1)])
    return torch.cat(drawn)[:n]


def slcp() -> None:
    """Simple likelihood, complex posterior: four points of a normal of unknown mean and covariance."""
    theta = pyro.sample("theta", uniform(5, 3.0))
    loc, scale_tril = moments(theta)
    with pyro.plate("points", 4):
        pyro.sample("x", dist.MultivariateNormal(loc, scale_tril=scale_tril))


def moments(theta: Tensor) -> tuple[Tensor, Tensor]:
    one, two = theta[..., 2].square() + 1e-6, theta[..., 3].square() + 1e-6
    rho = theta[..., 4].tanh()
    rows = torch.stack((one, torch.zeros_like(one), rho * two, two * (1 - rho.square()).sqrt()), -1)
    return theta[..., :2], rows.reshape(*rows.shape[:-1], 2, 2)


def slcp_log_density(theta: Tensor, x: Tensor) -> Tensor:
    """Log-likelihood of points ``x`` inside the prior's box, and minus infinity outside."""
    loc, tril = moments(theta)
    first = (x[:, 0] - loc[:, :1]) / tril[:, :1, 0]
    second = (x[:, 1] - loc[:, 1:] - tril[:, 1:, 0] * first) / tril[:, 1:, 1]
    log_prob = -0.5 * (first.square() + second.square()).sum(-1)
    log_prob = log_prob - len(x) * (tril[:, 0, 0].log() + tril[:, 1, 1].log())
    return log_prob.masked_fill((theta.abs() >= 3).any(-1), -math.inf)


def slcp_draws(x: Tensor, n: int, steps: int = 3000, trials: int = 2_000_000) -> Tensor:
    """The last states of ``n`` long chains of differential evolution, begun at resampled draws of the prior.

    Signs of the scales' roots are free: chains run where they are positive, and their draws get random ones.

    Reference:
        ter Braak, A Markov Chain Monte Carlo Version of the Genetic Algorithm Differential Evolution,
        Statistics and Computing 16, 2006.
    """
    x = x.reshape(4, 2).double()
    start = 6 * torch.rand(trials, 5).double() - 3
    start[:, 2:4] = start[:, 2:4].abs()
    chosen = torch.multinomial(slcp_log_density(start, x).softmax(0), n, replacement=True)
    chains = list(start[chosen].split(n // 2)[:2])
    scores = [slcp_log_density(theta, x) for theta in chains]
    for step in range(2 * steps):
        own, other = chains[step % 2], chains[1 - step % 2]
        size = len(own)
        first, second = torch.randint(len(other), (2, size))
        stretch = 1.0 if step % 10 < 2 else 2.38 / 10**0.5
        jump = stretch * torch.rand(size, 1) * (other[first] - other[second]) + 1e-3 * torch.randn(size, 5)
        moved = own + jump.to(own)
        moved[:, 2:4] = moved[:, 2:4].abs()  # reflected: the density is even there
        score = slcp_log_density(moved, x)
        taken = torch.rand(size).log() < score - scores[step % 2]
        chains[step % 2] = torch.where(taken[:, None], moved, own)
        scores[step % 2] = torch.where(taken, score, scores[step % 2])
    drawn = torch.cat(chains)[torch.randperm(2 * (n // 2))]
    drawn[:, 2:4] *= 2 * torch.randint(2, (len(drawn), 2)) - 1
    return drawn.float()


TASKS = {
    "two moons": Task(two_moons, lambda: uniform(2, 1.0), two_moons_draws),
    "SLCP": Task(slcp, lambda: uniform(5, 3.0), slcp_draws),
    "Gaussian linear": Task(gaussian_linear, normal, gaussian_linear_draws),
}
