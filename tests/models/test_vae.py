"""The VAE against a model whose posterior and marginal likelihood are known in closed form."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE

WEIGHTS, NOISE = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.0, 0.0]]).double(), 0.7
ROWS = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0], [-1.0, 2.0, 0.0]]).double()


class LinearDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(WEIGHTS.clone())

    def forward(self, z):
        return z @ self.weight.T


class ExactEncoder(nn.Module):
    """The posterior of the linear-Gaussian model; diagonal, since the columns of WEIGHTS are orthogonal."""

    def forward(self, x):
        precision = 1 + WEIGHTS.square().sum(0) / NOISE**2
        loc = (x @ WEIGHTS) / NOISE**2 / precision
        return loc, -precision.log().expand_as(loc)


def gaussian(loc):
    return dist.Normal(loc, NOISE).to_event(1)


def linear_vae(encoder=None):
    guide = AmortizedNormal(ExactEncoder() if encoder is None else encoder)
    return VAE(LinearDecoder(), 2, likelihood=gaussian, guide=guide).double()


def exact_log_prob(x):
    covariance = WEIGHTS @ WEIGHTS.T + NOISE**2 * torch.eye(3).double()
    return dist.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x)


def test_with_the_exact_posterior_every_single_draw_gives_log_p_of_x():
    # Zero variance: the importance weight is constant only if scale, signs and constants are all right.
    vae = linear_vae()
    for particles in (1, 7):
        assert_close(vae.log_prob_bound(ROWS, particles), exact_log_prob(ROWS))


def test_the_svi_loss_is_that_bound():
    vae = linear_vae()
    assert_close(Trace_ELBO().loss(vae, vae.guide, ROWS), -exact_log_prob(ROWS).sum().item())


def test_the_guide_draws_with_the_standard_deviation_that_it_scores():
    loc, logvar = torch.zeros(1, 2).double(), torch.tensor([[-2.0, 1.0]]).double()
    guide = AmortizedNormal(lambda_module(lambda x: (loc, logvar)))
    z = torch.stack([guide(torch.zeros(1, 3)) for _ in range(2000)])
    spread = (z.std(0) / (logvar / 2).exp()).squeeze(0)
    assert_close(spread, torch.ones(2).double(), atol=4 / math.sqrt(2 * 2000), rtol=0)


def test_a_mismatched_guide_costs_its_divergence_from_the_posterior():
    class Shifted(ExactEncoder):
        def forward(self, x):
            loc, logvar = super().forward(x)
            return loc + 0.5, logvar

    vae = linear_vae(Shifted())
    precision = 1 + WEIGHTS.square().sum(0) / NOISE**2
    gap = 0.5 * 0.25 * precision.sum()  # KL of two normals of equal variance
    bound = torch.stack([vae.log_prob_bound(ROWS) for _ in range(1000)])
    error = bound.std(0) / math.sqrt(1000)
    assert ((bound.mean(0) - (exact_log_prob(ROWS) - gap)).abs() < 4 * error).all()


def test_more_particles_tighten_the_bound_and_keep_it_below_log_p():
    class Wide(ExactEncoder):
        def forward(self, x):
            loc, logvar = super().forward(x)
            return loc, logvar + 1.0

    vae, levels = linear_vae(Wide()), []
    for particles in (1, 5, 25):
        draws = torch.stack([vae.log_prob_bound(ROWS, particles).mean() for _ in range(400)])
        levels.append((draws.mean().item(), draws.std().item() / 20))
    exact = exact_log_prob(ROWS).mean().item()
    assert levels[0][0] < levels[1][0] < levels[2][0] < exact + 3 * levels[2][1]


def test_training_reaches_the_exact_likelihood_of_the_linear_model():
    encoder = LinearEncoder().double()
    vae = linear_vae(encoder)
    vae.decoder.requires_grad_(False)
    vae.decoder.eval()
    svi = SVI(vae, vae.guide, pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.995}), Trace_ELBO())
    rows = torch.randn(200, 3).double()
    for _ in range(300):
        svi.step(rows)
    bound = torch.stack([vae.log_prob_bound(rows) for _ in range(50)]).mean().item()
    assert abs(bound - exact_log_prob(rows).mean().item()) < 0.01


def test_reconstruction_is_the_decoded_posterior_mean():
    vae = linear_vae()
    assert_close(vae.reconstruct(ROWS), vae.encode(ROWS).detach() @ WEIGHTS.T)


def test_there_is_no_exact_log_prob_and_the_error_says_what_there_is():
    with pytest.raises(NotImplementedError, match="log_prob_bound"):
        linear_vae().log_prob(ROWS)


def test_without_a_guide_neither_bound_nor_encoding_exists():
    vae = VAE(LinearDecoder(), 2, likelihood=gaussian).double()
    assert not vae.capabilities.has_bound
    assert not vae.capabilities.has_encode
    for call in (vae.log_prob_bound, vae.encode):
        with pytest.raises(NotImplementedError, match="guide"):
            call(ROWS)


def test_rows_of_another_shape_are_refused_by_name():
    with pytest.raises(ShapeError, match=r"\(3,\).*\(5,\)"):
        linear_vae()(torch.zeros(2, 5).double())


def test_an_encoder_that_returns_one_tensor_is_refused():
    guide = AmortizedNormal(nn.Linear(3, 2))
    with pytest.raises(ShapeError, match="location and a log-variance"):
        guide(torch.zeros(4, 3))


def test_model_and_guide_meet_in_the_plate_and_scale_alike():
    vae = linear_vae()
    half = Trace_ELBO().loss(vae, vae.guide, ROWS[:1], size=3, index=torch.tensor([0]))
    assert_close(half, -3 * exact_log_prob(ROWS[:1]).item())


class LinearEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.loc, self.logvar = nn.Linear(3, 2), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        loc = self.loc(x)
        return loc, self.logvar.expand_as(loc)


def lambda_module(function):
    class Wrapped(nn.Module):
        def forward(self, x):
            return function(x)

    return Wrapped()
