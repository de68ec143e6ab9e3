"""CNF and FFJORD as flows: modes, probes, penalties, training."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.flows import CNF, FFJORD, OTFlow
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.nets import ModuleVelocity
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit
from pyro_dgm.transforms import AdaptiveSteps, FixedSteps, Probe


def used(flow, scale=0.3):
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(scale * torch.randn_like(p))
    return flow


FIELDS = {"mlp": (8, 8), "concatsquash": (8, 8), "planar": (8,), "potential": (8, 8)}


@pytest.mark.parametrize("field", FIELDS)
def test_density_integrates_to_one(field):
    flow = used(CNF(2, field=field, hidden_dims=FIELDS[field]), 0.2).eval()
    axis = torch.linspace(-12, 12, 97)
    with torch.no_grad():
        mass = flow().log_prob(torch.cartesian_prod(axis, axis)).double().exp().sum().item() * 0.25**2
    assert abs(mass - 1) < 1e-3


@pytest.mark.parametrize("field", FIELDS)
def test_every_weight_gets_a_finite_gradient_from_density_and_costs(field):
    flow = CNF(
        3, 2, field=field, hidden_dims=FIELDS[field], kinetic_weight=0.1, jacobian_weight=0.1, nt_train=2
    )
    d, y = used(flow)(torch.randn(6, 2)), torch.randn(6, 3)
    costs = d.score_with_costs(y)
    assert costs.keys() == flow.penalties.keys() == {"kinetic", "jacobian"}
    (sum(costs.values()) - d.log_prob(y)).sum().backward()
    for name, p in flow.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


def test_a_distribution_keeps_its_probe_and_evaluation_has_none():
    flow, y = used(FFJORD(3, hidden_dims=(8, 8))), torch.randn(5, 3)
    d = flow()
    assert torch.equal(d.log_prob(y), d.log_prob(y.clone()))
    assert not torch.equal(d.log_prob(y), flow().log_prob(y))
    assert isinstance(flow.transform().trace, Probe)
    exact = CNF(3, field="concatsquash", hidden_dims=(8, 8))
    exact.load_state_dict(flow.state_dict())
    flow.eval()
    assert torch.equal(flow().log_prob(y), flow().log_prob(y))
    assert_close(flow().log_prob(y), exact.eval()().log_prob(y))


def test_training_and_evaluation_take_their_own_steps():
    flow = CNF(2, nt_train=3, nt_eval=17)
    assert flow.transform().solver.num_steps == 3
    assert flow.eval().transform().solver.num_steps == 17


@pytest.mark.parametrize("kind", [CNF, OTFlow])
def test_random_steps_are_drawn_anew_for_each_distribution_in_training_alone(kind):
    flow, y = used(kind(2, nt_train=3, random_steps=True)), torch.randn(5, 2)
    d = flow()
    assert torch.equal(d.log_prob(y), d.log_prob(y.clone()))
    assert not torch.equal(d.log_prob(y), flow().log_prob(y))
    assert flow.eval().transform().solver == FixedSteps(flow.nt_eval)


def test_solvers_and_gradients_agree():
    flow, y = used(CNF(2, hidden_dims=(8, 8), nt_eval=64)).double().eval(), torch.randn(6, 2).double()
    expected = flow().log_prob(y)
    for solver, nt, limit in (("midpoint", 64, 1e-3), ("euler", 64, 0.1), ("dopri5", 1, 1e-4)):
        flow.solver, flow.nt_eval = solver, nt
        assert_close(flow().log_prob(y), expected, rtol=0, atol=limit)
    flow.solver, flow.nt_eval = "rk4", 64
    gradients = []
    for flow.gradient in ("backprop", "adjoint"):
        grads = torch.autograd.grad(flow().log_prob(y).sum(), list(flow.parameters()))
        gradients.append(torch.cat([g.flatten() for g in grads]))
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()


def test_dopri5_has_its_tolerance_and_limit():
    solver = CNF(2, solver="dopri5", tolerance=1e-4, max_steps=7).transform().solver
    assert solver == AdaptiveSteps(1e-4, 1e-4, 7)


def test_a_field_of_ones_own_trains_with_its_trace_by_autograd():
    class Field(nn.Module):
        def __init__(self, input_dim, context_dim):
            super().__init__()
            self.linear = nn.Linear(input_dim + 1 + context_dim, input_dim)

        def forward(self, t, x, context):
            return self.linear(torch.cat([t, x, context], 1)).sin()

    flow = CNF(2, 1, field=lambda n, c: ModuleVelocity(Field(n, c), n, c), nt_train=2)
    y, context = torch.randn(5, 2), torch.randn(5, 1)
    flow(context).log_prob(y).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in flow.parameters())
    assert_close(flow(context).rsample_and_log_prob()[1].shape, torch.Size([5]))


def test_penalties_exist_in_training_alone_and_their_costs_are_reported_beside_them():
    model = NormalizingFlow(used(CNF(2, hidden_dims=(8, 8), kinetic_weight=0.5, jacobian_weight=0.25)))
    loss, y = ELBO(model), torch.randn(20, 2)
    total = loss(y)
    costs = {name: cost.mean() for name, cost in model.flow().score_with_costs(y).items()}
    assert loss.terms.keys() == {"J_ML", "penalty_kinetic", "penalty_jacobian", "kinetic", "jacobian"}
    assert_close(loss.terms["kinetic"], costs["kinetic"])
    assert_close(loss.terms["penalty_kinetic"], 0.5 * costs["kinetic"])
    assert_close(loss.terms["jacobian"], costs["jacobian"])
    assert_close(loss.terms["penalty_jacobian"], 0.25 * costs["jacobian"])
    parts = ("J_ML", "penalty_kinetic", "penalty_jacobian")
    assert_close(total, sum(loss.terms[part] for part in parts))
    history = fit(model, y, steps=2, progress=False)
    assert len(history["kinetic"]) == len(history["penalty_kinetic"]) == 2
    loss.evaluate_loss(y)
    assert loss.terms.keys() == {"J_ML"}


@pytest.mark.parametrize("kind", [CNF, pytest.param(FFJORD, marks=pytest.mark.slow)])
def test_it_learns_a_shifted_normal(kind):
    x = 0.5 * torch.randn(512, 2) + torch.tensor([2.0, -1.0])
    model = NormalizingFlow(kind(2, hidden_dims=(16, 16), nt_train=4))
    fit(model, x, steps=80, lr=2e-2, progress=False)
    truth = torch.distributions.Normal(torch.tensor([2.0, -1.0]), 0.5).log_prob(x).sum(1).mean()
    assert truth - model.log_prob(x).mean() < 0.15


def test_copies_score_alike():
    flow, y = used(CNF(2, hidden_dims=(8, 8))).eval(), torch.randn(5, 2)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert torch.equal(twin().log_prob(y), flow().log_prob(y))


@pytest.mark.parametrize(
    "options",
    [{"trace": "hutch"}, {"solver": "rk5"}, {"gradient": "none"}, {"field": "mpl"}],
)
def test_unknown_names_are_refused(options):
    with pytest.raises(UnknownNameError, match="Valid names"):
        CNF(2, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"nt_train": 0},
        {"nt_train": 8, "nt_eval": 4},
        {"kinetic_weight": -1.0},
        {"field": "planar", "hidden_dims": (4, 4)},
        {"field": "potential", "hidden_dims": (4, 8)},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=r"needs|one width"):
        CNF(2, **options)


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": -1e-3}, {"max_steps": 0}])
def test_adaptive_steps_without_room_are_refused_when_the_flow_is_built(options):
    with pytest.raises(DataError, match=next(iter(options))):
        CNF(2, solver="dopri5", **options)


@pytest.mark.parametrize("field", FIELDS)
def test_a_velocity_without_hidden_layers_is_refused_and_not_replaced(field):
    with pytest.raises(ValueError, match="hidden"):
        CNF(2, field=field, hidden_dims=())


@pytest.mark.parametrize("field", FIELDS)
def test_every_trace_gradient_and_solver_gives_the_density_and_its_gradient(field):
    torch.manual_seed(3)
    flow = CNF(2, field=field, hidden_dims=(4,) * len(FIELDS[field]), nt_train=8, nt_eval=8, tolerance=1e-6)
    flow, y = used(flow).double(), torch.randn(4, 2, dtype=torch.double)

    def scored():
        log_prob = flow().log_prob(y)
        gradients = torch.autograd.grad(log_prob.sum(), list(flow.parameters()), allow_unused=True)
        return log_prob, torch.cat([g.flatten() for g in gradients if g is not None])

    log_prob, gradient = scored()
    limits = {"rk4": 1e-4, "midpoint": 2e-2, "euler": 0.3, "dopri5": 1e-3}
    for flow.trace in ("exact", "autograd", "rademacher", "gaussian"):
        for flow.solver, limit in limits.items():
            found = {}
            for flow.gradient in ("backprop", "adjoint"):
                torch.manual_seed(0)  # one and the same probe
                found[flow.gradient] = scored()
            (value, through), (again, adjoint) = found.values()
            assert_close(value, again)
            assert (through - adjoint).norm() < max(limit, 1e-3) * through.norm() + 1e-6
            if flow.trace in ("exact", "autograd"):
                assert_close(value, log_prob, rtol=0, atol=limit)
                assert (through - gradient).norm() < limit * gradient.norm()
