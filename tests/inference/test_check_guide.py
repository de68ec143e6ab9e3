"""A guide that does not fit its model is refused before any step, with the reason."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import check_guide, importance_draws, independence_metropolis


def model():
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("groups", 3):
        z = pyro.sample("z", dist.Normal(0.0, scale))
        pyro.sample("x", dist.Normal(z, 1.0), obs=torch.ones(3))


def groups(loc, scale=None):
    with pyro.plate("groups", 3):
        pyro.sample("z", dist.Normal(loc, 1.0 if scale is None else scale))


def lacks_a_site():
    groups(torch.zeros(()))


def has_another_site():
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    pyro.sample("size", dist.Normal(0.0, 1.0))
    groups(torch.zeros(()))


def has_no_plate():
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))


def joins_the_plate_into_an_event():
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))


def leaves_the_support():
    pyro.sample("scale", dist.Normal(1.0, 1.0))
    groups(torch.zeros(()))


def is_elsewhere():
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("groups", 3):
        loc, scale = torch.zeros(3, device="meta"), torch.ones(3, device="meta")
        pyro.sample("z", dist.Normal(loc, scale, validate_args=False))


WRONG = {
    "missing": (lacks_a_site, DataError, "lacks 'scale'"),
    "superfluous": (has_another_site, DataError, "has 'size', which the model lacks"),
    "no plate": (has_no_plate, ShapeError, r"'z' has shape \(3,\).*but \(\)"),
    "event": (joins_the_plate_into_an_event, ShapeError, "same to_event"),
    "support": (leaves_the_support, DataError, "outside of the model's support"),
    "device": (is_elsewhere, DataError, "'z' is on cpu in the model but on meta"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("use", [check_guide, importance_draws, independence_metropolis])
def test_a_guide_that_does_not_fit_is_refused_with_the_reason(case, use):
    if case is WRONG["support"] and use is not check_guide:
        return  # draws outside have the weight zero
    guide, error, message = case
    with pytest.raises(error, match=message):
        use(model, guide)


@pytest.mark.parametrize("make", [AutoNormal, AutoFlow])
def test_guides_that_fit_pass_and_nothing_changes(make):
    guide = make(model)
    guide()
    state = torch.get_rng_state()
    before = dict(guide.named_parameters())
    check_guide(model, guide)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(before[name] is p for name, p in guide.named_parameters())


def test_flow_without_the_models_support_is_refused_and_one_with_it_passes():
    def positive():
        pyro.sample("rates", dist.Exponential(torch.ones(2)).to_event(1))

    for support, fits in ((None, False), (torch.distributions.constraints.positive, True)):
        flow = RealNVP(2, num_layers=1, hidden_dims=(4,), support=support)

        def guide(flow=flow):
            pyro.sample("rates", flow())

        if fits:
            check_guide(positive, guide)
        else:
            with pytest.raises(DataError, match="support="):
                check_guide(positive, guide)


def test_discrete_latent_may_be_left_to_enumeration_but_only_if_it_is_marked():
    def mixed(infer):
        k = pyro.sample("k", dist.Bernoulli(0.5), infer=infer)
        pyro.sample("z", dist.Normal(k, 1.0))

    def guide(infer):
        pyro.sample("z", dist.Normal(0.0, 1.0))

    check_guide(mixed, guide, {"enumerate": "parallel"})
    with pytest.raises(DataError, match="'k'"):
        check_guide(mixed, guide, {})
