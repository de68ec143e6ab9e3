"""Importance-weighted bounds on a conjugate model, whose log p, posterior and gradients are known."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import IAF
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.nets import MLPDecoder, MLPEncoder
from pyro_dgm.objectives import ELBO, IWAE, Batch
from pyro_dgm.training import fit

NOISE = 0.7
ROWS = torch.tensor([[1.0], [-0.4], [2.2], [0.3], [-1.5], [0.0]]).double()
FULL = Batch(ROWS)
PART = Batch(ROWS[:2], index=torch.tensor([4, 1]), size=6)


class Encoder(nn.Module):
    """The posterior of z ~ N(0, 1), x ~ N(z, NOISE^2), shifted and widened."""

    def __init__(self, shift=0.0, widen=0.0):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift).double())
        self.widen = nn.Parameter(torch.tensor(widen).double())

    def forward(self, x):
        precision = 1 + NOISE**-2
        return x / NOISE**2 / precision + self.shift, -math.log(precision) + self.widen + 0 * x


class Identity(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1).double())

    def forward(self, z):
        return z + self.bias


def gaussian(loc):
    return dist.Normal(loc, NOISE).to_event(1)


def conjugate(shift=0.5, widen=0.4):
    return VAE(Identity(), 1, likelihood=gaussian, guide=AmortizedNormal(Encoder(shift, widen))).double()


class Traced(VAE):
    """The same model through Pyro's handlers, since its forward is its own."""

    def forward(self, x=None, context=None, **kwargs):
        return super().forward(x, context, **kwargs)


def traced(shift=0.5, widen=0.4):
    return Traced(Identity(), 1, likelihood=gaussian, guide=AmortizedNormal(Encoder(shift, widen))).double()


def log_p(x):
    return dist.Normal(0.0, math.sqrt(1 + NOISE**2)).log_prob(x).squeeze(-1)


MAKE = {"direct": conjugate, "traced": traced}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
@pytest.mark.parametrize("batch", [FULL, PART], ids=["full", "subsampled"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_with_the_exact_posterior_the_bound_is_log_p_for_any_number_of_particles(make, batch, alpha):
    vae = make(0.0, 0.0)
    for particles in (1, 7):
        objective = IWAE(vae, num_particles=particles, alpha=alpha)
        assert_close(objective.bound(batch), log_p(batch.x))
        assert_close(objective(batch), -log_p(batch.x).mean())


@pytest.mark.parametrize("batch", [FULL, PART], ids=["full", "subsampled"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_bound_rises_with_the_particles_and_stays_below_log_p(batch, alpha):
    vae, levels, draws = conjugate(0.8, 0.9), [], 4000
    repeated = Batch(batch.x.repeat(draws, 1))
    with torch.no_grad():
        for particles in (1, 2, 5, 20, 100):
            bound = IWAE(vae, num_particles=particles, alpha=alpha).bound(repeated).view(draws, -1).mean(1)
            levels.append((bound.mean().item(), bound.std().item() / math.sqrt(draws)))
    exact = log_p(batch.x).mean().item()
    for (low, e1), (high, e2) in itertools.pairwise(levels):
        assert low < high + 3 * math.hypot(e1, e2)
    assert levels[0][0] < levels[-1][0]
    assert all(value < exact + 3 * error for value, error in levels)
    assert levels[-1][0] > exact - 0.05 or alpha > 0  # Rényi's bound keeps a gap


def test_on_batches_the_estimate_of_the_bound_of_all_rows_is_unbiased():
    # the mean over all batches of two rows, each with its own draws, is the bound of the six
    vae = conjugate()
    pairs = torch.combinations(torch.arange(6))
    torch.manual_seed(0)
    batches = torch.stack(
        [IWAE(vae, num_particles=5)(Batch(ROWS[i].repeat(500, 1), size=3000)) for i in pairs]
    )
    whole = IWAE(vae, num_particles=5)(Batch(ROWS.repeat(5000, 1)))
    assert_close(batches.mean(), whole, atol=0.02, rtol=0)


@pytest.mark.parametrize("gradient", ["standard", "stl", "dreg"])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_traced_path_gives_the_values_and_gradients_of_the_direct_one(gradient, alpha):
    found = []
    for make in (conjugate, traced):
        vae = make()
        torch.manual_seed(0)
        loss = IWAE(vae, num_particles=6, gradient=gradient, alpha=alpha)(PART)
        loss.backward()
        found.append([loss.detach(), *[p.grad for p in vae.parameters()]])
    assert_close(*found)


def gradients(gradient, alpha, particles=4, rows=40000):
    vae = conjugate()
    x = ROWS[:1].repeat(rows, 1)
    shift = vae.guide.encoder.shift.detach().expand(rows, 1).clone().requires_grad_()
    bias = torch.zeros(rows, 1).double().requires_grad_()
    vae.guide.encoder.forward = lambda x: (
        x / NOISE**2 / (1 + NOISE**-2) + shift,
        -math.log(1 + NOISE**-2) + 0.4 + 0 * x,
    )
    vae.decoder.forward = lambda z: z + bias
    IWAE(vae, num_particles=particles, gradient=gradient, alpha=alpha).bound(x).sum().backward()
    return shift.grad.squeeze(), bias.grad.squeeze()


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_doubly_reparameterised_gradients_have_the_mean_of_the_standard_ones(alpha):
    standard, dreg = gradients("standard", alpha), gradients("dreg", alpha)
    for a, b in zip(standard, dreg, strict=True):
        error = math.sqrt((a.var() + b.var()).item() / len(a))
        assert abs((a.mean() - b.mean()).item()) < 4 * error
    assert dreg[0].abs().mean() > 0


def test_the_doubly_reparameterised_guide_gradient_keeps_its_signal_as_particles_grow():
    def signal(kind, particles):
        g = gradients(kind, 0.0, particles, rows=4000)[0]
        return (g.mean().abs() / g.std()).item()

    assert signal("dreg", 64) > 3 * signal("standard", 64)


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_at_the_exact_posterior_the_guides_gradient_is_zero_without_noise(gradient, make):
    vae = make(0.0, 0.0)
    IWAE(vae, num_particles=5, gradient=gradient)(ROWS).backward()
    for p in vae.guide.parameters():
        assert_close(p.grad, torch.zeros_like(p), atol=1e-10, rtol=0)


def test_one_particle_is_the_elbo():
    vae = conjugate()
    torch.manual_seed(0)
    one = IWAE(vae, num_particles=1, gradient="standard")
    loss = one(PART)
    torch.manual_seed(0)
    assert_close(loss, ELBO(vae)(PART))
    assert_close(one.terms["negative_elbo"], loss)


def test_a_flow_posterior_trains_with_every_estimate():
    guide = AmortizedFlow(MLPEncoder((4,), 2, extra_dim=3), IAF(2, 3, num_layers=2, hidden_dims=(8,)))
    vae, x = VAE(MLPDecoder(2, (4,)), 2, guide=guide), torch.ones(5, 4)
    losses = []
    for gradient in ("standard", "stl", "dreg"):
        vae.zero_grad()
        torch.manual_seed(0)
        loss = IWAE(vae, num_particles=3, gradient=gradient)(x)
        loss.backward()
        losses.append(loss.detach())
        assert all(p.grad is not None and p.grad.isfinite().all() for p in guide.parameters())
    assert_close(losses[0], losses[1])
    assert_close(losses[0], losses[2])


class Groups(pyro.nn.PyroModule):
    """Three normal measurements of each latent, in a plate inside that of the rows."""

    def forward(self, x, *, size=None, index=None):
        rows = pyro.plate("data", size or len(x), subsample=torch.arange(len(x)) if index is None else index)
        with rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), 1.0))
            with pyro.plate("measurements", 3, dim=-2):
                pyro.sample("x", dist.Normal(z, NOISE), obs=x.T)


class GroupsGuide(pyro.nn.PyroModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.2).double())

    def forward(self, x, *, size=None, index=None):
        precision = 1 + 3 / NOISE**2
        rows = pyro.plate("data", size or len(x), subsample=torch.arange(len(x)) if index is None else index)
        with rows:
            loc = x.sum(-1) / NOISE**2 / precision + self.weight - 0.2
            pyro.sample("z", dist.Normal(loc, precision**-0.5))


@pytest.mark.parametrize("gradient", ["standard", "stl", "dreg"])
def test_plates_inside_that_of_the_rows_are_summed_row_by_row(gradient):
    x = torch.randn(4, 3).double()
    objective = IWAE(Groups(), GroupsGuide(), num_particles=3, max_plate_nesting=2, gradient=gradient)
    exact = dist.MultivariateNormal(torch.zeros(3).double(), 1 + NOISE**2 * torch.eye(3).double())
    batch = Batch(x, size=9)
    assert_close(objective.bound(batch), exact.log_prob(x))
    objective(batch).backward()
    assert objective.guide.weight.grad.isfinite()


class Shared(pyro.nn.PyroModule):
    def forward(self, x):
        mean = pyro.sample("mean", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x.squeeze(-1))


class SharedGuide(pyro.nn.PyroModule):
    def forward(self, x):
        pyro.sample("mean", dist.Normal(torch.zeros(()).double(), 1.0))


def test_a_latent_that_the_rows_share_is_refused():
    with pytest.raises(ShapeError, match="'mean'"):
        IWAE(Shared(), SharedGuide())(ROWS)


def test_training_by_dreg_reaches_the_exact_posterior():
    vae = conjugate(1.0, 1.0)
    vae.decoder.requires_grad_(False)
    fit(IWAE(vae, num_particles=8), ROWS, steps=300, lr=0.03, schedule="cosine", progress=False)
    encoder = vae.guide.encoder
    assert abs(encoder.shift.item()) < 0.02
    assert abs(encoder.widen.item()) < 0.02


@pytest.mark.parametrize(
    "bad", [{"num_particles": 0}, {"alpha": 1.0}, {"alpha": -0.5}, {"gradient": "reinforce"}]
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        IWAE(conjugate(), **bad)
