"""A flow as an observed site: plates, subsampling, mask and scale."""

import pyro
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch.testing import assert_close

from tests.pyro.sites import small_flow


def log_joint(model, *args):
    trace = poutine.trace(model).get_trace(*args)
    trace.compute_log_prob()
    return trace.log_prob_sum(), trace


def test_site_scores_each_row_of_a_plate():
    flow, x = small_flow(), torch.randn(7, 2).double()

    def model():
        with pyro.plate("data", 7):
            pyro.sample("x", flow(), obs=x)

    total, trace = log_joint(model)
    assert_close(total, flow().log_prob(x).sum())
    assert trace.nodes["x"]["log_prob"].shape == (7,)


def test_nested_plates_with_subsampling_scale_the_log_joint():
    flow, x = small_flow(), torch.randn(3, 10, 2).double()

    def model():
        with pyro.plate("groups", 3, dim=-2), pyro.plate("data", 10, subsample_size=4, dim=-1) as rows:
            pyro.sample("x", flow(), obs=x[:, rows])
        return rows

    total, trace = log_joint(model)
    rows = trace.nodes["_RETURN"]["value"]
    assert trace.nodes["x"]["log_prob"].shape == (3, 4)
    assert_close(total, 10 / 4 * flow().log_prob(x[:, rows]).sum())


def test_draws_fill_nested_plates_with_independent_rows():
    flow = small_flow()

    def model():
        with pyro.plate("groups", 3, dim=-2), pyro.plate("data", 5, dim=-1):
            return pyro.sample("x", flow())

    x = model()
    assert x.shape == (3, 5, 2)
    assert len(x.reshape(15, 2).unique(dim=0)) == 15


def test_context_rows_are_the_rows_of_the_plate():
    flow, context, x = small_flow(context_dim=3), torch.randn(6, 3).double(), torch.randn(6, 2).double()

    def model():
        with pyro.plate("data", 6, subsample=torch.tensor([1, 4])) as rows:
            pyro.sample("x", flow(context[rows]), obs=x[rows])

    single = sum(flow(context[i]).log_prob(x[i]) for i in (1, 4))
    assert_close(log_joint(model)[0], 3 * single)


def test_mask_leaves_out_rows_and_scale_multiplies():
    flow, x = small_flow(), torch.randn(4, 2).double()
    keep = torch.tensor([True, False, True, True])

    def model():
        with pyro.plate("data", 4), poutine.mask(mask=keep), poutine.scale(scale=2.5):
            pyro.sample("x", flow(), obs=x)

    assert_close(log_joint(model)[0], 2.5 * flow().log_prob(x[keep]).sum())


def test_masked_row_that_is_far_out_gives_no_gradient():
    flow, x = small_flow(), torch.randn(4, 2).double()
    x[1] = 1e6

    def model():
        with pyro.plate("data", 4), poutine.mask(mask=torch.arange(4) != 1):
            pyro.sample("x", flow(), obs=x)

    log_joint(model)[0].backward()
    masked = [p.grad.clone() for p in flow.parameters()]
    flow.zero_grad()
    flow().log_prob(x[torch.arange(4) != 1]).sum().backward()
    for grad, p in zip(masked, flow.parameters(), strict=True):
        assert_close(grad, p.grad)


def test_plain_function_model_trains_towards_the_data():
    flow, x = small_flow(), (3 + 0.5 * torch.randn(500, 2)).double()

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", flow(), obs=x)

    svi = SVI(model, lambda x: None, pyro.optim.Adam({"lr": 2e-2}), Trace_ELBO())
    losses = [svi.step(x) / len(x) for _ in range(150)]
    entropy = 2 * (0.5 + 0.5 * torch.tensor(2 * torch.pi).log() + torch.tensor(0.5).log()).item()
    assert losses[0] > entropy + 3
    assert entropy - 0.1 < losses[-1] < entropy + 0.3


def test_condition_and_replay_put_values_where_they_belong():
    flow, x = small_flow(), torch.randn(2).double()

    def model():
        return pyro.sample("x", flow())

    conditioned = poutine.trace(poutine.condition(model, {"x": x})).get_trace()
    assert_close(conditioned.log_prob_sum(), flow().log_prob(x))
    first = poutine.trace(model).get_trace()
    assert torch.equal(poutine.replay(model, trace=first)(), first.nodes["x"]["value"])
