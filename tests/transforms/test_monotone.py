"""Increasing functions of one variable: against zuko's, onto the whole line, with true derivatives."""

import math

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.transforms import Bernstein, DeepSigmoidal, MixtureOfNormals, MonotoneIntegral, SumOfSquares
from pyro_dgm.zuko_guard import import_zuko

FAMILIES = {
    "deep-sigmoidal": DeepSigmoidal(4),
    "bernstein": Bernstein(8),
    "sum-of-squares": SumOfSquares(3, 2),
    "mixture": MixtureOfNormals(3),
    "integral": MonotoneIntegral(lambda h: torch.tanh(h).sum(0, keepdim=True), 2),
}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request):
    return request.param


def parameters_for(family, n=40, scale=0.7):
    identity = family.identity().double()
    return identity[:, None] + scale * torch.randn(family.num_parameters, n, dtype=torch.double)


def test_function_increases_over_the_whole_line_and_has_the_stated_slope(family):
    parameters = parameters_for(family, 1)
    y = torch.linspace(-30, 30, 2001).double().requires_grad_()
    x, log_slope = family.inverse(y, parameters.expand(-1, 2001))
    assert (x.diff() > 0).all()
    slope = torch.autograd.grad(x.sum(), y)[0]
    assert_close(log_slope, slope.log(), atol=1e-5 if isinstance(family, MonotoneIntegral) else 1e-9, rtol=0)


def test_every_latent_has_a_preimage_however_far_out(family):
    parameters = parameters_for(family)
    x = torch.cat((3 * torch.randn(20), 1e4 * torch.randn(20))).double()
    y, log_slope = family.call(x, parameters)
    again, inverse = family.inverse(y, parameters)
    assert ((again - x).abs() / x.abs().clamp(min=1)).max() < 1e-10
    assert_close(inverse, -log_slope)


def test_slope_far_out_keeps_its_digits_in_single_precision():
    family, y = DeepSigmoidal(4), torch.tensor([-3e5, -40.0, 0.3, 57.0, 1e5]).double()
    parameters = 30 * parameters_for(family, 1).expand(-1, 5)
    exact = family.inverse(y, parameters)[1]
    assert_close(family.inverse(y.float(), parameters.float())[1].double(), exact, atol=1e-3, rtol=0)


def test_data_between_steep_sigmoids_come_back():
    # Three units of slope 300 that are 4 apart: the logit alone is flat to rounding between them.
    family = DeepSigmoidal(3)
    steep = torch.tensor([0.0, 0, 0, 300, 300, 300, -1200, 0, 1200]).double()[:, None].expand(-1, 500)
    y = torch.linspace(-6, 6, 500).double()
    x, log_slope = family.inverse(y, steep)
    assert (log_slope >= math.log(family.min_slope)).all()
    assert ((family.call(x, steep)[0] - y).abs() / y.abs().clamp(min=1)).max() < 1e-10


def test_infinite_latent_leaves_the_others_alone(family):
    parameters, x = parameters_for(family, 4), torch.randn(4).double()
    clean = family.call(x, parameters)[0]
    x[1] = torch.inf
    assert_close(family.call(x, parameters)[0][[0, 2, 3]], clean[[0, 2, 3]])


def test_first_and_second_derivatives_of_the_solved_direction(family):
    x = torch.randn(3, dtype=torch.double, requires_grad=True)
    parameters = parameters_for(family, 3).requires_grad_()
    assert torch.autograd.gradcheck(family.call, (x, parameters))
    assert torch.autograd.gradgradcheck(family.call, (x, parameters))


def test_bernstein_is_zukos_polynomial_with_the_same_coefficients():
    family, y = Bernstein(6, 5.0, min_slope=1e-2), torch.linspace(-4.9, 4.9, 50).double()
    parameters = parameters_for(family, 1).expand(-1, 50)
    slopes = torch.nn.functional.softplus(parameters[1:, 0] + family.raw_slope_of_one) + 1e-2
    theta = parameters[0, 0] - 5 + torch.cat((torch.zeros(1).double(), (slopes * 10 / 6).cumsum(0)))
    zuko = import_zuko().transforms.BernsteinTransform
    basis = zuko._bernstein_basis(6, dtype=torch.double)
    assert_close(family.inverse(y, parameters)[0], zuko._bernstein_poly((y + 5) / 10, theta, basis))


def test_sum_of_squares_is_zukos_polynomial_within_the_bound():
    family, y = (
        SumOfSquares(3, 2, min_slope=1e-2, max_log_slope=math.inf),
        torch.linspace(-4.9, 4.9, 50).double(),
    )
    parameters = parameters_for(family, 1)
    coefficients = parameters[1:, 0].reshape(3, 3).T  # polynomial by degree
    scaled = 0.99**0.5 * coefficients - torch.tensor([1.0, 0.0, 0.0])  # zuko adds one to its polynomials
    zuko = import_zuko().transforms.SOSPolynomialTransform(a=scaled.expand(50, 3, 3), slope=1e-2, bound=5.0)
    assert_close(family.inverse(y, parameters.expand(-1, 50))[0], parameters[0, 0] + zuko(y))


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e15])
def test_no_slope_of_sums_of_squares_is_above_its_bound(scale):
    family, y = SumOfSquares(3, 4, max_log_slope=3.0), torch.linspace(-8, 8, 81).unsqueeze(1)
    parameters = (scale * torch.randn(family.num_parameters, 1, 500)).expand(-1, 81, -1)
    log_slope = family.inverse(y.expand(81, 500), parameters)[1]
    assert log_slope.max() <= 3.0 + 1e-5
    assert log_slope.max() > (2.0 if scale > 1 else 0.0)  # it is nearly attained
    assert log_slope.min() >= math.log(1e-2) - 1e-5


def test_fresh_sums_of_squares_are_near_the_identity():
    for family in (SumOfSquares(), SumOfSquares(2, 2), SumOfSquares(max_log_slope=math.inf)):
        y = torch.linspace(-5, 5, 41)
        x, log_slope = family.inverse(y, family.identity().unsqueeze(1).expand(-1, 41))
        assert_close(x, y, atol=0.1, rtol=0)
        assert log_slope.abs().max() < 0.04


def test_sizes_that_make_no_function_are_refused():
    for make in (
        lambda: DeepSigmoidal(0),
        lambda: Bernstein(1),
        lambda: SumOfSquares(0),
        lambda: SumOfSquares(max_log_slope=1.0),
        lambda: SumOfSquares(bound=math.nan),
        lambda: MixtureOfNormals(max_log_scale=math.nan),
        lambda: MonotoneIntegral(torch.tanh, 0),
    ):
        with pytest.raises(ValueError, match="needs"):
            make()
