"""Solves of continuous flows: closed forms, probes, adjoints, derivatives, failures."""

import copy
import math

import pyro
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, SolverFailed
from pyro_dgm.nets import MLPVelocity, ModuleVelocity, OTPotential, PotentialVelocity
from pyro_dgm.transforms import EULER, MIDPOINT, RK4, AdaptiveSteps, ContinuousTransform, FixedSteps, Probe

A = torch.tensor([[0.3, 1.1], [-0.7, -0.9]], dtype=torch.double)
FINE = AdaptiveSteps(1e-9, 1e-9)


def linear(end_time=1.0):
    return ModuleVelocity(lambda t, x: x @ A.t(), 2, end_time=end_time)


def used(input_dim=2, context_dim=0, hidden_dims=(6, 6)):
    velocity = MLPVelocity(input_dim, context_dim, hidden_dims=hidden_dims).double()
    for p in velocity.parameters():
        nn.init.normal_(p, std=0.5)
    return velocity


def rows(*shape):
    return torch.randn(*shape, dtype=torch.double)


@pytest.mark.parametrize("solver", [FixedSteps(64), FINE], ids=["rk4", "dopri5"])
@pytest.mark.parametrize("trace", ["exact", "autograd"])
def test_linear_field_pushes_a_gaussian_forward_exactly(solver, trace):
    t, x = ContinuousTransform(linear(0.8), solver, trace=trace), rows(7, 2)
    m = torch.linalg.matrix_exp(0.8 * A)
    y, ladj = t.call_and_ladj(x)
    assert_close(y, x @ m.t(), rtol=0, atol=1e-6)
    assert_close(ladj, (0.8 * A.trace()).expand(7), rtol=0, atol=1e-6)
    z, ladj = t.inverse_and_ladj(y)
    log_prob = torch.distributions.MultivariateNormal(torch.zeros(2).double(), m @ m.t()).log_prob(y)
    normal = -0.5 * z.square().sum(1) - math.log(2 * math.pi)
    assert_close(normal + ladj, log_prob, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [EULER, MIDPOINT, RK4], ids=["euler", "midpoint", "rk4"])
def test_steps_of_random_lengths_take_all_of_the_time_and_keep_the_order(method):
    order = {EULER: 1, MIDPOINT: 2, RK4: 4}[method]
    t = ContinuousTransform(linear(0.8), FixedSteps.random(64, method))
    x, m = rows(7, 2), torch.linalg.matrix_exp(0.8 * A)
    y, ladj = t.call_and_ladj(x)
    assert_close(y, x @ m.t(), rtol=0, atol=4 * (1.5 / 64) ** order)
    assert_close(ladj, (0.8 * A.trace()).expand(7), rtol=0, atol=1e-6)
    assert len(set(t.solver.shares)) == 64
    assert torch.autograd.gradgradcheck(t.part(0.1).call_and_ladj, rows(1, 2).requires_grad_())


def test_random_steps_are_at_the_same_times_in_both_directions_and_for_the_adjoint():
    times = set()

    def field(t, x):
        times.add(round(t[0].item(), 9))
        return x * t.sin()

    def times_of(solve):
        times.clear()
        solve()
        return set(times)

    t = ContinuousTransform(ModuleVelocity(field, 1), FixedSteps.random(5), adjoint=True)
    y = rows(2, 1).requires_grad_()
    there = times_of(lambda: t(y.detach()))
    assert len(there) == 11
    assert times_of(lambda: t.inv(y.detach())) == there
    x = t.inverse_and_ladj(y)[0]
    assert times_of(lambda: x.sum().backward()) == there


def test_costs_of_a_linear_field_are_its_integrals_from_base_to_data():
    t = ContinuousTransform(linear(0.8), FixedSteps(64), costs=("kinetic", "jacobian"))
    y = rows(5, 2)
    x, ladj, costs = t.inverse_with_costs(y)
    assert_close((x, ladj), t.inverse_and_ladj(y))
    times = torch.linspace(0, 0.8, 1001, dtype=torch.double)
    paths = torch.stack([x @ torch.linalg.matrix_exp(s * A).t() for s in times])
    kinetic = torch.trapezoid(0.5 * (paths @ A.t()).square().sum(-1), times, dim=0)
    assert_close(costs["kinetic"], kinetic, rtol=1e-5, atol=1e-6)
    assert_close(costs["jacobian"], (0.8 * A.square().sum()).expand(5))


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_hutchinson_mean_over_probes_is_the_exact_trace(kind):
    velocity, y = used(3), rows(1, 3).expand(10_000, 3)  # a probe for every row
    t = ContinuousTransform(velocity, FixedSteps(4), trace=Probe(kind), costs=("jacobian",))
    with torch.no_grad():
        _, estimates, costs = t.inverse_with_costs(y)
        exact = ContinuousTransform(velocity, FixedSteps(4), costs=("jacobian",))
        _, ladj, exact_costs = exact.inverse_with_costs(y[:1])
    for found, expected in ((estimates, ladj), (costs["jacobian"], exact_costs["jacobian"])):
        assert found.std() > 0.01
        assert (found.mean() - expected).abs() < 3 * found.std() / 100


def test_a_probe_is_kept_and_has_unit_covariance():
    for kind in ("rademacher", "gaussian"):
        probe, like = Probe(kind), torch.zeros(20_000, 2, dtype=torch.double)
        drawn = probe.draw(like)
        assert torch.equal(drawn, probe.draw(like))
        assert not torch.equal(drawn, Probe(kind).draw(like))
        assert_close(drawn.t() @ drawn / 20_000, torch.eye(2).double(), rtol=0, atol=4 * 2**0.5 / 20_000**0.5)


@pytest.mark.parametrize("solver", [FixedSteps(64), AdaptiveSteps(1e-7, 1e-7)], ids=["rk4", "dopri5"])
def test_adjoint_gradients_are_those_through_the_steps(solver):
    velocity, y, context = used(2, 1), rows(4, 2), rows(4, 1)

    def gradients(adjoint):
        y.requires_grad_(), context.requires_grad_()
        t = ContinuousTransform(velocity, solver, context, costs=("kinetic",), adjoint=adjoint)
        x, ladj, costs = t.inverse_with_costs(y)
        loss = (x.square().sum(1) + ladj.sin() + costs["kinetic"]).sum()
        return torch.autograd.grad(loss, [y, context, *velocity.parameters()])

    for through, adjoint in zip(gradients(False), gradients(True), strict=True):
        assert (through - adjoint).norm() < 1e-3 * through.norm()


@pytest.mark.parametrize(
    "options",
    [{"solver": FixedSteps(4), "adjoint": True}, {"solver": AdaptiveSteps()}],
    ids=["adjoint", "dopri5"],
)
def test_a_solve_without_second_derivatives_says_so(options):
    y = rows(3, 2).requires_grad_()
    x, ladj = ContinuousTransform(used(), **options).inverse_and_ladj(y)
    (gradient,) = torch.autograd.grad((x.sum() + ladj.sum()), y, create_graph=True)
    with pytest.raises(NotImplementedError, match="fixed steps"):
        gradient.sum().backward()


@pytest.mark.parametrize("method", [EULER, MIDPOINT], ids=["euler", "midpoint"])
@pytest.mark.parametrize("trace", ["exact", "autograd", "gaussian"])
def test_first_and_second_derivatives_are_those_of_finite_differences(method, trace):
    trace = Probe(trace) if trace == "gaussian" else trace
    t, y = ContinuousTransform(used(hidden_dims=(3, 3)), FixedSteps(2, method), trace=trace), rows(1, 2)
    assert torch.autograd.gradcheck(t.inverse_and_ladj, y.requires_grad_())
    assert torch.autograd.gradgradcheck(t.call_and_ladj, y)


def test_weights_have_second_derivatives():
    velocity, y = used(hidden_dims=(2, 2)), rows(1, 2)

    def ladj_of(weight, last):
        twin = copy.deepcopy(velocity)
        for layer, value in ((twin.layers[1], weight), (twin.layers[2], last)):
            del layer.weight
            layer.weight = value
        return ContinuousTransform(twin, FixedSteps(2)).inverse_and_ladj(y)

    weights = [velocity.layers[i].weight.detach().clone().requires_grad_() for i in (1, 2)]
    assert torch.autograd.gradgradcheck(ladj_of, weights)


def test_a_bad_row_changes_no_other_row_of_fixed_steps():
    t, y = ContinuousTransform(used(), FixedSteps(8)), rows(6, 2)
    bad = y.clone()
    bad[1], bad[4, 0] = torch.nan, torch.inf
    good = torch.tensor([0, 2, 3, 5])
    for of_bad, of_good in zip(t.inverse_and_ladj(bad), t.inverse_and_ladj(y), strict=True):
        assert torch.equal(of_bad[good], of_good[good])
        assert not of_bad[1].isfinite().any()


FAILURES = {
    "nan": lambda t, x: torch.where((t > 0.5) & (x > 2.0), torch.nan, x),
    "infinite": lambda t, x: torch.where((t > 0.5) & (x > 2.0), torch.inf, x),
    "blow-up": lambda t, x: x.relu() ** 3,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("solver", [FixedSteps(16), AdaptiveSteps(max_steps=100)], ids=["rk4", "dopri5"])
def test_a_solve_that_fails_says_when_and_where(solver, name):
    t = ContinuousTransform(ModuleVelocity(FAILURES[name], 1), solver)
    x = torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.double)
    with pytest.raises(SolverFailed) as caught:
        t(x)
    error = caught.value
    assert error.rows == (2,)
    assert 0 <= error.t <= 1
    assert 0 < error.nfe <= 6 * 100 + 2
    assert error.reason in str(error)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "network",
    [
        lambda t, x: -1e7 * (x - torch.cos(50 * t)),
        lambda t, x: torch.where(torch.sin(400 * x) > 0, -100.0, 100.0) + 0 * x,
    ],
    ids=["stiff", "discontinuous"],
)
def test_stiff_and_discontinuous_velocities_end_within_the_steps(network):
    t = ContinuousTransform(ModuleVelocity(network, 1), AdaptiveSteps(1e-8, 1e-8, max_steps=50))
    with pytest.raises(SolverFailed) as caught:
        t(torch.ones(3, 1, dtype=torch.double))
    assert caught.value.nfe <= 6 * 50 + 2


def test_without_validation_fixed_steps_give_nan_for_the_row_that_failed():
    t = ContinuousTransform(ModuleVelocity(FAILURES["blow-up"], 1), FixedSteps(16))
    x = torch.tensor([[-1.0], [0.1], [9.0]], dtype=torch.double)
    with pyro.validation_enabled(False):
        y, ladj = t.call_and_ladj(x)
        assert torch.equal(y[:2], t(x[:2]))
    assert not y[2].isfinite()
    assert ladj[:2].isfinite().all()


def test_adaptive_steps_keep_the_tolerance_of_each_row():
    velocity, y = used(), rows(20, 2)
    t = ContinuousTransform(velocity, AdaptiveSteps(1e-6, 1e-6))
    together = t.inverse_and_ladj(y)
    alone = [torch.stack(part) for part in zip(*(t.inverse_and_ladj(row) for row in y), strict=True)]
    exact = ContinuousTransform(velocity, FINE).inverse_and_ladj(y)
    for one, other, truth in zip(together, alone, exact, strict=True):
        assert_close(one, truth, rtol=1e-4, atol=5e-5)
        assert_close(other, truth, rtol=1e-4, atol=5e-5)


def test_path_passes_through_equal_times_whatever_the_solver():
    velocity, x = used(), rows(4, 3, 2)
    fixed = ContinuousTransform(velocity, FixedSteps(32))
    path = fixed.path(x, 8)
    assert path.shape == (9, 4, 3, 2)
    assert torch.equal(path[0], x)
    assert_close(path[-1], fixed(x))
    assert_close(path, ContinuousTransform(velocity, FINE).path(x, 8), rtol=0, atol=1e-4)


def test_evaluations_are_counted():
    velocity, y = used(), rows(4, 2)
    assert ContinuousTransform(velocity, FixedSteps(5)).num_evaluations(y) == 20
    loose, tight = (ContinuousTransform(velocity, AdaptiveSteps(tol, tol)) for tol in (1e-3, 1e-9))
    assert 0 < loose.num_evaluations(y) < tight.num_evaluations(y)


def test_context_broadcasts_and_no_rows_give_no_rows():
    velocity = used(2, 3)
    for solver in (FixedSteps(4), AdaptiveSteps(1e-8, 1e-8)):
        x, context = rows(4, 1, 2), rows(5, 3)
        y, ladj = ContinuousTransform(velocity, solver, context).call_and_ladj(x)
        alone = ContinuousTransform(velocity, solver, context[2]).call_and_ladj(x[1, 0])
        assert_close((y[1, 2], ladj[1, 2]), alone)
        empty = ContinuousTransform(velocity, solver, context[0]).inverse_and_ladj(rows(0, 2))
        assert [part.shape for part in empty] == [(0, 2), (0,)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype):
    t = ContinuousTransform(PotentialVelocity(OTPotential(2)).to(dtype), AdaptiveSteps())
    for direction in (t, t.inv, t.call_and_ladj, t.path):
        with pytest.raises(DataError, match="half precision"):
            direction(torch.zeros(3, 2, dtype=dtype))
