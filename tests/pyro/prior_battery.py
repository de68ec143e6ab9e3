"""Every flow as the prior of a latent: its exact posterior, and what must find it."""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.ops.stats import effective_sample_size

from pyro_dgm.flows import CircularSpline
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import importance_draws
from tests.contract.cases import perturbed
from tests.pyro.flows_of_the_library import FLOWS

SPREAD = 0.5  # of the observations
# The largest deviations in standard errors, and the gap of a bound in nats.
MOST, MOST_OF_NUTS, LEAST_GAP, MOST_GAP = 4.5, 3.0, -0.02, 1.0


@contextmanager
def double_precision() -> Iterator[None]:
    """AutoGuides make their parameters in torch's default dtype."""
    torch.set_default_dtype(torch.double)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float)


def used_flow(name):
    """The flow as after some use, frozen; and three noisy observations of a draw of it."""
    torch.manual_seed(zlib.crc32(name.encode()))  # with one seed for all, all would be unlucky together
    flow = perturbed(FLOWS[name]().double(), 0.2).freeze()
    return flow, flow().sample() + SPREAD * torch.randn(3, *flow.event_shape).double()


def model(flow, rows):
    x = pyro.sample("x", flow())
    noise = dist.Normal(x, SPREAD).to_event(len(flow.event_shape))
    with pyro.plate("data", len(rows)):
        pyro.sample("y", noise, obs=rows)


@dataclass(frozen=True)
class Truth:
    """Moments of the entries of x, under prior and posterior, the log-evidence, and the error of that."""

    prior_mean: torch.Tensor
    mean: torch.Tensor
    sd: torch.Tensor
    log_evidence: float
    error: float = 0.0


@dataclass(frozen=True)
class Grid:
    """Points of the latent, their images, and the logarithms of the masses of prior and joint around them."""

    z: torch.Tensor
    x: torch.Tensor
    log_prior: torch.Tensor
    log_joint: torch.Tensor

    @classmethod
    def of(cls, flow, rows, z, log_cell):
        x = torch.cat([flow.transform()(part) for part in z.split(50_000)]).flatten(1)
        log_prior = flow.base().log_prob(z) + log_cell
        log_joint = log_prior.clone()
        for row in rows:
            log_joint += dist.Normal(x, SPREAD).to_event(1).log_prob(row.flatten())
        return cls(z.flatten(1), x, log_prior, log_joint)

    @property
    def log_evidence(self):
        return self.log_joint.logsumexp(0).item()


@torch.no_grad()
def truth(flow, rows):
    """By quadrature over the latent, which needs the flow's forward pass alone: no density of it.

    Of four numbers a grid over the whole prior is too coarse for a posterior. Two more, half a cell apart,
    follow the place and the axes that the last one found; the error is the half of their difference.
    """
    size = flow.origin.numel()
    whole = _over_the_prior(flow, rows, 401 if size == 2 else 33)
    if size == 2:
        grids, error = [whole], 0.0
    else:
        grids = [whole]
        for _ in range(3):
            grids = _over_the_posterior(flow, rows, grids)
        error = abs(grids[0].log_evidence - grids[1].log_evidence) / 2
    log_joint, x = torch.cat([g.log_joint for g in grids]), torch.cat([g.x for g in grids])
    weights = log_joint.softmax(0)
    mean = weights @ x
    sd = (weights @ (x - mean).square()).sqrt()
    log_evidence = log_joint.logsumexp(0).item() - math.log(len(grids))
    return Truth(whole.log_prior.softmax(0) @ whole.x, mean, sd, log_evidence, error)


def _over_the_prior(flow, rows, count):
    """The latent's whole prior, or the circle of an angle."""
    size = flow.origin.numel()
    angles = flow.circular if isinstance(flow, CircularSpline) else torch.zeros(size)
    ends = torch.where(angles > 0, math.pi, 6.5 * flow.base().stddev.flatten())
    axes = [torch.linspace(-1, 1, count).double() * end for end in ends]
    z = torch.cartesian_prod(*axes).view(-1, *flow.origin.shape)
    log_cell = sum((axis[1] - axis[0]).log().item() for axis in axes)
    # The ends of an axis count half: at those of an angle there is mass.
    edge = z.flatten(1).abs() >= ends * (1 - 1e-12)
    return Grid.of(flow, rows, z, log_cell - edge.sum(-1) * math.log(2))


def _over_the_posterior(flow, rows, grids, count=29, reach=7.0):
    """Two grids, half a cell apart, along the axes of the latent's posterior as other grids show it."""
    z, weights = (
        torch.cat([g.z for g in grids]),
        torch.cat([g.log_joint for g in grids]).softmax(0),
    )
    center = weights @ z
    step = 2 * reach / (count - 1)
    covariance = (z - center).T @ (weights[:, None] * (z - center))
    least = 1e-3 * covariance.diagonal().max()  # a coarse grid may have put all the mass on one point
    frame = torch.linalg.cholesky(covariance + least * torch.eye(len(center)))
    log_cell = len(center) * math.log(step) + frame.diagonal().log().sum()
    found = []
    for shift in (-step / 4, step / 4):
        axis = torch.linspace(-reach, reach, count).double() + shift
        points = center + torch.cartesian_prod(*[axis] * len(center)) @ frame.T
        found.append(Grid.of(flow, rows, points.view(-1, *flow.origin.shape), log_cell))
    return found


def nuts_deviations(flow, rows, exact, num_samples):
    """How far posterior mean and sd by NUTS are from the truth, in standard errors; and the least ESS."""
    mcmc = MCMC(
        NUTS(model, max_tree_depth=6), num_samples=num_samples, warmup_steps=150, disable_progbar=True
    )
    mcmc.run(flow, rows)
    x = mcmc.get_samples()["x"].flatten(1)
    squares = (x - exact.mean).square()
    ess, ess_of_squares = (
        effective_sample_size(draws[None], chain_dim=0, sample_dim=1).clamp(1, num_samples)
        for draws in (x, squares)
    )
    of_mean = (x.mean(0) - exact.mean).abs() / (x.std(0) / ess.sqrt())
    # sd^2 is the mean of the squares, and the error of a root is that of its square over twice the root.
    of_sd = (squares.mean(0).sqrt() - exact.sd).abs() / (
        squares.std(0) / ess_of_squares.sqrt() / 2 / exact.sd
    )
    return of_mean.max().item(), of_sd.max().item(), ess.min().item()


def guide_deviation(make, lr, steps, flow, rows, exact):
    """The evidence by importance sampling against the truth, in standard errors; and the gap of the bound."""
    pyro.clear_param_store()  # AutoNormal of any model keeps its parameters under the same names
    guide = make(model)
    schedule = pyro.optim.CosineAnnealingLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": lr}, "T_max": steps}
    )
    svi = SVI(model, guide, schedule, Trace_ELBO(16, vectorize_particles=True, max_plate_nesting=1))
    for _ in range(steps):
        svi.step(flow, rows)
        schedule.step()
    drawn = importance_draws(model, guide, flow, rows, num_samples=20_000, chunk=5000)
    ratio = (drawn.log_weights - exact.log_evidence).exp()
    error = math.hypot(ratio.std() / math.sqrt(len(ratio)), exact.error)
    deviation = (ratio.mean() - 1).abs() / error
    return deviation.item(), exact.log_evidence - drawn.elbo


def predictive_deviation(flow, exact, num=4000):
    """The mean of the prior by parallel ``Predictive`` against the truth, in standard errors."""
    drawn = Predictive(lambda: pyro.sample("x", flow()), num_samples=num, parallel=True)()["x"]
    x = drawn.reshape(num, -1)
    assert len(x.unique(dim=0)) == num
    return ((x.mean(0) - exact.prior_mean).abs() / (x.std(0) / math.sqrt(num))).max().item()


# Learning rate, and steps: a posterior far from where a flow starts needs more than 200 of its.
GUIDES = {"AutoNormal": (AutoNormal, 0.1, 200), "AutoFlow": (AutoFlow, 0.005, 800)}
