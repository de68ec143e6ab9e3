"""A solve as one operation: its gradients are those of automatic differentiation, of every order."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.nets import MLPVelocity, OTPotential, PotentialVelocity
from pyro_dgm.transforms import EULER, MIDPOINT, RK4, ContinuousTransform, FixedSteps, OTFlowTransform, solver

KINDS = {
    "mlp": lambda: MLPVelocity(2, 1, hidden_dims=(5, 4)),
    "mlp without context": lambda: MLPVelocity(3, hidden_dims=(4, 6)),
    "potential": lambda: PotentialVelocity(OTPotential(2, 1, width=4)),
    "wide potential": lambda: PotentialVelocity(OTPotential(4, width=3)),
}


@pytest.fixture(params=KINDS)
def velocity(request):
    velocity = KINDS[request.param]().double()
    for p in velocity.parameters():
        nn.init.normal_(p, std=0.5)
    return velocity


def transform(velocity, steps, context=None):
    if isinstance(velocity, PotentialVelocity):
        return OTFlowTransform(velocity, steps, context)
    return ContinuousTransform(velocity, steps, context, costs=("kinetic",))


def inputs(velocity, num=3):
    y = torch.randn(num, velocity.input_dim, dtype=torch.double, requires_grad=True)
    context = torch.randn(num, velocity.context_dim, dtype=torch.double, requires_grad=True)
    return (y, context) if velocity.context_dim else (y, None)


def unfused(monkeypatch):
    monkeypatch.setattr(solver, "can_fuse", lambda *_: False)


def calls(monkeypatch):
    """A list that grows whenever a solve is fused."""
    made, original = [], solver.fused_solve
    monkeypatch.setattr(solver, "fused_solve", lambda *given: (made.append(given), original(*given))[1])
    return made


@pytest.mark.parametrize("method", [EULER, MIDPOINT, RK4], ids=["euler", "midpoint", "rk4"])
@pytest.mark.parametrize("kind", [FixedSteps, FixedSteps.random], ids=["equal", "random"])
def test_gradients_are_those_of_automatic_differentiation(velocity, method, kind, monkeypatch):
    (y, context), steps, made = inputs(velocity), kind(3, method), calls(monkeypatch)
    wanted = [t for t in (y, context, *velocity.parameters()) if t is not None]

    def gradients():
        t = transform(velocity, steps, context)
        x, ladj, costs = t.inverse_with_costs(y)
        z, other = t.call_and_ladj(y)
        values = (
            x.square().sum(1) + ladj.sin() + sum(c.square() for c in costs.values()),
            z.sin().sum(1) * other,
        )
        return values, torch.autograd.grad(sum(v.sum() for v in values), wanted)

    values, fused = gradients()
    assert len(made) == 2
    unfused(monkeypatch)
    assert_close((values, fused), gradients(), rtol=1e-9, atol=1e-9)


def test_second_derivatives_are_those_of_finite_differences(velocity):
    (y, context) = inputs(velocity, 1)
    context = None if context is None else context.detach()

    def solve(y):
        x, ladj, costs = transform(velocity, FixedSteps(2, MIDPOINT), context).inverse_with_costs(y)
        return x, ladj, costs[next(iter(costs))]

    assert torch.autograd.gradcheck(solve, y)
    assert torch.autograd.gradgradcheck(solve, y)


def test_the_gradient_of_a_gradients_size_reaches_every_weight(velocity, monkeypatch):
    y, context = inputs(velocity)
    parameters = list(velocity.parameters())

    def of_penalty():
        ladj = transform(velocity, FixedSteps(2), context).inverse_and_ladj(y)[1]
        (gradient,) = torch.autograd.grad(ladj.sum(), y, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), parameters, allow_unused=True)

    fused = of_penalty()
    unfused(monkeypatch)
    for one, other in zip(fused, of_penalty(), strict=True):
        assert_close(torch.zeros(()) if one is None else one, torch.zeros(()) if other is None else other)
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in fused) >= 5


def test_many_gradients_at_once_are_those_one_by_one(velocity):
    y, context = inputs(velocity, 2)
    x, ladj = transform(velocity, FixedSteps(2), context).inverse_and_ladj(y)
    directions = torch.randn(4, *x.shape, dtype=torch.double)
    both = lambda d, **options: torch.autograd.grad((x, ladj), y, d, retain_graph=True, **options)[0]  # noqa: E731
    ones = torch.ones(4, len(x), dtype=torch.double)
    together = both((directions, ones), is_grads_batched=True)
    assert_close(together, torch.stack([both((d, one)) for d, one in zip(directions, ones, strict=True)]))


def test_only_what_is_in_closed_form_is_fused(monkeypatch):
    made, y = calls(monkeypatch), torch.randn(3, 2)
    velocity = MLPVelocity(2, hidden_dims=(4, 4))
    for options in ({"trace": "autograd"}, {"costs": ("jacobian",)}):
        ContinuousTransform(velocity, FixedSteps(2), **options).inverse_with_costs(y)
    ContinuousTransform(MLPVelocity(2, hidden_dims=(4,)), FixedSteps(2)).inverse_and_ladj(y)
    with torch.no_grad():
        ContinuousTransform(velocity, FixedSteps(2)).inverse_and_ladj(y)
    ContinuousTransform(velocity, FixedSteps(2))(y)
    torch.func.vmap(ContinuousTransform(velocity, FixedSteps(2)).inverse_and_ladj)(y)
    assert not made
    ContinuousTransform(velocity, FixedSteps(2)).inverse_and_ladj(y)
    assert len(made) == 1


def test_a_bad_row_changes_no_other_row_and_its_gradient_no_other_gradient():
    velocity = MLPVelocity(2, hidden_dims=(4, 4)).double()
    nn.init.normal_(velocity.layers[-1].weight)
    t, y = ContinuousTransform(velocity, FixedSteps(4)), torch.randn(5, 2, dtype=torch.double)
    bad = y.clone()
    bad[1] = torch.nan
    found = []
    for given in (y, bad):
        given.requires_grad_()
        x, ladj = t.inverse_and_ladj(given)
        found.append((x, ladj, torch.autograd.grad((x.sum(1) + ladj).nansum(), given)[0]))
    good = [0, 2, 3, 4]
    for of_good, of_bad in zip(*found, strict=True):
        assert_close(of_bad[good], of_good[good])
