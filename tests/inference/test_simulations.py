"""Simulations as rows: which sites are in them, and runs that were made before."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.inference import Program, importance_draws, neural_posterior
from pyro_dgm.inference.observed_vector import ObservedVector
from pyro_dgm.inference.simulations import Simulations


def simulator():
    a = pyro.sample("a", dist.Gamma(torch.tensor(2.0).double(), 1.0))
    b = pyro.sample("b", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
    pyro.deterministic("x", torch.stack((a, b.sum(-1)), -1), event_dim=1)
    pyro.sample("y", dist.Normal(a, 3.0))


def made(**options):
    settings = {"observed": ["x", "y"], "num": 50}
    return Simulations.of(Program(simulator), **settings | options)


def test_every_sampled_site_that_is_not_observed_is_a_latent():
    found = made()
    assert found.latents.shape == (50, 3)
    assert found.data.shape == (50, 3)
    assert found.left_out == ()
    assert_close(found.latents[:, 1:].sum(-1), found.data[:, 1])


def test_sites_of_no_interest_are_left_out():
    found = made(observed="x", latent="b")
    assert list(found.layout.shapes) == ["b"]
    assert found.left_out == ("a", "y")


def test_earlier_runs_are_taken_as_they_are():
    values = Program(simulator).simulate(30, ["a", "b", "x", "y"])
    found = made(made=values, num=7)
    assert_close(found.latents[:, 0], values["a"].log())
    assert_close(found.data, torch.cat((values["x"], values["y"][:, None]), -1))


def test_standardised_rows_have_mean_zero_and_deviation_one_and_constant_ones_stay():
    values = Program(simulator).simulate(30, ["a", "b", "x", "y"])
    latents, data = made(made=values | {"y": torch.full((30,), 7.0).double()}).standardised()
    assert_close(latents.std(0), torch.ones(3).double())
    assert_close(data.mean(0), torch.zeros(3).double())
    assert_close(data[:, 2], torch.zeros(30).double())


def test_halves_of_a_split_are_all_rows_once():
    found = made()
    train, test = found.split(0.2)
    assert len(test.latents) == len(test.data) == 10
    assert_close(torch.cat((test.latents, train.latents)), found.latents)


def test_observed_vector_is_in_the_order_of_its_sites():
    layout = ObservedVector({"x": torch.Size([2]), "y": torch.Size([])})
    one = layout.pack({"y": torch.tensor(3.0), "x": torch.tensor([1.0, 2.0])})
    assert one.tolist() == [1.0, 2.0, 3.0]
    assert layout.dim == 3
    with pytest.raises(DataError, match="site 'y'"):
        layout.pack(torch.zeros(2))


def test_simulations_that_do_not_fit_are_named():
    values = Program(simulator).simulate(30, ["a", "b", "x", "y"])
    with pytest.raises(DataError, match="lack site 'b'"):
        made(made={name: values[name] for name in ("a", "x", "y")})
    with pytest.raises(ShapeError, match="of site 'x' need shape"):
        made(made=values | {"x": torch.zeros(30, 3)})
    with pytest.raises(ShapeError, match="as many simulations"):
        made(made=values | {"y": torch.zeros(29)})
    with pytest.raises(DataError, match="20 simulations or more"):
        made(made={name: value[:9] for name, value in values.items()})
    with pytest.raises(DataError, match="1 of 30 simulations gave data"):
        made(made=values | {"y": torch.cat((torch.zeros(29), torch.tensor([torch.nan])))})
    with pytest.raises(UnknownNameError, match="latent site 'x'"):
        made(latent="x")


def test_posterior_without_some_latents_averages_over_them_and_is_no_guide():
    posterior = neural_posterior(simulator, observed="x", latent="b", num_simulations=60, epochs=1)
    assert set(posterior.sample(torch.zeros(2), 5)) == {"b"}
    with pytest.raises(NotImplementedError, match="leaves out the latent site 'a'"):
        importance_draws(simulator, posterior.guide(torch.zeros(2)))


def test_posterior_of_earlier_runs_is_that_of_the_same_runs_made_anew():
    def small(**options):
        return neural_posterior(simulator, observed=["x", "y"], epochs=1, seed=5, **options)

    with torch.random.fork_rng():
        torch.manual_seed(5)
        values = Program(simulator).simulate(100, ["a", "b", "x", "y"])
    data = {"x": torch.ones(2).double(), "y": torch.tensor(0.5).double()}
    anew, before = small(num_simulations=100), small(simulations=values)
    truth = {name: values[name][:4] for name in ("a", "b")}
    # The weights start elsewhere, as the random numbers of the simulations were not drawn.
    assert_close(anew.flow.loc, before.flow.loc)
    assert_close(anew.flow.scale, before.flow.scale)
    assert before.log_prob(truth, data).shape == (4,)
