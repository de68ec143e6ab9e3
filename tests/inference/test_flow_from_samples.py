"""Posterior samples become the prior of the next model."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, Predictive
from torch.distributions import constraints
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.guides import AutoFlow
from pyro_dgm.inference import SiteVector, flow_from_samples

SITES = {
    "mean": (dist.Normal(torch.tensor([1.0, -2.0]), 0.5).to_event(1), constraints.real_vector),
    "scale": (dist.LogNormal(0.5, 0.3), constraints.positive),
    "weights": (dist.Dirichlet(torch.tensor([3.0, 2.0, 4.0])), constraints.simplex),
    "root": (dist.LKJCholesky(3, 2.0), constraints.corr_cholesky),
    "rate": (dist.Beta(2.0, 2.0), constraints.unit_interval),
}
SUPPORTS = {name: support for name, (_, support) in SITES.items()}


def draws_of(n):
    return {name: d.sample((n,)) for name, (d, _) in SITES.items()}


def test_sites_return_from_the_unbounded_vector():
    draws = draws_of(50)
    layout = SiteVector.of(draws, SUPPORTS)
    assert layout.dim == 2 + 1 + 2 + 3 + 1
    vector = layout.pack(draws)
    assert vector.shape == (50, 9)
    for name, value in layout.unpack(vector).items():
        assert_close(value, draws[name], atol=1e-4, rtol=1e-4)


def test_normal_samples_give_their_normal_distribution():
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    normal = dist.MultivariateNormal(torch.tensor([5.0, -3.0]), 4 * covariance)
    prior = flow_from_samples({"z": normal.sample((4000,))}, epochs=3)
    fresh = normal.sample((4000,))
    gap = normal.log_prob(fresh) - prior.log_prob({"z": fresh})
    assert gap.mean() < 0.01


def test_steps_may_be_asked_for_instead_of_passes():
    draws = {"z": torch.randn(200, 2)}
    first = flow_from_samples(draws, steps=1, lr=1e-2)
    later = flow_from_samples(draws, steps=20, lr=1e-2)
    assert not torch.equal(first.log_prob(draws), later.log_prob(draws))


def test_arrays_are_taken_as_tensors_are():
    draws = {"z": torch.randn(100, 2), "s": torch.rand(100)}
    given = {"supports": {"s": constraints.positive}, "steps": 5}
    arrays = {name: value.double().numpy() for name, value in draws.items()}
    prior, same = flow_from_samples(draws, **given), flow_from_samples(arrays, **given)
    assert_close(same.log_prob(draws), prior.log_prob(draws))
    with pytest.raises(DataError, match="'n' is discrete"):
        flow_from_samples({"n": np.arange(100)}, steps=1)


def test_prior_keeps_names_supports_and_moments():
    prior = flow_from_samples(draws_of(3000), supports=SUPPORTS, epochs=10)
    drawn, exact = prior.sample(20_000), draws_of(20_000)
    for name, value in drawn.items():
        assert SUPPORTS[name].check(value).all()
        spread = exact[name].std(0).max()
        assert_close(value.mean(0), exact[name].mean(0), atol=0.1 * spread.item(), rtol=0)


def test_next_model_draws_and_scores_the_sites_together():
    prior = flow_from_samples(draws_of(500), supports=SUPPORTS, epochs=1)

    def model():
        sites = prior()
        pyro.sample("x", dist.Normal(sites["mean"][..., 0], sites["scale"]))

    trace = pyro.poutine.trace(model).get_trace()
    vector = trace.nodes["flow_prior"]["value"]
    expected = prior.flow().log_prob(vector) + trace.nodes["x"]["fn"].log_prob(trace.nodes["x"]["value"])
    assert_close(trace.log_prob_sum(), expected)
    for parallel in (False, True):
        drawn = Predictive(model, num_samples=8, parallel=parallel)()
        assert drawn["weights"].shape == (8, 3)
        assert_close(drawn["weights"].sum(-1), torch.ones(8))


def test_samples_of_nuts_become_a_prior_and_come_back_by_name():
    def model():
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
        pyro.sample("x", dist.Normal(0.0, scale), obs=torch.tensor(0.7))

    def run(program, n):
        mcmc = MCMC(NUTS(program, max_tree_depth=3), num_samples=n, warmup_steps=20, disable_progbar=True)
        mcmc.run()
        return mcmc

    first = run(model, 60)
    prior = flow_from_samples(first, epochs=1, site="from_before")

    def next_model():
        pyro.sample("y", dist.Normal(0.0, prior()["scale"]), obs=torch.tensor(0.5))

    second = run(next_model, 5).get_samples()
    assert set(second) == {"from_before"}
    assert_close(prior.sites(second)["scale"], prior.layout.transforms["scale"](second["from_before"][:, 0]))


def test_trained_guide_becomes_a_prior():
    def model():
        pyro.sample("scale", dist.LogNormal(0.0, 0.5))

    guide = AutoFlow(model)
    guide()
    prior = flow_from_samples(guide, epochs=1)
    low, high = prior.sample(4000)["scale"].log().quantile(torch.tensor([0.16, 0.84]))
    assert high - low == pytest.approx(0.2, rel=0.15)  # the guide's initial scale


def test_same_seed_same_prior():
    draws = draws_of(200)
    one, two = (flow_from_samples(draws, supports=SUPPORTS, epochs=2, seed=4) for _ in range(2))
    assert_close(one.log_prob(draws), two.log_prob(draws), rtol=0, atol=0)


def test_value_outside_its_support_is_refused():
    with pytest.raises(DataError, match=r"1 of 30 draws of site 'scale'"):
        flow_from_samples(
            {"scale": torch.cat((torch.ones(29), -torch.ones(1)))}, supports={"scale": constraints.positive}
        )


def test_discrete_site_is_refused():
    with pytest.raises(DataError, match="discrete"):
        flow_from_samples({"k": torch.ones(30, dtype=torch.long)})


def test_sites_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match="as many draws"):
        flow_from_samples({"a": torch.randn(30), "b": torch.randn(31)})


def test_support_of_an_unknown_site_is_refused():
    with pytest.raises(DataError, match="names b"):
        flow_from_samples({"a": torch.randn(30)}, supports={"b": constraints.positive})


def test_what_holds_no_samples_is_refused():
    with pytest.raises(TypeError, match="MCMC"):
        flow_from_samples(torch.randn(30, 2))
