"""Shapes, broadcasting, empty batches, and what is refused."""

import pytest
import torch
from torch.distributions import constraints
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import MAF
from tests.contract.cases import chart, context_for, data_for


@pytest.mark.parametrize("batch", [(), (7,), (4, 3), (2, 1, 3)])
def test_log_prob_and_draws_have_the_shapes_of_torch(flow, batch):
    d = flow(context_for(flow))
    assert d.log_prob(data_for(flow, *batch)).shape == batch
    assert d.sample(batch).shape == d.rsample(batch).shape == (*batch, *flow.event_shape)
    y, log_prob = d.rsample_and_log_prob(batch)
    assert y.shape == (*batch, *flow.event_shape)
    assert log_prob.shape == batch


@pytest.mark.parametrize("batch", [(), (4,), (3, 1)])
def test_batch_shape_is_that_of_the_context(flow, batch):
    d = flow(context_for(flow, *batch))
    expected = batch if flow.context_dim else ()
    assert d.batch_shape == expected
    assert d.event_shape == flow.event_shape
    assert d.sample((5,)).shape == (5, *expected, *flow.event_shape)
    assert d.log_prob(data_for(flow, 5, *expected)).shape == (5, *expected)


def test_value_and_context_broadcast(flow):
    context = context_for(flow, 4, 1)
    batch = (4, 3) if flow.context_dim else (3,)
    d, y = flow(context), data_for(flow, 3)
    assert_close(d.log_prob(y), d.log_prob(y.expand(*batch, *flow.event_shape).clone()))


def test_each_row_is_scored_with_its_own_context(flow):
    context, y = context_for(flow, 6), data_for(flow, 6)
    rows = [flow(None if context is None else context[i]).log_prob(y[i]) for i in range(6)]
    assert_close(flow(context).log_prob(y), torch.stack(rows))


def test_empty_batches_are_scored_and_drawn(flow):
    d = flow(context_for(flow))
    assert d.log_prob(data_for(flow, 0)).shape == (0,)
    assert d.sample((0,)).shape == d.rsample((0,)).shape == (0, *flow.event_shape)
    empty = flow(context_for(flow, 0))
    assert empty.log_prob(data_for(flow, 0)).shape == (0,)


@pytest.mark.parametrize("shape", [(), (3,), (2,), (4, 5), (4, 1)])
def test_shapes_that_a_distribution_does_not_expand_to_are_refused(shape):
    d = MAF(2, context_dim=1, hidden_dims=(8,))(torch.zeros(2, 4, 1))
    with pytest.raises(ShapeError, match=r"batch_shape=\(2, 4\)"):
        d.expand(torch.Size(shape))
    assert d.expand(torch.Size([3, 2, 4])).batch_shape == (3, 2, 4)


def test_expanded_distribution_draws_independent_members(flow):
    d = flow(context_for(flow)).expand(torch.Size([4, 5]))
    y = d.sample((3,))
    assert d.batch_shape == (4, 5)
    assert y.shape == (3, 4, 5, *flow.event_shape)
    assert y.reshape(60, -1).unique(dim=0).shape[0] == 60
    assert_close(
        d.log_prob(y), flow(context_for(flow)).log_prob(y) if not flow.context_dim else d.log_prob(y.clone())
    )


def test_to_event_and_mask_work_as_for_any_pyro_distribution(flow):
    d, y = flow(context_for(flow)).expand(torch.Size([3])), data_for(flow, 3)
    assert_close(d.to_event(1).log_prob(y), d.log_prob(y).sum())
    keep = torch.tensor([True, False, True])
    assert_close(d.mask(keep).log_prob(y), d.log_prob(y) * keep)


def test_support_holds_the_draws_which_are_reparameterised(flow):
    d = flow(context_for(flow))
    assert d.has_rsample
    if chart(flow) is None and len(flow.event_shape) == 1:
        assert d.support is constraints.real_vector
    assert d.support.event_dim == len(flow.event_shape)
    assert d.support.check(d.sample((50,))).all()
    assert not d.sample().requires_grad
    assert d.rsample().requires_grad


@pytest.mark.parametrize("shape", [lambda d: (3, d + 1), lambda d: (d + 1,), lambda d: ()])
def test_value_of_the_wrong_event_size_is_refused(flow, shape):
    with pytest.raises(ShapeError, match="events of shape"):
        flow(context_for(flow)).log_prob(torch.zeros(shape(flow.input_dim), dtype=torch.double))


def test_context_that_does_not_fit_is_refused(flow):
    wrong = [torch.zeros(4, flow.context_dim + 1, dtype=torch.double)]
    wrong += [None] if flow.context_dim else []
    for context in wrong:
        with pytest.raises(ShapeError, match=f"context_dim={flow.context_dim}"):
            flow(context)


def test_context_changes_the_density(flow):
    if flow.context_dim:
        y = data_for(flow, 4)
        assert not torch.allclose(
            flow(context_for(flow)).log_prob(y), flow(context_for(flow)).log_prob(y), atol=1e-3
        )
