"""What a density computes is one graph for ``torch.compile``."""

import pytest
import torch
from torch.distributions import constraints
from torch.testing import assert_close

from pyro_dgm.flows import MAF, NeuralSpline, RealNVP
from tests.contract.cases import CASES, context_for, data_for, perturbed


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("make", [RealNVP, MAF])
def test_way_to_the_latent_compiles_without_a_break(make):
    flow, x = make(2), torch.randn(16, 2)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))

    def latent(x):
        return flow.transform().inverse_and_ladj(x)

    for ours, plain in zip(compiled(latent)(x), latent(x), strict=True):
        assert_close(ours, plain)
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize(
    "make",
    [
        lambda: RealNVP(2, num_layers=2),
        lambda: MAF(2, 3, num_layers=2),
        lambda: NeuralSpline(2, num_layers=2, support=constraints.positive),
    ],
    ids=["couplings", "masked-context", "splines-positive"],
)
def test_log_prob_of_a_called_flow_and_its_gradient_compile_without_a_break(make):
    flow = perturbed(make().double())  # in single precision, other orders of sums differ by more
    context, y = context_for(flow, 16), data_for(flow, 16)

    def loss(y):
        return flow(context).log_prob(y).sum()

    results = []
    for f in (compiled(loss), loss):
        flow.zero_grad()
        value = f(y)
        value.backward()
        results.append((value, [p.grad for p in flow.parameters()]))
    assert_close(*results)
    torch._dynamo.reset()


# One of each kind of code: the others wait for the longest tests.
SAMPLE = {
    "unaf-2d",
    "sum-of-squares-3d-context",
    "bernstein-2d",
    "simplex-2d",
    "cnf-2d-context",
    "ot-flow-2d",
}


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SAMPLE else pytest.mark.soak) for name in CASES],
)
def test_log_prob_of_every_flow_is_one_graph(name):
    assert set(CASES) >= SAMPLE
    flow = perturbed(CASES[name]()).eval()
    context, y = context_for(flow, 16), data_for(flow, 16)

    def log_prob(y):
        return flow(context).log_prob(y)

    traced = torch.compile(log_prob, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert_close(traced(y), log_prob(y))
    torch._dynamo.reset()
