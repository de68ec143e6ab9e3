"""The one value that a distribution remembers: what it has just drawn by rsample."""

import copy

import pytest
import torch
from torch.testing import assert_close

from tests.contract.cases import chart, context_for, limit_for


@pytest.fixture
def drawn(flow, monkeypatch):
    """A distribution, and the list of values that it has inverted."""
    d, inverted = flow(context_for(flow)), []
    invert = d.transform.inverse_and_ladj
    monkeypatch.setattr(d.transform, "inverse_and_ladj", lambda y: inverted.append(y) or invert(y))
    return d, inverted


def gradients(flow, value):
    parameters = list(flow.parameters())
    return torch.autograd.grad(value.sum(), parameters, retain_graph=True, materialize_grads=True)


def test_log_prob_of_its_own_draw_is_that_of_a_clone_with_the_same_gradients(flow, drawn):
    d, inverted = drawn
    y = d.rsample((5,))
    remembered = d.log_prob(y)
    assert not inverted
    computed = d.log_prob(y.clone())
    assert len(inverted) == 1
    assert_close(remembered, computed, atol=limit_for(flow, 1e-9), rtol=1e-9)
    for a, b in zip(gradients(flow, remembered.exp()), gradients(flow, computed.exp()), strict=True):
        assert_close(a, b, atol=limit_for(flow, 1e-8), rtol=1e-6)


def test_change_in_place_voids_the_memo(flow, drawn):
    d, inverted = drawn
    y = d.rsample((5,))
    y.add_(1.0) if chart(flow) is None else y.mul_(1.0)
    assert_close(d.log_prob(y), d.log_prob(y.detach().clone()))
    assert len(inverted) == 2


def test_next_draw_voids_the_memo(drawn):
    d, inverted = drawn
    first = d.rsample((5,))
    d.rsample((5,))
    d.log_prob(first)
    assert len(inverted) == 1


def test_sample_is_never_remembered_so_that_its_score_has_a_gradient(flow, drawn):
    d, inverted = drawn
    log_prob = d.log_prob(d.sample((5,)))
    assert len(inverted) == 1
    assert sum(g.abs().sum() for g in gradients(flow, log_prob)) > 0


def test_draw_without_gradients_is_not_remembered(drawn):
    d, inverted = drawn
    with torch.no_grad():
        y = d.rsample((5,))
    assert d.log_prob(y).requires_grad
    assert len(inverted) == 1


def test_copies_and_expansions_remember_nothing(flow, drawn):
    d, inverted = drawn
    y = d.rsample()
    d.expand(torch.Size([3])).log_prob(y)
    assert len(inverted) == 1
    assert copy.copy(d)._scored is None
