"""OT-Flow's potential: closed forms against autograd."""

import pytest
import torch
from torch.autograd.functional import hessian
from torch.testing import assert_close

from pyro_dgm.nets import OTPotential

# (D, C, width, depth): x narrower and wider than the layers, shallow and deep, with and without context.
CASES = {
    "1d": (1, 0, 4, 2),
    "2d": (2, 0, 8, 2),
    "3d-context-deep": (3, 2, 8, 4),
    "9d-wide": (9, 0, 5, 2),
    "9d-wide-context-deep": (9, 1, 5, 4),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def potential(request):
    input_dim, context_dim, width, depth = request.param
    potential = OTPotential(input_dim, context_dim, width=width, depth=depth).double()
    with torch.no_grad():
        for p in potential.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return potential


def points_for(potential, *batch):
    return torch.randn(*batch, potential.first.in_features, dtype=torch.double, requires_grad=True)


def test_value_is_that_of_the_formula(potential):
    def act(a):
        return a + torch.log1p(torch.exp(-2 * a))

    s = points_for(potential, 5)
    u = act(potential.first(s))
    for layer in potential.layers:
        u = u + act(layer(u)) / len(potential.layers)
    quadratic = 0.5 * torch.einsum("ni,ki,kj,nj->n", s, potential.A, potential.A, s)
    assert_close(potential.value(s), u @ potential.w + quadratic + s @ potential.b, rtol=0, atol=1e-12)


def test_gradient_is_that_of_autograd(potential):
    s = points_for(potential, 3, 4)
    (expected,) = torch.autograd.grad(potential.value(s).sum(), s)
    assert_close(potential.gradient(s), expected, rtol=0, atol=1e-10)
    assert_close(potential.gradient_and_trace(s)[0], expected, rtol=0, atol=1e-10)


def test_trace_is_the_laplacian_over_x_alone(potential):
    s, size = points_for(potential, 5), potential.input_dim
    expected = [hessian(potential.value, row)[:size, :size].trace() for row in s.detach()]
    assert_close(potential.gradient_and_trace(s)[1], torch.stack(expected), rtol=0, atol=1e-10)


def test_closed_forms_have_first_and_second_derivatives():
    for input_dim, depth in ((1, 3), (3, 2)):
        potential = OTPotential(input_dim, width=2, depth=depth, rank=1).double()
        s = points_for(potential, 1)
        assert torch.autograd.gradcheck(potential.gradient_and_trace, s)
        assert torch.autograd.gradgradcheck(potential.gradient_and_trace, s)


def test_derivatives_are_right_at_the_kink_of_the_absolute_value():
    potential = OTPotential(1, width=3).double()
    with torch.no_grad():
        potential.first.bias.zero_()
        potential.layers[0].weight.zero_()
        potential.layers[0].bias.zero_()
    s = torch.zeros(2, dtype=torch.double, requires_grad=True)  # every pre-activation is zero
    curvature = (potential.first.weight.t() * potential.w) @ potential.first.weight
    assert_close(hessian(potential.value, s), curvature + potential.A.t() @ potential.A)
    assert_close(potential.gradient_and_trace(s)[1], hessian(potential.value, s)[0, 0])


def test_value_is_finite_and_linear_far_out():
    potential = OTPotential(2).float()
    s = torch.tensor([1e4, -1e4, 0.5])
    assert torch.isfinite(potential.value(s))
    assert all(torch.isfinite(out).all() for out in potential.gradient_and_trace(s))


def test_float32_keeps_the_accuracy_of_its_type():
    potential = OTPotential(2)
    s = 3 * torch.randn(1000, 3)
    single = potential.gradient_and_trace(s)
    double = potential.double().gradient_and_trace(s.double())
    for got, expected in zip(single, double, strict=True):
        assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


def test_no_rows_give_no_values():
    gradient, trace = OTPotential(2).gradient_and_trace(torch.zeros(0, 3))
    assert gradient.shape == (0, 3)
    assert trace.shape == (0,)


def test_sizes_that_make_no_potential_are_refused():
    with pytest.raises(ValueError, match="depth >= 2"):
        OTPotential(2, depth=1)
