"""The log-mass of binary rows with few logarithms: values and derivatives of the plain formula."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.distributions.row_log_mass import entry_log_mass, row_log_mass


def rows(size, dtype=torch.double):
    torch.manual_seed(0)
    return 3 * torch.randn(3, size, dtype=dtype), torch.rand(3, size, dtype=dtype)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 24, 127, 784])
def test_values_and_gradients_are_those_of_the_sum_over_entries(size):
    logits, value = (t.requires_grad_() for t in rows(size))
    found, expected = row_log_mass(logits, value), entry_log_mass(logits, value).sum(-1)
    assert_close(found, expected)
    weight = torch.randn(3, dtype=torch.double)
    for ours, theirs in zip(
        *(torch.autograd.grad((f * weight).sum(), (logits, value)) for f in (found, expected)), strict=True
    ):
        assert_close(ours, theirs)
    with torch.no_grad():
        assert_close(row_log_mass(logits, value), expected.detach())


def test_first_and_second_derivatives_are_those_of_finite_differences():
    logits, value = (t.requires_grad_() for t in rows(8))
    assert torch.autograd.gradcheck(row_log_mass, (logits, value))
    assert torch.autograd.gradgradcheck(row_log_mass, (logits, value))


@pytest.mark.parametrize(("left", "right"), [((8,), (4, 8)), ((5, 4, 8), (4, 8)), ((4, 8), (5, 1, 8))])
def test_both_sides_broadcast_and_gradients_have_their_shapes(left, right):
    logits = torch.randn(left, dtype=torch.double, requires_grad=True)
    value = torch.rand(right, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(row_log_mass, (logits, value))


def test_transforms_of_functions_see_the_formula():
    logits, value = rows(16)
    jacobian = torch.func.vmap(torch.func.grad(row_log_mass))(logits, value)
    assert_close(jacobian, value - logits.sigmoid())


def test_batched_gradients_are_those_of_one_after_the_other():
    logits, value = rows(16)
    logits.requires_grad_()
    found = row_log_mass(logits, value)
    (rows_of,) = torch.autograd.grad(found, logits, torch.eye(3, dtype=torch.double), is_grads_batched=True)
    expected = torch.eye(3, dtype=torch.double).unsqueeze(-1) * (value - logits.sigmoid())
    assert_close(rows_of, expected.detach())


def test_extreme_logits_neither_overflow_nor_underflow():
    logits = torch.tensor([[400.0] * 112, [-400.0] * 112, [0.0] * 112], requires_grad=True)
    value = torch.zeros(112)
    found = row_log_mass(logits, value)
    assert_close(found, torch.tensor([-400.0 * 112, 0.0, -112 * 0.6931472]))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert_close(gradient[:, 0], torch.tensor([-1.0, 0.0, -0.5]))
