"""Gradients of first and second order, and torch.func."""

import pyro
import pytest
import torch
from torch.testing import assert_close

from tests.contract.cases import context_for, data_for, points_for, to_data


@pytest.mark.parametrize("use", ["log_prob", "rsample"])
def test_every_parameter_gets_a_finite_gradient(flow, use):
    d = flow(context_for(flow, 6))
    value = d.log_prob(data_for(flow, 6)) if use == "log_prob" else d.rsample((6,))
    value.square().sum().backward()
    for name, p in flow.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


def test_gradients_of_log_prob_are_those_of_finite_differences(flow):
    context, x = context_for(flow), points_for(flow, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: flow(context).log_prob(to_data(flow, x)), x)


def test_second_derivatives_of_log_prob_are_those_of_finite_differences(flow):
    context, x = context_for(flow), points_for(flow, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: flow(context).log_prob(to_data(flow, x)), x)


def test_gradients_of_draws_are_those_of_the_generator(flow):
    context = context_for(flow)
    x = points_for(flow, 3).requires_grad_()
    assert torch.autograd.gradcheck(flow.transform(context).call_and_ladj, x)


def test_context_gets_the_gradient_of_finite_differences(flow):
    if flow.context_dim:
        y, context = data_for(flow, 3), context_for(flow, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda context: flow(context).log_prob(y), context)


def test_vmap_over_grad_gives_the_score_of_each_row(flow):
    context, y = context_for(flow), data_for(flow, 5)

    def log_prob(row):
        return flow(context).log_prob(row)

    with pyro.validation_enabled(False):
        scores = torch.func.vmap(torch.func.grad(log_prob))(y)
    y.requires_grad_()
    assert_close(scores, torch.autograd.grad(flow(context).log_prob(y).sum(), y)[0])


def test_hessians_of_torch_func_are_those_of_autograd(flow):
    context, x = context_for(flow), points_for(flow)

    def log_prob(x):
        return flow(context).log_prob(to_data(flow, x))

    with pyro.validation_enabled(False):
        hessian = torch.func.jacrev(torch.func.jacrev(log_prob))(x)
    assert_close(hessian, torch.autograd.functional.hessian(log_prob, x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, at its first such use
def test_forward_mode_gives_the_directional_derivative_of_reverse_mode(flow):
    context, x = context_for(flow), points_for(flow)
    direction = torch.randn_like(x)

    def log_prob(x):
        return flow(context).log_prob(to_data(flow, x))

    with pyro.validation_enabled(False):
        value, slope = torch.func.jvp(log_prob, (x,), (direction,))
        gradient = torch.func.grad(log_prob)(x)
    assert_close(value, log_prob(x))
    assert_close(slope, (gradient * direction).sum())


class LogProb(torch.nn.Module):
    """A function of weights and data, as torch.func.functional_call wants it."""

    def __init__(self, flow, context):
        super().__init__()
        self.flow, self.context = flow, context

    def forward(self, y):
        return self.flow(self.context).log_prob(y)


def test_gradients_in_the_weights_can_be_had_for_each_row(flow):
    module, y = LogProb(flow, context_for(flow)), data_for(flow, 4)
    weights = {name: p.detach() for name, p in module.named_parameters()}

    def log_prob(weights, row):
        return torch.func.functional_call(module, weights, (row,))

    with pyro.validation_enabled(False):
        of_rows = torch.func.vmap(torch.func.grad(log_prob), in_dims=(None, 0))(weights, y)
    parameters = dict(module.named_parameters())
    alone = torch.autograd.grad(module(y[2]), list(parameters.values()), materialize_grads=True)
    for name, gradient in zip(parameters, alone, strict=True):
        assert_close(of_rows[name][2], gradient)


def test_densities_and_draws_can_be_mapped_over_contexts(flow):
    if flow.context_dim:
        contexts, y, x = context_for(flow, 4), data_for(flow, 4), points_for(flow, 4)
        with pyro.validation_enabled(False):
            scored = torch.func.vmap(lambda context, y: flow(context).log_prob(y))(contexts, y)
            drawn = torch.func.vmap(lambda context, x: flow.transform(context)(x))(contexts, x)
        assert_close(scored, flow(contexts).log_prob(y))
        assert_close(drawn, flow.transform(contexts)(x))
