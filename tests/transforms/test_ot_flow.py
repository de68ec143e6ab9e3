"""The solve of an OT-Flow: log-determinants, costs, rows and derivatives."""

import copy

import pytest
import torch
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from pyro_dgm.errors import DataError
from pyro_dgm.nets import OTPotential, PotentialVelocity
from pyro_dgm.transforms import FixedSteps, OTFlowTransform, solver


def used_potential(input_dim=2, context_dim=0, scale=0.1, **sizes):
    """A potential as after some training, in double precision."""
    potential = OTPotential(input_dim, context_dim, **{"width": 8, **sizes}).double()
    with torch.no_grad():
        for p in potential.parameters():
            p.add_(scale * torch.randn_like(p))
    return potential


def solve(potential, num_steps, context=None):
    return OTFlowTransform(PotentialVelocity(potential), FixedSteps(num_steps), context)


def plain_potential(b, quadratic=None):
    """b^T s + s^T A^T A s / 2 without a network."""
    potential = OTPotential(len(b) - 1, width=3).double()
    with torch.no_grad():
        potential.w.zero_()
        potential.A.zero_()
        potential.b.copy_(torch.as_tensor(b))
        if quadratic is not None:
            potential.A[: len(quadratic), :-1].copy_(quadratic)
    return potential


@pytest.mark.parametrize(
    "sizes", [{"input_dim": 2}, {"input_dim": 3, "depth": 3}, {"input_dim": 5, "width": 3}]
)
def test_log_det_converges_to_that_of_the_map(sizes):
    potential, y = used_potential(**sizes), torch.randn(sizes["input_dim"], dtype=torch.double)
    errors = []
    for num_steps in (4, 16):
        t = solve(potential, num_steps)
        for joint, map_ in ((t.call_and_ladj, t), (t.inverse_and_ladj, t.inv)):
            errors.append((joint(y)[1] - torch.linalg.slogdet(jacobian(map_, y)).logabsdet).abs())
    assert max(errors[2:]) < 1e-6
    assert max(errors[2:]) < max(errors[:2]) / 30


def test_round_trip_converges_and_log_dets_cancel():
    t, x = used_potential(), torch.randn(20, 2, dtype=torch.double)
    for num_steps, limit in ((4, 1e-2), (16, 1e-5), (64, 1e-7)):
        transform = solve(t, num_steps)
        y, ladj = transform.call_and_ladj(x)
        back, inverse_ladj = transform.inverse_and_ladj(y)
        assert_close(back, x, rtol=0, atol=limit)
        assert_close(ladj, -inverse_ladj, rtol=0, atol=limit)


def test_quadratic_potential_is_a_matrix_exponential():
    a = torch.tensor([[0.8, 0.3], [0.0, 0.5]], dtype=torch.double)
    x = torch.randn(7, 2, dtype=torch.double)
    y, ladj = solve(plain_potential([0.0, 0.0, 0.0], a), 64).call_and_ladj(x)
    assert_close(y, x @ torch.linalg.matrix_exp(a.t() @ a), rtol=0, atol=1e-7)
    assert_close(ladj, a.square().sum().expand(7), rtol=0, atol=1e-12)


def test_linear_potential_moves_at_constant_speed_along_straight_lines():
    b = torch.tensor([0.6, -0.8], dtype=torch.double)
    y = torch.randn(7, 2, dtype=torch.double)
    for of_time in (0.0, 0.5, 0.7):  # -d_t Phi + |grad Phi|^2 / 2 vanishes for 0.5, as |b| = 1
        t = solve(plain_potential([*b.tolist(), of_time]), 3)
        x, ladj, costs = t.inverse_with_costs(y)
        assert_close(x, y - b)
        assert_close(ladj, torch.zeros(7, dtype=torch.double))
        assert_close(costs["transport"], torch.full((7,), 0.5, dtype=torch.double))
        assert_close(costs["hjb"], torch.full((7,), abs(0.5 - of_time), dtype=torch.double))
    steps = t.path(x).diff(dim=0)
    assert_close(steps, (b / 3).expand_as(steps))


def test_costs_come_from_the_same_solve_as_the_density():
    t, y = solve(used_potential(), 8), torch.randn(6, 2, dtype=torch.double)
    x, ladj, costs = t.inverse_with_costs(y)
    assert_close((x, ladj), t.inverse_and_ladj(y))
    assert all(cost.shape == (6,) and (cost > 0).all() for cost in costs.values())
    fine = solve(t.velocity.potential, 64)
    path = fine.path(fine.inv(y))
    kinetic = 0.5 * (path.diff(dim=0) * 64).square().sum(-1).mean(0)
    assert_close(costs["transport"], kinetic, rtol=1e-3, atol=1e-3)


def test_path_leads_from_the_base_to_the_data():
    t, x = solve(used_potential(), 5), torch.randn(4, 3, 2, dtype=torch.double)
    path = t.path(x)
    assert path.shape == (6, 4, 3, 2)
    assert torch.equal(path[0], x)
    assert torch.equal(path[-1], t(x))


def test_values_alone_compute_no_trace(monkeypatch):
    t, x = solve(used_potential(), 4), torch.randn(5, 2, dtype=torch.double)
    expected = t.call_and_ladj(x)[0], t.inverse_and_ladj(x)[0]
    monkeypatch.setattr(OTPotential, "trace", lambda *_: pytest.fail("the trace was computed"))
    assert torch.equal(t(x), expected[0])
    assert torch.equal(t.inv(x), expected[1])


def test_a_bad_row_changes_no_other_row():
    t, y = solve(used_potential(), 8), torch.randn(9, 2, dtype=torch.double)
    bad = y.clone()
    bad[3], bad[5, 1], bad[7] = torch.nan, torch.inf, 1e200
    good = torch.tensor([0, 1, 2, 4, 6, 8])
    for of_bad, of_good in zip(t.inverse_and_ladj(bad), t.inverse_and_ladj(y), strict=True):
        assert_close(of_bad[good], of_good[good], rtol=0, atol=1e-12)
    assert t.inverse_and_ladj(bad)[0][3].isnan().all()


def test_how_many_stages_are_integrated_at_once_changes_nothing(monkeypatch):
    t, y = solve(used_potential(), 8), torch.randn(9, 2, dtype=torch.double)
    expected = t.inverse_with_costs(y)
    monkeypatch.setattr(solver, "_NUMBERS_AT_ONCE", 1)
    assert_close(t.inverse_with_costs(y), expected)


def test_context_broadcasts_against_values():
    potential = used_potential(context_dim=3)
    x, context = torch.randn(4, 1, 2, dtype=torch.double), torch.randn(5, 3, dtype=torch.double)
    y, ladj = solve(potential, 4, context).call_and_ladj(x)
    assert y.shape == (4, 5, 2)
    assert ladj.shape == (4, 5)
    alone = solve(potential, 4, context[2]).call_and_ladj(x[1, 0])
    assert_close((y[1, 2], ladj[1, 2]), alone)


def test_first_and_second_derivatives_are_those_of_finite_differences():
    t, y = solve(used_potential(width=2), 2), torch.randn(1, 2, dtype=torch.double)
    for joint in (t.call_and_ladj, t.inverse_and_ladj):
        assert torch.autograd.gradcheck(joint, y.requires_grad_())
        assert torch.autograd.gradgradcheck(joint, y)


def test_weights_have_first_and_second_derivatives():
    potential, y = used_potential(width=2, rank=1), torch.randn(2, 2, dtype=torch.double)

    def costs_of(w, a):
        # Weights in place of parameters, so that the whole solve is a function of them.
        twin = copy.deepcopy(potential)
        del twin.w, twin.A
        twin.w, twin.A = w, a
        x, ladj, costs = solve(twin, 2).inverse_with_costs(y)
        return x, ladj, costs["transport"], costs["hjb"]

    weights = [p.detach().clone().requires_grad_() for p in (potential.w, potential.A)]
    assert torch.autograd.gradcheck(costs_of, weights)
    assert torch.autograd.gradgradcheck(costs_of, weights)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own forward-mode rules
def test_it_runs_under_function_transforms():
    t, y = solve(used_potential(), 4), torch.randn(5, 2, dtype=torch.double)
    by_row = torch.func.vmap(torch.func.jacrev(t.inv))(y)
    assert_close(torch.linalg.slogdet(by_row).logabsdet, t.inverse_and_ladj(y)[1], rtol=0, atol=1e-4)
    assert_close(torch.func.vmap(torch.func.jacfwd(t.inv))(y), by_row)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype):
    t = solve(OTPotential(2).to(dtype), 4)
    for direction in (t, t.inv, t.call_and_ladj, t.inverse_and_ladj, t.inverse_with_costs):
        with pytest.raises(DataError, match="half precision"):
            direction(torch.zeros(3, 2, dtype=dtype))


def test_no_rows_give_no_rows():
    x, ladj, costs = solve(OTPotential(2), 4).inverse_with_costs(torch.zeros(0, 2))
    assert x.shape == (0, 2)
    assert ladj.shape == costs["hjb"].shape == (0,)
