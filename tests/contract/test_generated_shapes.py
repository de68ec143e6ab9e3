"""What every flow promises, at sizes, batches, contexts and supports that hypothesis chooses."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from torch.distributions import biject_to, constraints
from torch.testing import assert_close

from pyro_dgm import flows
from pyro_dgm.transforms import Bernstein
from tests.contract.cases import TINY, context_for, coordinates, data_for, limit_for, perturbed, points_for

SMALL = {"num_layers": 2, "hidden_dims": (6,)}
FAST = {
    "real-nvp": lambda d, c: flows.RealNVP(d, c, **SMALL),
    "maf": lambda d, c: flows.MAF(d, c, **SMALL),
    "spline": lambda d, c: flows.NeuralSpline(d, c, num_bins=4, **SMALL),
    "planar": lambda d, c: flows.Planar(d, c, num_layers=2, hidden_dims=(6,)),
}
MORE = {
    "nice": lambda d, c: flows.NICE(d, c, hidden_dims=(6,)),
    "iaf": lambda d, c: flows.IAF(d, c, **SMALL),
    "radial": lambda d, c: flows.Radial(d, c, num_layers=2, hidden_dims=(6,)),
    "sylvester": lambda d, c: flows.Sylvester(d, c, num_layers=2, num_units=1, hidden_dims=(6,)),
    "maf-mixture": lambda d, c: flows.MAF(d, c, num_components=3, **SMALL),
    "spline-ar-affine": lambda d, c: flows.NeuralSplineAutoregressive(d, c, num_bins=4, affine=True, **SMALL),
    "circular": lambda d, c: flows.CircularSpline(d, c, circular=[d - 1], num_bins=4, **SMALL),
    "naf": lambda d, c: flows.NAF(d, c, num_units=4, **SMALL),
    "unaf": lambda d, c: flows.UNAF(d, c, num_signals=2, integrand_dims=(6,), **SMALL),
    "bernstein": lambda d, c: flows.BernsteinFlow(d, c, degree=5, **SMALL),
    "sum-of-squares": lambda d, c: flows.SumOfSquaresFlow(d, c, **SMALL),
    "coupling-bernstein": lambda d, c: flows.CouplingFlow(d, Bernstein(5), c, **SMALL),
    "composition": lambda d, c: flows.Composition(
        d, [flows.RealNVP(d, c, **SMALL), flows.LULinear(d), flows.BatchNorm(d)], c
    ).eval(),
    "whitened": lambda d, c: flows.Whitened(flows.MAF(d, c, **SMALL), correlated=True, trainable=True),
    "simplex": lambda d, c: flows.RealNVP(d + 1, c, support=constraints.simplex, **SMALL),
    "image-real-nvp": lambda d, c: flows.RealNVPImage((d, 2, 4), context_dim=c, num_levels=1, **TINY),
    "image-glow": lambda d, c: flows.Glow((d, 4, 2), context_dim=c, num_levels=1, **TINY).eval(),
    "ot-flow": lambda d, c: flows.OTFlow(d, c, width=4, rank=1).eval(),
    "cnf": lambda d, c: flows.CNF(d, c, hidden_dims=(4, 4)).eval(),
}
KINDS = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
EXAMPLES = settings(max_examples=12, deadline=None, derandomize=True)


class Sizes(NamedTuple):
    """What is chosen: the event, the context, and the batch shapes of both, which broadcast."""

    input_dim: int
    context_dim: int
    of_values: tuple[int, ...]
    of_contexts: tuple[int, ...]
    seed: int


@st.composite
def sizes(draw):
    shapes = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3))
    of_values, of_contexts = shapes.input_shapes
    input_dim, context_dim = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    return Sizes(input_dim, context_dim, of_values, of_contexts, draw(st.integers(0, 2**31)))


def made(kind, chosen):
    """The flow of these sizes, used, in double precision, and the batch shape of its context."""
    torch.manual_seed(chosen.seed)
    flow = perturbed((FAST | MORE)[kind](chosen.input_dim, chosen.context_dim).double())
    return flow, chosen.of_contexts if flow.context_dim else ()


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(chosen=sizes())
def test_shapes_are_those_of_torch_and_every_row_is_scored_by_itself(kind, chosen):
    flow, batch = made(kind, chosen)
    context, y = context_for(flow, *batch), data_for(flow, *chosen.of_values)
    whole, event = torch.broadcast_shapes(chosen.of_values, batch), flow.event_shape
    d = flow(context)
    log_prob = d.log_prob(y)
    assert (d.batch_shape, d.event_shape, log_prob.shape) == (batch, event, whole)
    drawn, scored = d.rsample_and_log_prob(chosen.of_values)
    assert scored.shape == (*chosen.of_values, *batch)
    assert drawn.shape == d.sample(chosen.of_values).shape == (*scored.shape, *event)
    rows = y.expand(*whole, *event).reshape(-1, *event)
    contexts = None if context is None else context.expand(*whole, -1).reshape(-1, flow.context_dim)
    alone = flow(contexts).log_prob(rows).reshape(whole)
    assert_close(log_prob, alone, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(chosen=sizes())
def test_map_undoes_itself_and_its_log_det_is_that_of_autograd(kind, chosen):
    flow, _ = made(kind, chosen)
    t, x = flow.transform(context_for(flow)), points_for(flow, 3, scale=2.0)
    y, ladj = t.call_and_ladj(x)
    back, inverse = t.inverse_and_ladj(y)
    if flow.outer is None:  # near the edge of a support the data hold fewer digits than the latent
        assert ((back - x).abs() / x.abs().clamp(min=1)).max() < limit_for(flow, 1e-10)
        assert_close(ladj + inverse, torch.zeros(3).double(), atol=limit_for(flow, 1e-9), rtol=0)
    jacobian = torch.autograd.functional.jacobian(lambda x: coordinates(flow, t(x)).sum(0), x)
    determinant = torch.linalg.slogdet(jacobian.transpose(0, 1).flatten(2)).logabsdet
    assert_close(ladj, determinant, atol=limit_for(flow, 1e-8), rtol=1e-8)


SCALARS = [
    constraints.real,
    constraints.positive,
    constraints.unit_interval,
    constraints.interval(-1.0, 2.0),
    constraints.greater_than(3.0),
    constraints.less_than(-2.0),
]


@EXAMPLES
@given(
    parts=st.lists(st.sampled_from(SCALARS), min_size=1, max_size=5),
    batch=st.lists(st.integers(0, 3), max_size=2),
    seed=st.integers(0, 2**31),
)
def test_support_of_each_entry_is_one_more_change_of_variables(parts, batch, seed):
    torch.manual_seed(seed)
    flow = perturbed(flows.RealNVP(len(parts), support=constraints.stack(parts, -1), **SMALL).double())
    free = flows.RealNVP(len(parts), **SMALL).double()
    free.load_state_dict(flow.state_dict())
    y = flow().sample(batch)
    assert y.shape == (*batch, len(parts))
    expected = torch.zeros(batch, dtype=torch.double)
    latent = torch.empty_like(y)
    for i, part in enumerate(parts):
        assert part.check(y[..., i]).all()
        onto = biject_to(part)
        latent[..., i] = onto.inv(y[..., i])
        expected -= onto.log_abs_det_jacobian(latent[..., i], y[..., i])
    assert_close(flow().log_prob(y), expected + free().log_prob(latent), atol=1e-7, rtol=1e-7)
