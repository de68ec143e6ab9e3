"""Each likelihood against the mass or density that it claims to be."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.distributions import DiscretizedLogistic, TiltedUniform
from pyro_dgm.distributions.entries import observed_entries
from pyro_dgm.distributions.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogisticMixture,
    Gaussian,
    StudentT,
    Table,
)
from pyro_dgm.errors import ShapeError
from pyro_dgm.models import VAE

LOGITS = torch.tensor([-40.0, -5.0, -0.11, -0.09, -1e-3, 0.0, 1e-6, 0.05, 0.3, 3.0, 40.0]).double()


def grid(num=4001):
    middle = (torch.arange(num).double() + 0.5) / num
    return middle[:, None]


def test_the_continuous_bernoulli_integrates_to_one_for_every_logit():
    mass = TiltedUniform(LOGITS).log_prob(grid()).exp().mean(0)
    assert_close(mass, torch.ones_like(mass), atol=2e-4, rtol=0)


def test_the_continuous_bernoulli_is_the_cross_entropy_plus_its_constant():
    lam, x = torch.tensor([0.2, 0.49, 0.7]).double(), torch.tensor([0.1, 0.5, 0.9]).double()
    constant = (2 * torch.atanh(1 - 2 * lam) / (1 - 2 * lam)).log()
    expected = constant + x * lam.log() + (1 - x) * (1 - lam).log()
    assert_close(TiltedUniform(lam.logit()).log_prob(x), expected)


def test_the_mean_of_the_continuous_bernoulli_is_that_of_its_density():
    tilted = TiltedUniform(LOGITS)
    mean = (tilted.log_prob(grid()).exp() * grid()).mean(0)
    assert_close(tilted.mean, mean, atol=2e-4, rtol=0)


def test_the_continuous_bernoulli_is_smooth_through_one_half():
    # the slope of -log C at the logit a is the mean minus 1/2 at x = 1/2, in single precision too
    logits = torch.tensor([-0.1001, -0.0999, -1e-4, 0.0, 1e-4, 0.0999, 0.1001], requires_grad=True)
    TiltedUniform(logits).log_prob(torch.tensor(0.5)).sum().backward()
    assert_close(logits.grad, -logits.detach() / 12, atol=1e-5, rtol=1e-3)


def test_the_series_of_the_continuous_bernoulli_near_one_half_is_exact():
    logits = torch.tensor([-0.099, -0.05, 0.02, 0.08, 0.099]).double()
    half = logits / 2
    assert_close(
        TiltedUniform(logits).log_prob(torch.tensor(0.5).double()),
        -(torch.sinh(half) / half).log(),
        atol=1e-14,
        rtol=0,
    )
    mean = 0.5 + 0.5 * (1 / torch.tanh(half) - 1 / half)
    assert_close(TiltedUniform(logits).mean, mean, atol=1e-13, rtol=0)


def test_draws_of_the_continuous_bernoulli_follow_its_density():
    tilted = TiltedUniform(LOGITS)
    x = tilted.sample((4000,))
    assert ((x >= 0) & (x <= 1)).all()
    error = x.std(0) / math.sqrt(4000)
    assert ((x.mean(0) - tilted.mean).abs() < 4 * error + 1e-9).all()


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_masses_of_all_levels_sum_to_one(levels):
    loc = torch.tensor([[-0.5, 0.5], [0.2, 3.0], [1.0, 0.0]]).double()
    scale = torch.tensor([[0.3, 1e-4], [2.0, 0.01], [1e-3, 0.05]]).double()
    logits = torch.tensor([[0.0, 1.0], [-3.0, 2.0], [0.5, 0.5]]).double()
    x = torch.arange(levels).double()[:, None] / (levels - 1)
    mass = DiscretizedLogistic(loc, scale, logits, levels=levels).log_prob(x)
    assert mass.isfinite().all()
    assert_close(mass.exp().sum(0), torch.ones(3).double())


def test_a_level_has_the_mass_of_its_bin_of_the_logistic_density():
    pixel = DiscretizedLogistic(torch.tensor([0.4]).double(), torch.tensor([0.1]).double())
    ends = torch.tensor([100.5, 101.5]).double() / 255
    cdf = ((ends - 0.4) / 0.1).sigmoid()
    assert_close(pixel.log_prob(torch.tensor(101 / 255).double()).exp(), cdf[1] - cdf[0])


def test_draws_of_the_discretised_mixture_are_levels_with_its_frequencies():
    pixel = DiscretizedLogistic(torch.tensor([0.2, 0.9]), torch.tensor([0.1, 0.3]), levels=5)
    x = pixel.sample((20000,))
    levels = torch.arange(5) / 4
    frequency = (x[:, None] == levels).float().mean(0)
    mass = pixel.log_prob(levels).exp()
    assert_close(frequency.sum(), torch.tensor(1.0))
    assert ((frequency - mass).abs() < 4 * (mass * (1 - mass) / 20000).sqrt()).all()


def test_values_between_the_levels_are_refused():
    with pytest.raises(ValueError, match="Levels"):
        DiscretizedLogistic(torch.zeros(1), torch.ones(1)).log_prob(torch.tensor(0.123))


OUTPUTS = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)).double()
KINDS = {
    "bernoulli": (Bernoulli(), 12),
    "continuous-bernoulli": (ContinuousBernoulli(), 12),
    "gaussian": (Gaussian(scale=0.3), 12),
    "gaussian-learned": (Gaussian(scale=0.3, learned=(12,)), 12),
    "gaussian-decoded": (Gaussian(decoded=True), 6),
    "student-t": (StudentT(df=3.0), 12),
    "student-t-decoded": (StudentT(decoded=True), 6),
    "categorical": (Categorical(3), 4),
    "logistic": (DiscretizedLogisticMixture(1), 6),
    "logistic-mixture": (DiscretizedLogisticMixture(1, components=2), 2),
    "table": (Table([Gaussian(decoded=True), Categorical(3), Bernoulli(), *[StudentT()] * 6]), 9),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request):
    likelihood, size = request.param
    return likelihood.double()(OUTPUTS), size


def test_a_row_is_scored_as_one_event_and_its_draws_are_in_the_support(kind):
    p_x, size = kind
    assert p_x.event_shape == (size,)
    assert p_x.batch_shape == (5,)
    x = p_x.sample((7,))
    assert x.shape == (7, 5, size)
    assert x.dtype == torch.double
    assert p_x.log_prob(x).isfinite().all()
    assert p_x.mean.shape == (5, size)


def test_draws_with_gradients_are_those_of_each_column_and_the_others_say_which_have_none():
    numbers = Table([Gaussian(scale=0.3), StudentT(df=3.0), Gaussian(decoded=True)])
    outputs = OUTPUTS[:, :4].clone().requires_grad_()
    x = numbers.double()(outputs).rsample((4,))
    assert x.shape == (4, 5, 3)
    (gradient,) = torch.autograd.grad(x.sum(), outputs)
    assert_close(gradient[:, :3], torch.full((5, 3), 4.0).double())  # the locations move every draw along
    assert gradient[:, 3].abs().min() > 0  # the decoded scale
    assert numbers(outputs).expand((6, 5)).rsample().shape == (6, 5, 3)
    with pytest.raises(NotImplementedError, match=r"columns \[1\]"):
        Table([Gaussian(), Bernoulli()]).double()(OUTPUTS[:, :2]).rsample()


def test_a_vae_of_a_table_of_numbers_draws_rows():
    vae = VAE(torch.nn.Linear(2, 3), 2, likelihood=Table([Gaussian(), Gaussian(decoded=True)]))
    assert vae.sample(7).shape == (7, 2)


def test_missing_entries_count_for_nothing_whatever_they_are(kind):
    p_x, size = kind
    x, other = p_x.sample(), p_x.sample()
    mask = torch.arange(size) < 2
    observed = observed_entries(p_x, mask.expand(5, size))
    assert_close(observed.log_prob(x), observed.log_prob(torch.where(mask, x, other)))
    parts = [
        observed_entries(p_x, (torch.arange(size) == i).expand(5, size)).log_prob(x) for i in range(size)
    ]
    assert_close(sum(parts), p_x.log_prob(x))


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match="mask"):
        observed_entries(Bernoulli()(OUTPUTS), torch.ones(5, 3, dtype=torch.bool))


def test_a_joint_distribution_cannot_leave_out_entries():
    joint = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
    with pytest.raises(ShapeError, match="independent entries"):
        observed_entries(joint, torch.ones(1, 2, dtype=torch.bool))


def test_the_parameters_of_channels_come_one_kind_after_the_other():
    output = torch.randn(2, 2 * 3, 4, 4)
    p_x = Gaussian(event_dim=3, decoded=True, scale=2.0)(output)
    assert_close(p_x.mean, output[:, :3])
    start = math.log(math.expm1(2.0 - 1e-3))
    scale = 1e-3 + torch.nn.functional.softplus(output[:, 3:] + start)
    assert_close(p_x.base_dist.scale, scale)


def test_a_learned_scale_moves_to_the_spread_of_the_residuals():
    likelihood = Gaussian(scale=1.0, learned=True)
    x = 0.2 * torch.randn(500, 3)
    optimizer = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe", max_iter=50)

    def loss():
        optimizer.zero_grad()
        value = -likelihood(torch.zeros(500, 3)).log_prob(x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert_close(likelihood.scale.detach(), x.square().mean().sqrt(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "likelihood", [Gaussian(decoded=True), Categorical(3), Table([Gaussian(), Gaussian()])]
)
def test_an_output_of_the_wrong_size_is_refused(likelihood):
    with pytest.raises(ShapeError, match="decoder"):
        likelihood(torch.zeros(4, 5))


def test_grey_pixels_are_let_in_on_demand_and_scored_by_cross_entropy():
    x, logits = torch.rand(4, 3).double(), torch.randn(4, 3).double()
    with pytest.raises(ValueError, match="support"):
        Bernoulli()(logits).log_prob(x)
    expected = x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log()
    assert_close(Bernoulli(grey=True)(logits).log_prob(x), expected.sum(-1))
    with pytest.raises(ValueError, match="support"):
        Bernoulli(grey=True)(logits).log_prob(x + 1)


def test_binary_rows_are_independent_bernoulli_entries_with_their_gradients():
    logits = (20 * torch.randn(3, 2, 4)).double().requires_grad_()
    x = torch.bernoulli(torch.full((3, 2, 4), 0.5)).double()
    slow = dist.Bernoulli(logits=logits).to_event(2)
    fast = Bernoulli(event_dim=2)(logits)
    assert_close(fast.log_prob(x), slow.log_prob(x))
    assert_close(fast.mean, slow.mean)
    assert_close(fast.variance, slow.variance)
    gradients = [torch.autograd.grad(p.log_prob(x).sum(), logits)[0] for p in (fast, slow)]
    assert_close(*gradients)
    assert fast.expand((5, 3)).log_prob(x).shape == (5, 3)


@pytest.mark.parametrize("event", [(784,), (1, 28, 28), (8,), (127,), (224,), (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binary_rows_score_alike_with_gradients_and_without(event, dtype):
    logits = 30 * torch.randn(5, 3, *event, dtype=dtype)
    logits[0], logits[1], logits[2] = 0.0, 300.0, -300.0
    x = torch.bernoulli(torch.full((3, *event), 0.5, dtype=dtype))
    expected = Bernoulli(event_dim=len(event))(logits.double()).log_prob(x.double())
    with torch.no_grad():
        found = Bernoulli(event_dim=len(event))(logits).log_prob(x)
    assert found.dtype == dtype
    assert_close(found.double(), expected, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=1e-4)


def test_binary_rows_without_gradients_broadcast_values_and_keep_nan():
    row, values = torch.randn(16), torch.bernoulli(torch.full((4, 16), 0.5))
    with torch.no_grad():
        assert_close(
            Bernoulli()(row).log_prob(values), dist.Bernoulli(logits=row).to_event(1).log_prob(values)
        )
        assert Bernoulli()(row.where(row > row.min(), torch.nan)).log_prob(values).isnan().all()
