"""Weights travel: dtype, state_dict, pickle and deepcopy."""

import copy
import io
import pickle

import pyro
import pytest
import torch
from torch.testing import assert_close

from tests.contract.cases import CASES, context_for, data_for, perturbed


def torch_saved(flow):
    buffer = io.BytesIO()
    torch.save(flow, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda flow: pickle.loads(pickle.dumps(flow)),
    "torch.save": torch_saved,
}


def test_copies_score_alike_and_have_a_name_of_their_own(flow):
    context, y = context_for(flow), data_for(flow, 5)
    for kind, make_copy in COPIES.items():
        twin = make_copy(flow)
        assert torch.equal(twin(context).log_prob(y), flow(context).log_prob(y)), kind
        assert twin._pyro_name != flow._pyro_name, kind


def test_copy_shares_no_weight_with_its_original(flow):
    context, y = context_for(flow), data_for(flow, 5)
    before = flow(context).log_prob(y)
    perturbed(copy.deepcopy(flow))
    assert torch.equal(flow(context).log_prob(y), before)


def test_state_dict_carries_the_whole_density(make, flow):
    twin = make().double()
    twin.load_state_dict(flow.state_dict())
    context, y = context_for(flow), data_for(flow, 5)
    assert torch.equal(twin(context).log_prob(y), flow(context).log_prob(y))


def test_distribution_is_pickled_without_its_memo(flow):
    d = flow(context_for(flow))
    y = d.rsample((3,)).detach()
    twin = pickle.loads(pickle.dumps(d))
    assert_close(twin.log_prob(y), d.log_prob(y))


def test_dtype_follows_the_module(make):
    for dtype, flow in ((torch.float32, make()), (torch.float64, make().double())):
        d = flow(context_for(flow))
        y = d.sample((3,))
        assert y.dtype == d.rsample((3,)).dtype == d.log_prob(y).dtype == dtype


def test_single_and_double_precision_agree(make):
    flow = perturbed(make())
    context, y = context_for(flow), data_for(flow, 20)
    single = flow(context).log_prob(y)
    flow.double()
    double = flow(None if context is None else context.double()).log_prob(y.double())
    assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


def test_scoring_and_drawing_leave_the_weights_and_mode_alone(flow):
    before, mode = {name: value.clone() for name, value in flow.state_dict().items()}, flow.training
    flow(context_for(flow)).log_prob(flow(context_for(flow)).sample((4,)))
    assert flow.training == mode
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())


def test_the_same_value_is_scored_and_differentiated_anew_after_every_step_and_by_a_copy(flow):
    context, y = context_for(flow), data_for(flow, 5)
    optimiser, losses = torch.optim.SGD(flow.parameters(), lr=1e-3), []
    for _ in range(3):
        optimiser.zero_grad()
        losses.append(-flow(context).log_prob(y).sum())
        losses[-1].backward()
        optimiser.step()
    assert len({loss.item() for loss in losses}) == 3
    optimiser.zero_grad()
    twin = copy.deepcopy(flow)
    for model in (twin, flow):
        model(context).log_prob(y).sum().backward()
    for p, q in zip(twin.parameters(), flow.parameters(), strict=True):
        assert_close(p.grad, q.grad)


# Flows whose density takes no branch on values. On a device without values a constant elsewhere is an error.
BRANCHLESS = (
    "real-nvp-5d-context",
    "nice-5d-context-logistic",
    "maf-2d-context",
    "spline-2d-context",
    "spline-ar-5d-context",
    "naf-2d-context",
    "bernstein-2d",
    "sum-of-squares-3d-context",
    "circular-2d-context",
    "composition-2d-context",
    "whitened-5d-correlated",
    "positive-1d",
    "stack-2d",
    "glow",
)


@pytest.mark.parametrize("name", BRANCHLESS)
def test_every_tensor_follows_the_flow_to_another_device(name):
    flow = CASES[name]().eval().to("meta")
    context = torch.empty(flow.context_dim, device="meta") if flow.context_dim else None
    with pyro.validation_enabled(False):
        log_prob = flow(context).log_prob(torch.empty(6, *flow.event_shape, device="meta"))
    assert (log_prob.device.type, log_prob.shape) == ("meta", (6,))
    assert all(tensor.is_meta for tensor in (*flow.parameters(), *flow.buffers()))
