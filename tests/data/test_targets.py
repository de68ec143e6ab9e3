"""The planar targets: density, entropy and sampler agree with each other and with closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from pyro_dgm.data import checkerboard, eight_gaussians, two_moons, uniform_square
from pyro_dgm.errors import DataError, ShapeError

TARGETS = {
    "moons-0.05": two_moons,
    "moons-0.2": lambda: two_moons(0.2),
    "uniform-square": uniform_square,
    "8gaussians": eight_gaussians,
    "checkerboard": checkerboard,
}


@pytest.fixture(params=TARGETS.values(), ids=TARGETS.keys())
def target(request):
    return request.param()


def midpoints(low, high, num):
    step = (high - low) / num
    axis = low + step * (torch.arange(num, dtype=torch.double) + 0.5)
    return torch.cartesian_prod(axis, axis), step**2


def moons_density(x, noise):
    """The log-density by quadrature over the angle of each arc, in pieces around its peak."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    log_arcs = []
    for arc in (lambda t: (np.cos(t), np.sin(t)), lambda t: (1 - np.cos(t), 0.5 - np.sin(t))):

        def log_kernel(t, arc=arc):
            return -((x[0] - arc(t)[0]) ** 2 + (x[1] - arc(t)[1]) ** 2) / (2 * noise**2)

        grid = np.linspace(0, np.pi, 20001)
        peak = grid[log_kernel(grid).argmax()]
        offsets = np.array([-40, -12, -4, -1, 0, 1, 4, 12, 40]) * noise / math.sqrt(1 + math.hypot(*x))
        breaks = np.unique(np.clip([*(peak + offsets), 0, np.pi], 0, np.pi))
        t = (breaks[1:] + breaks[:-1])[:, None] / 2 + np.diff(breaks)[:, None] / 2 * nodes
        integral = (np.exp(log_kernel(t) - log_kernel(peak)) * weights).sum(1) @ np.diff(breaks) / 2
        log_arcs.append(log_kernel(peak) + math.log(integral / np.pi / (2 * np.pi * noise**2)))
    return np.logaddexp(*log_arcs) - math.log(2)


def test_density_integrates_to_one(target):
    points, area = midpoints(-6, 6, 300)
    mass = area * target.log_prob(points).exp().sum()
    assert_close(mass.item(), 1.0, atol=1e-6, rtol=0)


@pytest.mark.parametrize("noise", [0.005, 0.05, 1.0])
def test_moons_density_is_the_integral_over_the_arcs(noise):
    points = [
        (0.3, -0.2),
        (0.0, 0.0),
        (1.0, 0.5),
        (0.0, 1.0),
        (-1.02, -0.3),
        (0.5, 0.25),
        (3.0, -2.0),
        (-0.1, -4.0),
    ]
    expected = torch.tensor([moons_density(p, noise) for p in points])
    log_p = two_moons(noise).log_prob(torch.tensor(points, dtype=torch.double))
    assert_close(log_p, expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize(("noise", "entropy"), [(0.05, 0.2892), (0.1, 1.0076), (0.2, 1.6775)])
def test_moons_entropy(noise, entropy):
    assert two_moons(noise).entropy == pytest.approx(entropy, abs=1e-4)


def test_entropies_with_closed_forms():
    assert uniform_square().entropy == 0.0
    assert checkerboard().entropy == pytest.approx(math.log(32))
    assert eight_gaussians().entropy == pytest.approx(2.8319, abs=1e-4)


def test_checkerboard_has_the_squares_of_its_source():
    dark, light = (
        torch.tensor([[1.0, 1.0], [1.0, -3.0], [-1.0, -1.0]]),
        torch.tensor([[-1.0, 1.0], [3.0, 1.0]]),
    )
    assert checkerboard().log_prob(dark).isfinite().all()
    assert checkerboard().log_prob(light).isneginf().all()


def test_entropy_of_faint_moons_tends_to_that_of_the_arcs():
    noise = 5e-3  # the ends and the curvature change it by less than 0.6 noise
    arcs = math.log(2 * math.pi) + 0.5 * math.log(2 * math.pi * math.e * noise**2)
    assert arcs < two_moons(noise).entropy < arcs + 0.6 * noise


def test_entropy_is_the_mean_of_minus_log_prob(target):
    surprise = -target.log_prob(target.sample(20_000, seed=0).double())
    standard_error = surprise.std() / math.sqrt(20_000)
    assert (surprise.mean() - target.entropy).abs() <= 3 * standard_error + 1e-12


def test_samples_follow_the_density(target):
    (low, high), cells, fine, n = target.window[0], 24, 12, 20_000
    points, area = midpoints(low - 0.5, high + 0.5, cells * fine)
    mass = area * target.log_prob(points).exp().reshape(cells, fine, cells, fine).sum((1, 3))
    edges = np.linspace(low - 0.5, high + 0.5, cells + 1)
    counts, _, _ = np.histogram2d(*target.sample(n, seed=1).T.numpy(), bins=(edges, edges))
    expected = n * mass.numpy()
    many = expected >= 5
    observed = np.append(counts[many], n - counts[many].sum())
    expected = np.append(expected[many], n - expected[many].sum())
    if expected[-1] < 5:  # the cells with few points, and what lies outside the window
        observed, expected = observed[:-1], expected[:-1]
    chi2 = ((observed - expected) ** 2 / expected).sum()
    assert 1e-3 < stats.chi2.sf(chi2, len(observed) - 1) < 1 - 1e-3


@pytest.mark.parametrize("make", [lambda: two_moons(0.005), two_moons, eight_gaussians])
def test_far_tails_are_finite(make):
    far = torch.tensor([[1e3, 1e3], [-1e3, 0.0], [0.0, -1e3], [1e3, -700.0], [0.0, 0.0], [1.0, 0.5]])
    assert make().log_prob(far).isfinite().all()


def test_bad_points_do_not_affect_others(target):
    good = target.sample(1, seed=0)
    log_p = target.log_prob(torch.cat([good, torch.tensor([[1e30, 0.0], [math.inf, 1.0], [math.nan, 1.0]])]))
    assert_close(log_p[:1], target.log_prob(good))
    assert log_p[1] == log_p[2] == -math.inf
    assert log_p[3].isnan()


def test_log_prob_keeps_batch_shape_and_dtype(target):
    x = target.sample(12, seed=0).reshape(3, 4, 2)
    assert target.log_prob(x).shape == (3, 4)
    assert target.log_prob(x).dtype == torch.float32
    assert target.log_prob(x.double()).dtype == torch.double
    assert target.log_prob(x[:0]).shape == (0, 4)
    assert_close(target.log_prob(x.double()).float(), target.log_prob(x))


def test_points_that_are_no_pairs_are_refused(target):
    with pytest.raises(ShapeError, match=r"expected points of shape \(\*batch, 2\), got \(5, 3\)"):
        target.log_prob(torch.zeros(5, 3))


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_moons_density_has_the_right_gradient(noise):
    log_prob = two_moons(noise).log_prob
    special = torch.tensor([[0.0, 0.0], [1.0, 0.5], [2.0, 0.0], [0.0, 0.5], [0.7, 0.1]], dtype=torch.double)
    assert torch.autograd.gradcheck(log_prob, special.requires_grad_(), eps=1e-5, atol=1e-5)


def test_a_seed_repeats_the_sample_and_leaves_the_global_state(target):
    before = torch.get_rng_state()
    assert_close(target.sample(5, seed=3), target.sample(5, seed=3))
    assert not target.sample(5, seed=3).equal(target.sample(5, seed=4))
    assert torch.get_rng_state().equal(before)


def test_without_a_seed_samples_are_new_and_follow_the_global_seed(target):
    first, second = target.sample(5), target.sample(5)
    assert not first.equal(second)
    torch.manual_seed(0)
    assert_close(target.sample(5), first)


def test_samples_are_float_pairs_inside_the_support(target):
    x = target.sample(50_000, seed=0)
    assert x.shape == (50_000, 2)
    assert x.dtype == torch.float32
    assert target.log_prob(x).isfinite().all()


@pytest.mark.parametrize("noise", [0.0, -0.1, math.nan, math.inf])
def test_moons_refuse_a_noise_without_density(noise):
    with pytest.raises(DataError, match="noise of TwoMoons must be positive and finite"):
        two_moons(noise)
