"""Planar and radial layers keep their constraints and score points that they did not make."""

import torch
from torch.testing import assert_close

from pyro_dgm.transforms import PlanarTransform, RadialTransform


def planar(scale, *batch, dtype=torch.double):
    shape = (4, *batch, 3)
    return PlanarTransform(
        scale * torch.randn(shape, dtype=dtype),
        scale * torch.randn(shape, dtype=dtype),
        torch.randn(shape[:-1], dtype=dtype),
    )


def test_planar_layers_stay_invertible_for_any_free_direction():
    transform = planar(3.0)
    assert ((transform.u_hat * transform.w).sum(-1) > -1).all()


def test_planar_log_determinant_is_finite_where_the_constraint_rounds_to_minus_one():
    w = torch.ones(1, 2)
    transform = PlanarTransform(-20 * w, w, torch.zeros(1))  # softplus(-40) - 1 is -1 in float32
    ladj = transform.log_abs_det_jacobian(torch.tensor([[0.3, -0.2]]), None)
    assert ladj.isfinite().all()
    # log(h^2 + m (1 - h^2)) with m = exp(-40) up to rounding
    assert_close(ladj, 2 * torch.tanh(torch.tensor([0.1])).log(), rtol=1e-5, atol=1e-5)


def test_planar_draws_without_a_graph_are_those_with_one():
    torch.manual_seed(0)
    t = PlanarTransform(
        *(torch.randn(7, 3, dtype=torch.double) for _ in "uw"), torch.randn(7, dtype=torch.double)
    )
    x = torch.randn(5, 3, dtype=torch.double)
    expected, before = t.call_and_ladj(x)[0], x.clone()
    with torch.no_grad():
        assert_close(t(x), expected)
    assert_close(x, before, rtol=0, atol=0)


def test_planar_survives_a_plane_without_direction():
    u, w = torch.randn(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    y, ladj = PlanarTransform(u, w, torch.ones(1)).call_and_ladj(torch.zeros(1, 2))
    (y.sum() + ladj.sum()).backward()
    assert_close(ladj, torch.zeros(1))
    assert w.grad.isfinite().all()


def test_planar_parameters_of_each_row_act_on_that_row():
    transform = planar(1.0, 5)
    x = torch.randn(7, 5, 3, dtype=torch.double)
    y, ladj = transform.call_and_ladj(x)
    one = PlanarTransform(transform.u_hat[:, 2], transform.w[:, 2], transform.b[:, 2])
    one.u_hat, one.m = transform.u_hat[:, 2], transform.m[:, 2]
    assert_close(y[:, 2], one.call_and_ladj(x[:, 2])[0])
    assert_close(transform.inverse_and_ladj(y)[0], x)
    assert_close(transform.inverse_and_ladj(y)[1], -ladj)


def test_radial_layer_is_the_published_formula():
    centre, alpha, beta = torch.randn(1, 2).double(), torch.tensor([0.7]).double(), -0.5
    x = torch.randn(9, 2, dtype=torch.double)
    r = (x - centre).norm(dim=-1, keepdim=True)
    published = x + beta / (alpha + r) * (x - centre)
    assert_close(RadialTransform(centre, alpha, alpha + beta)(x), published)


def test_radial_layer_maps_its_centre_to_itself_with_finite_gradients():
    centre = torch.randn(1, 2, dtype=torch.double)
    transform = RadialTransform(centre, torch.ones(1).double(), 3 * torch.ones(1).double())
    x = centre.clone().requires_grad_()
    y, ladj = transform.call_and_ladj(x)
    ladj.sum().backward()
    assert_close(y, centre)
    assert_close(ladj, 2 * torch.tensor([3.0]).double().log())
    assert x.grad.isfinite().all()
