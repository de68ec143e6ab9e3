"""Stacks of layers as one node: values and derivatives are those of the layers one by one."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.flows import IAF, MAF, NeuralSpline, NeuralSplineAutoregressive, RealNVP
from pyro_dgm.transforms import Affine, Gated, RationalQuadratic
from pyro_dgm.transforms import columns as columns_module

FAMILIES = {
    "affine": (Affine(2.0), False),
    "affine-back": (Affine(2.0), True),
    "leaning": (Affine(3.0, max_stretch=0.5), False),
    "leaning-back": (Affine(3.0, max_stretch=0.5), True),
    "gated": (Gated(), False),
    "spline": (RationalQuadratic(4, bound=2.0), False),
    "spline-back": (RationalQuadratic(4, bound=2.0), True),
}
SMALL = {"num_layers": 3, "hidden_dims": (6, 5)}
FLOWS = {
    "couplings": lambda context: RealNVP(3, context, **SMALL),
    "splines": lambda context: NeuralSpline(3, context, num_bins=4, bound=2.0, **SMALL),
    "masked": lambda context: MAF(3, context, **SMALL),
    "masked-splines": lambda context: NeuralSplineAutoregressive(3, context, num_bins=4, bound=2.0, **SMALL),
    "inverse": lambda context: IAF(3, context, **SMALL),
}


def nodes(tensor):
    """The nodes of the graph behind a tensor that are not leaves."""
    found, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found and "AccumulateGrad" not in node.name():
            found.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_functions_by_hand_have_the_values_and_derivatives_of_the_formula(name):
    family, back = FAMILIES[name]
    torch.manual_seed(0)
    x = (2 * torch.randn(3, 50, dtype=torch.double)).requires_grad_()
    parameters = torch.randn(family.num_parameters, 3, 50, dtype=torch.double, requires_grad=True)
    image, log_slope = (family.inverse if back else family.call)(x, parameters)
    by_hand = family.by_hand(back=back)
    with torch.no_grad():
        own_image, own_slope, kept = by_hand.values(x, parameters.clone())
    assert_close((own_image, own_slope), (image, log_slope))
    g, ladj = torch.randn(3, 50, dtype=torch.double), torch.randn(50, dtype=torch.double)
    expected = torch.autograd.grad((image, log_slope), (x, parameters), (g, ladj.expand(3, 50)))
    with torch.no_grad():
        assert_close(by_hand.gradients(kept, g, ladj), expected)


def perturbed_flow(make, context):
    torch.manual_seed(0)
    flow = make(2 if context else 0).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return flow


def one_pass(flow, rows, context):
    """The direction that costs one pass: value and log-determinant."""
    transform = flow.transform(context)
    return (transform.call_and_ladj if isinstance(flow, IAF) else transform.inverse_and_ladj)(rows)


@pytest.mark.parametrize("with_context", [False, True], ids=["", "context"])
@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS.keys())
def test_stack_is_one_node_with_the_values_and_gradients_of_its_layers(make, with_context, monkeypatch):
    flow = perturbed_flow(make, with_context)
    rows = torch.randn(7, 3, dtype=torch.double, requires_grad=True)
    context = torch.randn(7, 2, dtype=torch.double, requires_grad=True) if with_context else None
    inputs = [rows, *flow.parameters(), *([context] if with_context else [])]
    weights = torch.randn(7, 3, dtype=torch.double), torch.randn(7, dtype=torch.double)

    def derived():
        images = one_pass(flow, rows, context)
        first = torch.autograd.grad(images, inputs, weights, create_graph=True)
        loss = sum(g.square().sum() for g in first)
        return images, first, torch.autograd.grad(loss, inputs, allow_unused=True)

    images = one_pass(flow, rows, context)
    assert sum("Steps" in node.name() for node in nodes(images[0])) == 1
    assert len(nodes(images[0])) == (5 if with_context else 1)  # the context: expanded, in columns
    first = torch.autograd.grad(images, inputs, weights)
    twice = derived()
    with torch.no_grad():
        assert_close(one_pass(flow, rows, context), images)
    monkeypatch.setattr(columns_module, "is_eager", lambda x: False)
    expected = derived()
    assert_close((images, first), expected[:2])
    assert_close(twice, expected)


def test_only_what_is_asked_for_gets_a_gradient():
    flow = perturbed_flow(FLOWS["masked"], True).requires_grad_(False)
    flow.conditioners[1].from_context.weight.requires_grad_()
    rows, context = torch.randn(4, 3, dtype=torch.double), torch.randn(4, 2, dtype=torch.double)
    one_pass(flow, rows, context)[1].sum().backward()
    assert [n for n, p in flow.named_parameters() if p.grad is not None] == [
        "conditioners.1.from_context.weight"
    ]


def test_many_gradients_at_once_are_the_jacobian():
    flow = perturbed_flow(FLOWS["splines"], False)
    rows = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    z = one_pass(flow, rows, None)[0]
    directions = torch.eye(3, dtype=torch.double).expand(5, 3, 3).movedim(1, 0)
    (found,) = torch.autograd.grad(z, rows, directions, is_grads_batched=True)
    expected = torch.func.vmap(torch.func.jacrev(lambda row: one_pass(flow, row, None)[0]))(rows.detach())
    assert_close(found.movedim(0, 1), expected)


def test_changed_weights_are_noticed_before_the_backward_pass():
    flow = perturbed_flow(FLOWS["couplings"], False)
    loss = flow().log_prob(torch.randn(4, 3, dtype=torch.double)).sum()
    with torch.no_grad():
        next(flow.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_conditioner_with_a_listener_is_called():
    flow, heard = perturbed_flow(FLOWS["couplings"], False), []
    x = torch.randn(4, 3, dtype=torch.double)
    silent = flow().log_prob(x)
    flow.conditioners[0].register_forward_hook(lambda *_: heard.append(1))
    assert_close(flow().log_prob(x), silent)
    assert heard


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", [RealNVP, MAF])
def test_results_may_be_written_to(kind, size):
    flow = kind(size, 2, **SMALL).double()
    context, x = torch.randn(4, 2, dtype=torch.double), torch.randn(4, size, dtype=torch.double)
    z, ladj = one_pass(flow, x, context)
    assert z.is_contiguous()
    (z.add_(1.0).sum() + ladj.mul_(2.0).sum()).backward()
    assert any(p.grad.abs().sum() > 0 for p in flow.parameters())
