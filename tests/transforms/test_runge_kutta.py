"""Fixed-step Runge-Kutta against closed forms."""

import math

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.transforms import EULER, MIDPOINT, RK4, runge_kutta

A = torch.tensor([[0.3, 1.1], [-0.7, -0.9]], dtype=torch.double)


def solve(num_steps, method=RK4):
    """Integrate y' = cos(t) A y and, beside it, the trace cos(t) tr A and |y|^2."""

    def field(t, y):
        return math.cos(t) * y @ A.t(), (math.cos(t) * A.trace(), y.square().sum(-1))

    y = torch.tensor([[1.0, -0.5], [0.2, 2.0]], dtype=torch.double)
    steps = list(runge_kutta(field, y, 0.0, 1.0, num_steps, method))
    stages = [stage for _, stages in steps for stage in stages]
    ladj = sum(weight * trace for weight, (trace, _) in stages)
    return steps[-1][0], ladj, sum(weight * norm for weight, (_, norm) in stages)


@pytest.mark.parametrize(("method", "order"), [(RK4, 4), (MIDPOINT, 2), (EULER, 1)])
def test_error_falls_with_the_order_of_the_method(method, order):
    y = torch.tensor([[1.0, -0.5], [0.2, 2.0]], dtype=torch.double)
    exact = y @ torch.linalg.matrix_exp(math.sin(1.0) * A).t()
    coarse, fine = ((solve(nt, method)[0] - exact).norm() for nt in (16, 32))
    assert abs(math.log2(coarse / fine) - order) < 0.15


def test_log_det_of_a_linear_field_is_the_integral_of_its_trace():
    errors = [abs(solve(nt)[1] - math.sin(1.0) * A.trace()).item() for nt in (8, 16)]
    assert errors[1] < 1e-7
    assert abs(math.log2(errors[0] / errors[1]) - 4) < 0.1


def test_what_is_summed_over_stages_is_what_a_further_component_would_be():
    def field(t, z):  # |y|^2 as a third component of the state
        y = z[:, :2]
        return torch.cat([math.cos(t) * y @ A.t(), y.square().sum(-1, keepdim=True)], -1), None

    z = torch.tensor([[1.0, -0.5, 0.0], [0.2, 2.0, 0.0]], dtype=torch.double)
    *_, (z, _) = runge_kutta(field, z, 0.0, 1.0, 5)
    y, _, square = solve(5)
    assert_close(torch.cat([y, square[:, None]], -1), z, rtol=0, atol=1e-14)


def test_going_back_turns_the_sign_of_integrals_and_returns():
    def field(t, y):
        return y @ A.t(), A.trace()

    y = torch.tensor([[1.0, -0.5]], dtype=torch.double)
    *_, (there, stages) = runge_kutta(field, y, 0.0, 1.0, 64)
    *_, (back, back_stages) = runge_kutta(field, there, 1.0, 0.0, 64)
    assert_close(back, y, rtol=0, atol=1e-8)
    assert sum(w * q for w, q in back_stages) == -sum(w * q for w, q in stages)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="num_steps >= 1"):
        next(runge_kutta(lambda t, y: (y, None), torch.ones(1), 0.0, 1.0, 0))
