"""Acceptance (a) to (c) of every transform: it undoes itself, and its log-determinants are true."""

import math

import pytest
import torch
from torch.testing import assert_close

from tests.contract.cases import context_for, coordinates, data_for, limit_for, perturbed, points_for


def relative_error(value, again):
    return ((again - value).abs() / value.abs().clamp_min(1)).max().item()


@pytest.mark.parametrize(
    ("dtype", "use", "limit"),
    [
        (torch.float64, 0.0, 1e-10),
        (torch.float64, 0.1, 1e-10),
        (torch.float32, 0.0, 1e-5),
        (torch.float32, 0.1, 1e-3),
    ],
)
def test_both_round_trips_return(make, dtype, use, limit):
    flow = perturbed(make().to(dtype), use)
    t = flow.transform(context_for(flow))
    x, y, limit = points_for(flow, 500, scale=3.0), data_for(flow, 500, scale=3.0), limit_for(flow, limit)
    assert relative_error(y, t(t.inv(y))) < limit
    if flow.outer is None:  # near the edge of a support the data's own digits hold less than the latent's
        assert relative_error(x, t.inv(t(x))) < limit


def test_log_det_is_that_of_the_autograd_jacobian(flow):
    context, x = context_for(flow), points_for(flow, 50, scale=2.0)
    transform = flow.transform(context)
    ladj = transform.call_and_ladj(x)[1]
    # Rows are independent, so the derivatives of a sum over rows are those of each.
    jacobians = torch.autograd.functional.jacobian(lambda x: coordinates(flow, transform(x)).sum(0), x)
    jacobians = jacobians.transpose(0, 1).flatten(2)
    assert_close(ladj, torch.linalg.slogdet(jacobians).logabsdet, atol=limit_for(flow, 1e-9), rtol=1e-9)


def test_forward_and_inverse_log_det_sum_to_zero(flow):
    t = flow.transform(context_for(flow))
    scale = 3.0 if flow.outer is None else 1.0
    y, forward = t.call_and_ladj(points_for(flow, 50, scale=scale))
    backward = t.inverse_and_ladj(y)[1]
    assert_close(forward + backward, torch.zeros_like(forward), atol=limit_for(flow, 1e-9), rtol=0)


def test_joint_passes_agree_with_torchs_three_methods(flow):
    t = flow.transform(context_for(flow))
    x = points_for(flow, 10)
    y, forward = t.call_and_ladj(x)
    back, inverse = t.inverse_and_ladj(y)
    assert_close(t(x), y)
    assert_close(t.inv(y), back)
    assert_close(t.log_abs_det_jacobian(x, y), forward)
    assert_close(t.inv.log_abs_det_jacobian(y, x), inverse, atol=limit_for(flow, 1e-9), rtol=1e-9)


def test_log_prob_is_base_density_plus_log_det_of_the_inverse(flow):
    context, y = context_for(flow), data_for(flow, 20)
    x, ladj = flow.transform(context).inverse_and_ladj(y)
    if getattr(flow, "base_name", "normal") == "normal":
        base = torch.distributions.Normal(torch.zeros_like(x), 1.0).log_prob(x)
    else:
        base = -x - 2 * torch.log1p(torch.exp(-x))  # standard logistic
    if hasattr(flow, "circular"):
        base = torch.where(flow.circular > 0, -math.log(2 * math.pi), base)
    assert_close(flow(context).log_prob(y), base.flatten(1).sum(-1) + ladj)


def test_rsample_and_log_prob_agree_with_log_prob(flow):
    d = flow(context_for(flow))
    y, log_prob = d.rsample_and_log_prob((30,))
    assert_close(log_prob, d.log_prob(y.detach().clone()), atol=limit_for(flow, 1e-9), rtol=1e-9)
