import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.distributions import ImplicitDistribution
from pyro_dgm.errors import ShapeError


def circle(base):
    return ImplicitDistribution(base, lambda t: torch.stack((t.cos(), t.sin()), -1), event_shape=(2,))


def test_draws_have_sample_batch_and_event_shape():
    d = circle(dist.Uniform(torch.zeros(3), 1.0))
    assert (d.batch_shape, d.event_shape) == ((3,), (2,))
    assert d.sample((5,)).shape == d.rsample((5,)).shape == (5, 3, 2)
    assert d.expand((4, 3)).sample().shape == (4, 3, 2)


def test_draws_are_the_map_of_the_base():
    assert_close(circle(dist.Normal(0.0, 1.0)).sample((7,)).norm(dim=-1), torch.ones(7))


def test_rsample_carries_gradients_to_base_and_map_and_sample_does_not():
    loc = torch.zeros(2, requires_grad=True)
    scale = torch.ones(2, requires_grad=True)
    d = ImplicitDistribution(dist.Normal(loc, 1.0).to_event(1), lambda z: scale * z, (2,))
    d.rsample((3,)).sum().backward()
    assert_close(loc.grad, torch.full((2,), 3.0))
    assert scale.grad.abs().min() > 0
    assert not d.sample().requires_grad


def test_a_base_without_rsample_is_said_and_still_trains_the_map():
    weight = torch.ones((), requires_grad=True)
    d = ImplicitDistribution(dist.Poisson(3.0), lambda n: weight * n, ())
    assert not d.has_rsample
    assert d.rsample((4,)).requires_grad


def test_log_prob_says_why_there_is_none_and_what_to_use():
    with pytest.raises(
        NotImplementedError, match=r"no density.*Adversarial.*energy_distance.*NormalizingFlow"
    ):
        circle(dist.Normal(0.0, 1.0)).log_prob(torch.zeros(2))


def test_it_is_a_site_that_can_be_drawn_in_a_plate():
    with pyro.plate("data", 6):
        x = pyro.sample("x", circle(dist.Normal(0.0, 1.0)))
    assert x.shape == (6, 2)


def test_a_map_of_another_shape_is_an_error():
    wrong = ImplicitDistribution(dist.Normal(0.0, 1.0), lambda t: t, event_shape=(2,))
    with pytest.raises(ShapeError, match=r"shape \(5, 2\).*gave \(5,\)"):
        wrong.sample((5,))
