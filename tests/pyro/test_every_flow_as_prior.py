"""Every public flow is a latent prior: NUTS, AutoNormal, AutoFlow and Predictive agree with quadrature."""

import pytest

from pyro_dgm import flows
from pyro_dgm.flows import AutoregressiveFlow, Flow, ImageFlow
from tests.pyro.flows_of_the_library import FLOWS
from tests.pyro.prior_battery import (
    GUIDES,
    LEAST_GAP,
    MOST,
    MOST_GAP,
    MOST_OF_NUTS,
    double_precision,
    guide_deviation,
    nuts_deviations,
    predictive_deviation,
    truth,
    used_flow,
)

BASES = {Flow, AutoregressiveFlow, ImageFlow}  # each is the base class of several
SAMPLE = ["NeuralSpline, affine", "Planar", "RealNVP, simplex"]


def battery(name, num_samples):
    with double_precision():
        flow, rows = used_flow(name)
        exact = truth(flow, rows)
        assert predictive_deviation(flow, exact) < MOST
        for kind, (make, lr, steps) in GUIDES.items():
            deviation, gap = guide_deviation(make, lr, steps, flow, rows, exact)
            assert deviation < MOST, kind
            assert LEAST_GAP < gap < MOST_GAP, kind
        of_mean, of_sd, _ = nuts_deviations(flow, rows, exact, num_samples)
        if (
            max(of_mean, of_sd) > MOST_OF_NUTS
        ):  # one of hundred such is: half the standard error tells chance from bias
            of_mean, of_sd, _ = nuts_deviations(flow, rows, exact, 4 * num_samples)
        assert of_mean < MOST_OF_NUTS
        assert of_sd < MOST_OF_NUTS


def test_no_public_flow_is_missing_from_the_battery():
    used = {type(module) for make in FLOWS.values() for module in make().modules()}
    public = {getattr(flows, name) for name in flows.__all__}
    kinds = {kind for kind in public if isinstance(kind, type)} - BASES
    assert not {kind.__name__ for kind in kinds - used}
    assert {kind.__name__ for kind in public if not isinstance(kind, type)} == {"from_zuko"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_flow_as_prior(name):
    battery(name, 300)


@pytest.mark.soak
@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_as_prior(name):
    battery(name, 1000)
