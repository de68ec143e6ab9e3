"""Squeezes, masks, factor-outs and the logit: what they change, and by how much volume."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.transforms import (
    Affine,
    ChannelCoupling,
    Composed,
    Entrywise,
    FactorOut,
    Flattened,
    Inverted,
    Logit,
    PiecewiseLinear,
    Squeeze,
    TriangularAffine,
    squeeze,
    unsqueeze,
)

KNOTS = [-1.0, -0.5, 0.7, 1.0, 2.0]


def image(*shape):
    return torch.randn(*shape, dtype=torch.double)


def log_det(transform, x):
    """By autograd, of one image."""
    y, _ = transform.call_and_ladj(x)
    jacobian = torch.autograd.functional.jacobian(lambda x: transform.call_and_ladj(x)[0], x)
    return torch.linalg.slogdet(jacobian.view(y.numel(), x.numel())).logabsdet


def test_squeezed_channels_are_black_squares_then_white_ones():
    rows, columns = torch.arange(4).view(4, 1), torch.arange(6).view(1, 6)
    white = ((rows + columns) % 2).expand(3, 4, 6)
    squeezed = squeeze(white)
    assert squeezed.shape == (12, 2, 3)
    assert (squeezed[:6] == 0).all()
    assert (squeezed[6:] == 1).all()


def test_squeeze_keeps_the_channels_of_a_square_together_and_undoes_itself():
    y = image(2, 3, 4, 6)
    assert torch.equal(squeeze(y)[:, 3:6], y[..., 1::2, 1::2])
    assert torch.equal(unsqueeze(squeeze(y)), y)


def test_squeeze_as_a_bijection_changes_the_shape_but_no_volume():
    t, x = Squeeze(), image(5, 8, 2, 3)
    y, ladj = t.call_and_ladj(x)
    assert y.shape == (5, *t.forward_shape(x.shape[1:])) == (5, 2, 4, 6)
    assert t.inverse_shape(y.shape) == x.shape
    assert torch.equal(t.inv(y), x)
    assert_close(log_det(t, x[0]), ladj[0])


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 4, 3), (4, 4)])
def test_images_of_odd_size_are_not_squeezed(shape):
    with pytest.raises(ShapeError, match="even height and width"):
        squeeze(torch.zeros(shape))


def test_unsqueeze_needs_four_channels_at_a_time():
    with pytest.raises(ShapeError, match="multiple of four"):
        unsqueeze(torch.zeros(6, 2, 2))


@pytest.mark.parametrize("change_first", [True, False])
def test_coupling_between_squeezes_changes_one_colour_of_the_checkerboard(change_first):
    net = nn.Conv2d(2, 4, 3, padding=1).double()
    change = ChannelCoupling(net, Affine(), split=2, change_first=change_first)
    t, x = Composed([Inverted(Squeeze()), change, Squeeze()]), image(1, 4, 4)
    changed = (t(x) != x).squeeze(0)
    black = (torch.arange(4).view(4, 1) + torch.arange(4)) % 2 == 0
    assert torch.equal(changed, black if change_first else ~black)
    assert_close(t.call_and_ladj(x)[1], log_det(t, x))


def test_coupling_grows_the_batch_to_that_of_its_conditioner():
    weights = image(3, 1, 1, 1)
    t = ChannelCoupling(lambda kept: torch.cat((weights * kept, weights * kept), -3), Affine(), split=1)
    x = image(2, 1, 2)
    y, ladj = t.call_and_ladj(x)
    assert y.shape == (3, 2, 1, 2)
    assert ladj.shape == (3,)
    assert_close(t.inv(y), x.expand(3, 2, 1, 2))


def test_factored_out_channels_stay_and_the_rest_has_all_the_log_det():
    rest = Entrywise(Affine(), image(2, 2, 3, 1))
    t, x = FactorOut(rest, 1), image(4, 3, 3, 1)
    y, ladj = t.call_and_ladj(x)
    assert torch.equal(y[:, :1], x[:, :1])
    assert torch.equal(y[:, 1:], rest(x[:, 1:]))
    assert_close(t.inv(y), x)
    assert_close(ladj[0], log_det(t, x[0]))
    assert_close(t.inverse_and_ladj(y)[1], -ladj)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.3])
def test_logit_has_the_log_det_of_autograd_and_undoes_itself(alpha):
    t, x = Logit(alpha), 2 * image(3, 2, 1, 2)
    y, ladj = t.call_and_ladj(x)
    assert_close(t.inv(y), x)
    assert_close(ladj[0], log_det(t, x[0]))
    assert_close(t.inverse_and_ladj(y)[1], -ladj)
    assert t.codomain.check(y).all()


def test_logit_is_that_of_the_shrunken_pixel():
    assert_close(Logit(0.05).inv(torch.tensor([[[0.25]]])), torch.tensor([[[0.275 / 0.725]]]).log())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logit_is_finite_at_black_and_white(dtype):
    ends = torch.tensor([[[0.0, 1.0]]], dtype=dtype)
    for alpha in (0.0, 0.05):
        x, ladj = Logit(alpha).inverse_and_ladj(ends)
        assert x.isfinite().all()
        assert ladj.isfinite().all()


@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("outside", [-0.1, 1.1])
def test_logit_has_no_value_beyond_its_range(alpha, outside):
    assert Logit(alpha).inv(torch.full((1, 1, 1), outside)).isnan().all()


@pytest.mark.parametrize("alpha", [-0.1, 0.5])
def test_logit_refuses_a_margin_without_room(alpha):
    with pytest.raises(ValueError, match="alpha"):
        Logit(alpha)


def test_piecewise_linear_density_is_the_histogram():
    shares = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.double)
    y = torch.tensor([-0.9, 0.0, 0.71, 1.999, -0.5], dtype=torch.double)
    x, log_slope = PiecewiseLinear(KNOTS, min_share=0.0).inverse(y, shares.log().view(4, 1))
    widths = torch.tensor(KNOTS, dtype=torch.double).diff()
    density = (shares / widths)[torch.tensor([0, 1, 2, 3, 1])]  # of a uniform base of density 1/3
    assert_close(log_slope.exp() / 3, density)
    assert_close(x[3], torch.tensor(2 - 3 * 0.3 * 0.001, dtype=torch.double))


def test_piecewise_linear_map_undoes_itself_and_its_slopes_are_those_of_autograd():
    function, parameters = PiecewiseLinear(KNOTS), image(4, 200)
    x = (4 * torch.rand(200, dtype=torch.double) - 1.5).requires_grad_()  # beyond the ends too
    y, log_slope = function.call(x, parameters)
    back, inverse_log_slope = function.inverse(y, parameters)
    assert_close(back, x)
    assert_close(inverse_log_slope, -log_slope)
    assert_close(torch.autograd.grad(y.sum(), x)[0].log(), log_slope.detach())
    assert ((x < -1) | (x > 2)).any()
    assert torch.equal(y[x < -1], x[x < -1])


def test_piecewise_linear_map_stays_in_the_interval_in_spite_of_rounding():
    function, parameters = PiecewiseLinear([k / 7 for k in range(8)]), torch.randn(7, 20_000)
    last = torch.tensor(1.0).nextafter(torch.tensor(0.0)).expand(20_000)
    for pass_ in (function.call, function.inverse):
        assert (pass_(last, parameters)[0] <= 1).all()


def test_piecewise_linear_identity_is_the_identity():
    function, x = PiecewiseLinear(KNOTS), torch.linspace(-2, 3, 50)
    y, log_slope = function.call(x, function.identity().view(4, 1))
    assert_close(y, x, atol=1e-5, rtol=0)
    assert_close(log_slope, torch.zeros(50), atol=1e-5, rtol=0)


def test_piecewise_linear_ends_lie_in_the_first_and_last_bin():
    function, parameters = PiecewiseLinear(KNOTS), image(4, 2)
    ends = torch.tensor([-1.0, 2.0], dtype=torch.double)
    inner = ends + torch.tensor([0.1, -0.1], dtype=torch.double)
    assert_close(function.inverse(ends, parameters)[1], function.inverse(inner, parameters)[1])
    assert_close(function.call(ends, parameters)[0], ends)


@pytest.mark.parametrize("knots", [[], [0.0], [0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 1e-9, 1.0]])
def test_knots_out_of_order_are_refused(knots):
    with pytest.raises(DataError, match="knots in increasing order"):
        PiecewiseLinear(knots)


def test_flattened_bijection_is_that_of_the_vector_of_entries():
    part = TriangularAffine(image(4), image(4), image(4, 4))
    t, x = Flattened(part, (1, 2, 2)), image(3, 1, 2, 2)
    y, ladj = t.call_and_ladj(x)
    assert_close(y.flatten(1), part(x.flatten(1)))
    assert_close(t.inv(y), x)
    assert_close(ladj[0], log_det(t, x[0]))
