"""What is said of a VAE's latents, on linear models where it is known."""

import math

import pytest
import torch
from pyro.distributions import MultivariateNormal
from torch import nn
from torch.testing import assert_close

from pyro_dgm import plotting
from pyro_dgm.diagnostics import (
    active_units,
    aggregate_posterior,
    latent_report,
    posterior_draws,
    posterior_plane,
    rate_distortion,
)
from pyro_dgm.distributions.likelihoods import Gaussian
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import CollapseWarning, LatentWatch, fit

WEIGHTS, NOISE = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]]).double(), 0.7


class Decoder(nn.Module):
    def forward(self, z):
        return z @ WEIGHTS.T


class Encoder(nn.Module):
    """The posterior: of the first latent it depends on x, of the second it is the prior."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def forward(self, x):
        precision = 1 + WEIGHTS.square().sum(0) / NOISE**2
        loc = x @ WEIGHTS / NOISE**2 / precision
        return loc + self.shift, -precision.log().expand_as(loc)


def linear(shift=0.0):
    guide = AmortizedNormal(Encoder(shift))
    return VAE(Decoder(), 2, likelihood=Gaussian(scale=NOISE), guide=guide).double()


def rows(n=500):
    generator = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(n, k, generator=generator).double() for k in (2, 3))
    return z @ WEIGHTS.T + NOISE * noise


def marginal():
    return MultivariateNormal(torch.zeros(3).double(), WEIGHTS @ WEIGHTS.T + NOISE**2 * torch.eye(3).double())


def test_rate_and_distortion_add_up_to_the_exact_negative_log_likelihood():
    report, x = latent_report(linear(), rows(), chunk=130), rows()
    assert report.negative_elbo == pytest.approx(-marginal().log_prob(x).mean().item())
    assert report.rate == pytest.approx(report.kl.sum().item(), abs=0.2)
    assert "1 of 2 latent dimensions active" in str(report)


def test_a_dimension_that_the_decoder_ignores_is_inactive_and_costs_nothing():
    report = latent_report(linear(), rows())
    assert report.active.tolist() == [True, False]
    assert_close(report.kl[1], torch.zeros(()).double())
    assert report.kl[0] > 0.5
    assert active_units(linear(), rows()) == 1


def test_the_aggregate_posterior_of_the_true_model_is_the_prior_and_of_a_shifted_one_is_not():
    exact = aggregate_posterior(linear(), rows(), num_bootstrap=50)
    assert exact.value < exact.floor.high + 2 * exact.floor.standard_error
    shifted = aggregate_posterior(linear(0.5), rows(), num_bootstrap=50)
    assert shifted.low > shifted.floor.high


def test_draws_of_the_posterior_spread_as_the_prior_where_means_do_not():
    z, means = posterior_draws(linear(), rows(4000)), linear().encode(rows(4000))
    error = 4 / math.sqrt(2 * 4000)
    assert_close(z.var(0), torch.ones(2).double(), atol=2 * error, rtol=0)
    assert means.var(0)[1] < 1e-9


def test_a_rate_distortion_curve_is_ordered_by_its_rate():
    curve = rate_distortion([linear(0.5), linear()], rows())
    assert curve[0][0] < curve[1][0]


def test_the_plane_gives_log_p_of_x_and_no_divergence_for_the_exact_posterior():
    x = rows()[3]
    plane = posterior_plane(linear(), x, points=200)
    assert plane.log_prob == pytest.approx(marginal().log_prob(x).item(), abs=1e-6)
    assert plane.divergence == pytest.approx(0.0, abs=1e-6)
    assert plane.guide_mass == pytest.approx(1.0, abs=1e-5)
    step = plane.axis[1] - plane.axis[0]
    assert ((plane.posterior_mode - linear().encode(x[None])[0]).abs() <= step).all()


def test_the_plane_finds_the_divergence_of_a_shifted_guide_in_closed_form():
    x = rows()[3]
    plane = posterior_plane(linear(0.2), x, points=200)
    precision = 1 + WEIGHTS.square().sum(0) / NOISE**2
    assert plane.divergence == pytest.approx((0.5 * 0.2**2 * precision.sum()).item(), rel=1e-4)


class Given(nn.Module):
    """The linear decoder or encoder of rows shifted by the context."""

    def __init__(self, network, sign):
        super().__init__()
        self.network, self.sign = network, sign

    def forward(self, x, context):
        return self.network(x) + context if self.sign > 0 else self.network(x - context)


def test_a_conditional_vae_has_the_plane_and_the_curve_of_the_shifted_rows():
    guide = AmortizedNormal(Given(Encoder(0.2), -1), takes_context=True)
    likelihood = Gaussian(scale=NOISE)
    vae = VAE(Given(Decoder(), 1), 2, likelihood=likelihood, guide=guide, takes_context=True).double()
    context = torch.randn(500, 3, generator=torch.Generator().manual_seed(1)).double()
    plain, shifted = rows()[3], rows()[3] + context[3]
    expected, found = posterior_plane(linear(0.2), plain), posterior_plane(vae, shifted, context=context[3])
    assert_close((found.log_prob, found.divergence), (expected.log_prob, expected.divergence))
    curve = rate_distortion([vae], rows() + context, context=context)
    assert_close(torch.tensor(curve), torch.tensor(rate_distortion([linear(0.2)], rows())))


def test_the_picture_of_the_curve_has_its_points_and_the_line_of_the_best_bound():
    ax = plotting.rate_distortion([(1.0, 5.0), (2.0, 3.5), (4.0, 3.0)], labels=["4", "1", "0.1"])
    curve, line = ax.lines
    assert curve.get_xydata().tolist() == [[1.0, 5.0], [2.0, 3.5], [4.0, 3.0]]
    assert_close(line.get_xydata().sum(1).tolist(), [5.5, 5.5])
    assert [text.get_text() for text in ax.texts] == ["4", "1", "0.1"]


def test_what_is_no_list_of_vaes_with_guides_is_refused():
    with pytest.raises(ArgumentTypeError, match="list of VAEs"):
        rate_distortion(linear(), rows())
    unguided = VAE(Decoder(), 2, likelihood=Gaussian()).double()
    for use in (
        lambda: rate_distortion([unguided], rows()),
        lambda: posterior_plane(unguided, rows()[0]),
        lambda: posterior_draws(unguided, rows()),
    ):
        with pytest.raises(NotImplementedError, match="no guide"):
            use()
    with pytest.raises(DataError, match="row 0"):
        posterior_plane(linear(), torch.tensor([1.0, torch.nan, 0.0]).double())


def test_its_picture_has_the_first_latent_along_the_first_axis():
    plane = posterior_plane(linear(), torch.tensor([1.0, 0.0, 2.0]).double())
    ax = plotting.posterior_plane(plane, title="worst")
    assert ax.get_title().startswith("worst\nlog p(x) = ")
    assert ax.get_xlabel() == "$z_1$"
    marks = {line.get_label(): line.get_xydata()[0] for line in ax.lines}
    assert_close(torch.tensor(marks["mode of p(z | x)"]), plane.posterior_mode)
    assert plane.posterior_mode[0] > 0.5 > abs(plane.posterior_mode[1])
    assert len(plotting.png_bytes(ax)) > 1000


def test_the_interpolation_goes_from_one_code_to_the_other():
    seen = []
    ax = plotting.interpolation(lambda z: seen.append(z) or z.view(20, 1, 1, 2), (-1, -1), (1, 3))
    assert_close(seen[0][[0, -1]], torch.tensor([[-1.0, -1.0], [1.0, 3.0]]))
    assert_close(seen[0].diff(dim=0).std(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert ax.images


def test_planes_and_reports_say_what_they_need():
    with pytest.raises(DataError, match="two"):
        latent_report(linear(), rows()[:1])
    with pytest.raises(ShapeError, match="one row"):
        posterior_plane(linear(), rows()[:2])
    three = VAE(nn.Linear(3, 3), 3, guide=linear().guide)
    with pytest.raises(ShapeError, match="latent_dim=3"):
        posterior_plane(three, rows()[0])


class Learning(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 4)

    def forward(self, x):
        return tuple(self.net(x).chunk(2, -1))


class Deaf(nn.Module):
    """A decoder that ignores its latents."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, z):
        return self.bias.expand(*z.shape[:-1], 3)


def test_collapse_is_in_the_history_and_warned_of():
    vae = VAE(Deaf(), 2, likelihood=Gaussian(), guide=AmortizedNormal(Learning()))
    x = rows().float()
    watch = LatentWatch(x[:100], every=100)
    objective = ELBO(vae, kl="analytic")
    with pytest.warns(CollapseWarning, match="warm_up"):
        history = fit(objective, x, steps=300, lr=0.03, callbacks=[watch], progress=False)
    measured = history["active_units"][~torch.tensor(history["active_units"]).isnan()]
    assert len(measured) == 3
    assert measured[-1] == 0
    assert history["rate"][299] < 0.05
    assert history["kl"][-1] < 0.05


def test_a_vae_that_uses_its_latents_is_not_warned_of():
    vae = VAE(nn.Linear(2, 3), 2, likelihood=Gaussian(scale=0.3), guide=AmortizedNormal(Learning()))
    watch = LatentWatch(rows().float()[:100], every=100)
    history = fit(vae, rows().float(), steps=300, lr=0.03, callbacks=[watch], progress=False)
    assert history["active_units"][299] >= 1
