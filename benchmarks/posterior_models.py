"""Posteriors of known difficulty: Pyro models that vectorise over particles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

__all__ = ["POSTERIORS", "Posterior"]

Sites = dict[str, Tensor]


@dataclass(frozen=True)
class Posterior:
    """A model, and a sampler of its exact posterior where there is one.

    ``light`` names the sites whose moments draws can tell; all of them if it is empty.
    """

    model: Callable[[], object]
    exact: Callable[[int], Sites] | None = None
    light: tuple[str, ...] = ()


SCHOOLS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools(*, centred: bool) -> Callable[[], None]:
    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            if centred:
                theta = pyro.sample("theta", dist.Normal(mu, tau))
            else:
                theta = mu + tau * pyro.sample("offset", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("y", dist.Normal(theta, ERRORS), obs=SCHOOLS)

    return model


def schools_draws(n: int, *, centred: bool) -> Sites:
    """By the cumulative density of log tau on a grid; given tau, everything else is normal."""
    u = torch.linspace(math.log(1e-4), math.log(1e4), 40_001).double()
    variances = ERRORS.double().square() + (2 * u).exp()[:, None]
    precision = 1 / 25 + (1 / variances).sum(-1)  # of mu, given tau
    centre = (SCHOOLS / variances).sum(-1) / precision
    log_density = (
        dist.HalfCauchy(torch.tensor(5.0).double()).log_prob(u.exp())
        + u
        - 0.5 * (variances.log() + SCHOOLS.square() / variances).sum(-1)
        - 0.5 * precision.log()
        + 0.5 * precision * centre.square()
    )
    cumulative = log_density.softmax(0).cumsum(0)
    place = torch.searchsorted(cumulative, torch.rand(n).double()).clamp(max=len(u) - 1)
    tau = (u[place] + (torch.rand(n).double() - 0.5) * (u[1] - u[0])).exp()
    mu = centre[place] + torch.randn(n).double() / precision[place].sqrt()
    weight = (1 / ERRORS.square() + 1 / tau.square()[:, None]).reciprocal()
    theta = weight * (SCHOOLS / ERRORS.square() + (mu / tau.square())[:, None])
    theta = theta + weight.sqrt() * torch.randn(n, 8).double()
    local = {"theta": theta} if centred else {"offset": (theta - mu[:, None]) / tau[:, None]}
    return {name: draws.float() for name, draws in ({"mu": mu, "tau": tau} | local).items()}


def funnel() -> None:
    """Neal's funnel in ten dimensions."""
    v = pyro.sample("v", dist.Normal(0.0, 3.0))
    scale = (0.5 * v).exp()[..., None].expand(*v.shape, 9)
    pyro.sample("x", dist.Normal(torch.zeros(()), scale).to_event(1))


def funnel_draws(n: int) -> Sites:
    v = 3 * torch.randn(n)
    return {"v": v, "x": torch.randn(n, 9) * (0.5 * v).exp()[:, None]}


def banana() -> None:
    a = pyro.sample("a", dist.Normal(0.0, 10.0))
    pyro.sample("b", dist.Normal(0.03 * (a.square() - 100), 1.0))


def banana_draws(n: int) -> Sites:
    a = 10 * torch.randn(n)
    return {"a": a, "b": 0.03 * (a.square() - 100) + torch.randn(n)}


def ring_log_density(z: Tensor) -> Tensor:
    """Two modes on a ring: the energy U1 of Rezende and Mohamed, negative, without its constant."""
    radial = ((z.norm(dim=-1) - 2) / 0.4).square() / 2
    sides = torch.stack((z[..., 0] - 2, z[..., 0] + 2))
    return torch.logsumexp(-0.5 * (sides / 0.6).square(), 0) - radial


def ring() -> None:
    # Wide normals whose density is taken back, so that draws without data exist.
    wide = dist.Normal(torch.zeros(2), 3.0).to_event(1)
    z = pyro.sample("z", wide)
    pyro.factor("energy", ring_log_density(z) - wide.log_prob(z))


def ring_draws(n: int) -> Sites:
    """By rejection from the square around it."""
    drawn: list[Tensor] = []
    while sum(map(len, drawn)) < n:
        z = 8 * torch.rand(200_000, 2) - 4
        drawn.append(z[torch.rand(len(z)).log() < ring_log_density(z) - 0.01])
    return {"z": torch.cat(drawn)[:n]}


def logistic_regression() -> Callable[[], None]:
    """Malignant or benign: scikit-learn's breast cancer data, 30 standardised features and an intercept."""
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    x = torch.as_tensor(features).float()
    x = torch.cat(((x - x.mean(0)) / x.std(0), torch.ones(len(x), 1)), 1)
    y = torch.as_tensor(labels).float()

    def model() -> None:
        weights = pyro.sample("weights", dist.Normal(torch.zeros(31), 1.0).to_event(1))
        # Of (*particles, 1, 31): the plate of the rows takes the place of the one.
        logits = (weights @ x.T).reshape(*weights.shape[:-2], len(x))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Bernoulli(logits=logits), obs=y)

    return model


COUNTS = torch.tensor([[12.0, 3, 5], [8, 8, 4], [2, 1, 0], [30, 10, 20], [0, 4, 1]])


def rates() -> None:
    """Shares of three kinds in five groups, around a common share: simplexes and a positive concentration."""
    common = pyro.sample("common", dist.Dirichlet(torch.ones(3)))
    concentration = pyro.sample("concentration", dist.LogNormal(2.0, 1.0))
    with pyro.plate("groups", 5):
        parameters = concentration[..., None] * common
        shares = pyro.sample("shares", dist.Dirichlet(parameters.clamp(min=1e-6)))
        pyro.sample("counts", dist.Multinomial(probs=shares, validate_args=False), obs=COUNTS)


POSTERIORS: dict[str, Callable[[], Posterior]] = {
    "eight schools, centred": lambda: Posterior(
        eight_schools(centred=True), partial(schools_draws, centred=True)
    ),
    "eight schools, non-centred": lambda: Posterior(
        eight_schools(centred=False), partial(schools_draws, centred=False)
    ),
    # The fourth moment of x is exp(18) times a normal's: the sd of any sample of it is arbitrary.
    "funnel (10)": lambda: Posterior(funnel, funnel_draws, light=("v",)),
    "banana (2)": lambda: Posterior(banana, banana_draws),
    "two-moded ring (2)": lambda: Posterior(ring, ring_draws),
    "logistic regression (31)": lambda: Posterior(logistic_regression()),
    "rates in groups (13)": lambda: Posterior(rates),
}
