"""Roots of increasing functions: exact, independent, twice differentiable."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import SolverFailed
from pyro_dgm.transforms.root import increasing_root


def cubic(target):
    return lambda s: (s**3 + s - target, 3 * s**2 + 1)


def test_the_root_solves_the_equation_to_rounding():
    target = torch.linspace(-1e3, 1e3, 401, dtype=torch.double)
    root = increasing_root(cubic(target), target.clamp(max=0), target.clamp(min=0))
    assert_close(root**3 + root, target, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("dtype", "steepness"), [(torch.float32, 1e6), (torch.float64, 1e11)])
def test_a_step_that_is_short_because_the_function_is_steep_is_not_taken_for_the_last(dtype, steepness):
    # From the middle of the bracket Newton's steps are tiny; the root is at 1000, where the slope is 0.01.
    def ramp(s):
        t = torch.tanh(steepness * s)
        return 0.01 * s + 50 * t - 60, 0.01 + 50 * steepness * (1 - t * t)

    root = increasing_root(ramp, torch.full((1,), -1e4, dtype=dtype), torch.full((1,), 1e4, dtype=dtype))
    assert_close(root, torch.full((1,), 1e3, dtype=dtype))


def test_first_and_second_derivatives_are_those_of_the_implicit_function():
    target = torch.randn(5, dtype=torch.double, requires_grad=True)

    def solve(target):
        return increasing_root(cubic(target), -torch.ones_like(target) * 9, torch.ones_like(target) * 9)

    assert torch.autograd.gradcheck(solve, target)
    assert torch.autograd.gradgradcheck(solve, target)


def test_a_bracket_that_misses_the_root_expands():
    target = torch.tensor([1e6, -1e6, 0.3], dtype=torch.double)
    root = increasing_root(cubic(target), torch.zeros(3).double(), torch.ones(3).double(), expand=True)
    assert_close(root**3 + root, target, rtol=1e-12, atol=1e-12)


def test_a_value_out_of_reach_is_an_error_and_no_endless_loop():
    with pytest.raises(SolverFailed, match="no preimage"):
        increasing_root(
            lambda s: (torch.tanh(s) - 2, 1 - torch.tanh(s) ** 2), torch.zeros(1), torch.ones(1), expand=True
        )


def test_a_row_that_is_not_a_number_leaves_the_others_as_they_are():
    target = torch.tensor([0.5, torch.nan, -3.0], dtype=torch.double)
    low, high = -5 * torch.ones(3).double(), 5 * torch.ones(3).double()
    root = increasing_root(cubic(target), low, high)
    alone = increasing_root(cubic(target[[0, 2]]), low[:2], high[:2])
    assert root[1].isnan()
    assert (root[[0, 2]] == alone).all()
