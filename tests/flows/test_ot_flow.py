"""OTFlow as a flow: step counts, penalties, density, copies."""

import copy
import pickle

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import OTFlow


def used_flow(input_dim=2, context_dim=0, scale=0.1, **options):
    """A flow as after some training, in evaluation mode."""
    flow = OTFlow(input_dim, context_dim, **options)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(scale * torch.randn_like(p))
    return flow.eval()


def test_training_and_evaluation_take_their_own_steps():
    flow = OTFlow(2, nt_train=3, nt_eval=17)
    assert flow.transform().solver.num_steps == 3
    assert flow.eval().transform().solver.num_steps == 17
    assert flow.train().freeze().train().transform().solver.num_steps == 17


def test_penalties_are_named_for_what_they_weigh():
    flow = OTFlow(2, transport_weight=0.2, hjb_weight=0.7)
    assert flow.penalties == {"transport": 0.2, "hjb": 0.7}
    assert flow.penalties.keys() == flow().score_with_costs(torch.zeros(3, 2)).keys()
    assert OTFlow(2, transport_weight=0, hjb_weight=0).penalties == {}


@torch.no_grad()
def test_density_integrates_to_one():
    for context in (None, torch.randn(3)):
        flow = used_flow(2, 0 if context is None else 3)
        axis = torch.linspace(-15, 15, 201)
        y = torch.cartesian_prod(axis, axis)
        mass = flow(context).log_prob(y).double().exp().sum().item() * (axis[1] - axis[0]).item() ** 2
        assert abs(mass - 1) < 1e-3


@torch.no_grad()
def test_round_trip_converges_to_single_precision():
    flow, x = used_flow(), torch.randn(500, 2)
    errors = []
    for flow.nt_eval in (4, 16):
        t = flow.transform()
        errors.append(((t.inv(t(x)) - x).abs() / x.abs().clamp(min=1)).max().item())
    assert errors[1] < min(1e-5, errors[0])


def test_batch_shape_is_that_of_the_context():
    flow = used_flow(2, context_dim=3, width=8)
    d = flow(torch.randn(5, 1, 3))
    assert d.batch_shape == (5, 1)
    assert d.sample((4,)).shape == (4, 5, 1, 2)
    assert d.log_prob(torch.randn(7, 2)).shape == (5, 7)
    with pytest.raises(ShapeError, match="context"):
        flow()


def test_copies_score_alike_under_a_name_of_their_own():
    flow, y = used_flow(width=8), torch.randn(5, 2)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert torch.equal(twin().log_prob(y), flow().log_prob(y))
        assert twin._pyro_name != flow._pyro_name
        assert twin.penalties == flow.penalties


def test_every_weight_gets_a_finite_gradient_from_density_and_costs():
    flow = OTFlow(3, context_dim=2, depth=3, width=8)
    d, y = flow(torch.randn(6, 2)), torch.randn(6, 3)
    costs = d.score_with_costs(y)
    (sum(costs.values()) - d.log_prob(y)).sum().backward()
    for name, p in flow.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


def test_it_trains_in_a_plain_function_under_svi():
    flow, y = OTFlow(2, width=8), torch.randn(64, 2) + torch.tensor([2.0, 0.0])

    def model():
        with pyro.plate("data", len(y)):
            pyro.sample("x", flow().expand([len(y)]), obs=y)

    svi = SVI(model, lambda: None, pyro.optim.Adam({"lr": 3e-2}), Trace_ELBO())
    losses = [svi.step() / len(y) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.5


def test_draws_are_scored_from_the_drawing_pass():
    d = used_flow(width=8)()
    y, log_prob = d.rsample_and_log_prob((50,))
    assert_close(log_prob, d.log_prob(y), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nt_train": 0}, "nt_train"),
        ({"nt_train": 8, "nt_eval": 4}, "nt_eval"),
        ({"hjb_weight": -1.0}, "not negative"),
        ({"depth": 1}, "depth >= 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OTFlow(2, **options)
