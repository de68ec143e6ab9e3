"""AutoFlow's default trains from any seed on, at the rates that people try, and never runs away."""

import math
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

from benchmarks.posterior_models import ERRORS, POSTERIORS, SCHOOLS
from pyro_dgm.guides import AutoFlow
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.objectives import ELBO
from pyro_dgm.plates import data_plate
from pyro_dgm.training import fit

CENTRED = "eight schools, centred"


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def losses(model, steps, *, optimizer, stick=None):
    """The losses of plain SVI, whose gradients nobody clips but perhaps the optimiser."""
    guide = AutoFlow(model, stick_the_landing=stick)
    svi = SVI(model, guide, optimizer, Trace_ELBO(16, vectorize_particles=True, max_plate_nesting=2))
    found = []
    for _ in range(steps):
        found.append(svi.step())
        assert math.isfinite(found[-1]), found
    return found


def never_ran_away(found):
    """No loss is far above the first; but a single draw in a funnel's neck may cost a thousand nats."""
    return max(found) < 1000 * abs(found[0])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("lr", [1e-3, 1e-2])
def test_centred_schools_train_at_every_rate(lr, seed):
    pyro.set_rng_seed(seed)
    found = losses(POSTERIORS[CENTRED]().model, 25, optimizer=pyro.optim.Adam({"lr": lr}))
    assert never_ran_away(found), found
    assert sum(found[-5:]) / 5 < found[0] - 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("lr", [1e-3, 1e-2])
@pytest.mark.parametrize("name", POSTERIORS)
def test_known_posteriors_train_at_every_rate(name, lr, seed):
    pyro.set_rng_seed(seed)
    assert never_ran_away(losses(POSTERIORS[name]().model, 60, optimizer=pyro.optim.Adam({"lr": lr})))


@pytest.mark.parametrize("stick", [False, True])
def test_clipped_steps_in_double_precision_do_not_run_away(stick):
    def schools():
        mu = pyro.sample("mu", dist.Normal(torch.zeros((), dtype=torch.double), 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(torch.full((), 5.0, dtype=torch.double)))
        with pyro.plate("schools", 8):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(theta, 12.0), obs=torch.linspace(-3, 28, 8).double())

    pyro.set_rng_seed(0)
    optimizer = pyro.optim.ClippedAdam({"lr": 5e-3})
    assert never_ran_away(losses(schools, 30, optimizer=optimizer, stick=stick))


SUPPORTS = {
    "real": lambda: dist.Normal(0.0, 10.0),
    "positive": lambda: dist.HalfCauchy(5.0),
    "greater_than": lambda: dist.Pareto(1.0, 1.0),
    "unit_interval": lambda: dist.Beta(0.3, 0.3),
    "interval": lambda: dist.Uniform(-3.0, 50.0),
    "simplex": lambda: dist.Dirichlet(torch.full((4,), 0.3)),
    "ordered": lambda: dist.TransformedDistribution(
        dist.Normal(torch.zeros(3), 1.0).to_event(1), dist.transforms.OrderedTransform()
    ),
    "lower_cholesky": lambda: dist.LKJCholesky(3, 0.5),
    "sphere_free_vector": lambda: dist.StudentT(2.0, torch.zeros(3), 10.0).to_event(1),
}


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_sites_of_every_support_train_together_with_masked_rows(dtype):
    def model():
        drawn = [pyro.sample(name, prior()) for name, prior in SUPPORTS.items()]
        with pyro.plate("rows", 6), pyro.poutine.mask(mask=torch.arange(6) % 2 == 0):
            pyro.sample("x", dist.Normal(drawn[0][..., None], drawn[1][..., None]), obs=torch.arange(6.0))

    pyro.set_rng_seed(0)
    with default_dtype(dtype):
        found = losses(model, 15, optimizer=pyro.optim.Adam({"lr": 1e-2}))
    assert never_ran_away(found), found


class Schools(NamedPyroModule):
    """The centred model as a module of rows, each an effect and its standard error."""

    def forward(self, x, *, size=None, index=None):
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(x.new_full((), 5.0)))
        with data_plate(len(x), size, index):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            return pyro.sample(
                "x", dist.Normal(torch.stack((theta,), -1), x[:, 1:]).to_event(1), obs=x[:, :1]
            )


@pytest.mark.parametrize("lr", [1e-3, 1e-2])
def test_fit_does_not_run_away_without_clipping(lr):
    model = Schools()
    guide = AutoFlow(model)
    rows = torch.stack((SCHOOLS, ERRORS), -1)
    history = fit(
        ELBO(model, guide, num_particles=8), rows, steps=40, batch_size=8, lr=lr, clip=None, progress=False
    )
    found = history.losses.tolist()
    assert all(map(math.isfinite, found)), found
    assert never_ran_away(found), found
