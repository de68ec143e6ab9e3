"""A trained flow is still a density: what training does to weights is more than noise."""

import math

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.data import two_moons
from pyro_dgm.diagnostics.quadrature import integrate_density
from pyro_dgm.flows import BatchNorm, Composition
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import fit
from tests.contract.cases import CASES, chart, context_for, limit_for

TARGET = two_moons(0.1)
PLANE = [
    name for name, make in CASES.items() if name.split("-context")[0].endswith("2d") and chart(make()) is None
]
FAST = {"spline-2d-context"}


def round_trips(flow, context, x, rounded=lambda value: value):
    """The largest relative errors of latents and of data; ``rounded`` is done to the value in between."""
    t = flow.transform(context)
    back = (t.inv(rounded(t(x))), t(rounded(t.inv(x))))
    return [((again - x).abs() / x.abs().clamp_min(1)).max().item() for again in back]


def trained(name):
    """The flow after 80 steps on two moons, with contexts that it should learn to ignore."""
    flow, x = CASES[name]().double(), TARGET.sample(2000).double()
    data = (x, context_for(flow, 2000)) if flow.context_dim else x
    before = [p.detach().clone() for p in flow.parameters()]
    fit(NormalizingFlow(flow), data, steps=80, lr=1e-2, progress=False)
    assert any(not torch.equal(a, b) for a, b in zip(before, flow.parameters(), strict=True))
    if isinstance(flow, Composition) and any(isinstance(part, BatchNorm) for part in flow.parts):
        flow.set_statistics(x)
    return flow.eval()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in PLANE]
)
def test_trained_flow_undoes_itself_has_mass_one_and_is_no_likelier_than_the_entropy_allows(name):
    flow = trained(name)
    context, x = context_for(flow), 3 * torch.randn(300, 2, dtype=torch.double)
    assert max(round_trips(flow, context, x)) < limit_for(flow, 1e-10)
    t, few = flow.transform(context), x[:20]
    jacobian = torch.autograd.functional.jacobian(lambda x: t(x).sum(0), few).transpose(0, 1)
    determinant = torch.linalg.slogdet(jacobian).logabsdet
    assert_close(t.call_and_ladj(few)[1], determinant, atol=limit_for(flow, 1e-9), rtol=1e-9)
    with torch.no_grad():
        d = flow(context)
        points = 50_000 if hasattr(flow, "nt_eval") else 200_000  # solves take long
        mass = integrate_density(d.log_prob, d.sample((2000,)), tolerance=3e-4, max_points=points)
        assert abs(mass.mass - 1) < 1e-3
        fresh = TARGET.sample(5000).double()
        surprise = -flow(context_for(flow, 5000)).log_prob(fresh)
    assert surprise.mean() > TARGET.entropy - 3 * surprise.std() / math.sqrt(5000)
    assert surprise.mean() < TARGET.entropy + 2.5  # it has learned something: N(0, I) is 3 nats above
    # What single precision cannot do better: the exact map of a value in between that is rounded to it.
    unavoidable = round_trips(flow, context, x, lambda value: value.float().double())
    single = None if context is None else context.float()
    for error, floor in zip(round_trips(flow.float(), single, x.float()), unavoidable, strict=True):
        assert error < limit_for(flow, 1e-5) + 30 * floor
