"""The banana mixture: density, samples and entropy against each other."""

import math

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.distributions import BananaMixture
from pyro_dgm.errors import DataError


def test_density_of_the_plane_integrates_to_one():
    target = BananaMixture(2, num_components=3)
    axis = torch.linspace(-10, 10, 401, dtype=torch.double)
    mass = target.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert_close(mass, torch.ones((), dtype=torch.double), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dim", [2, 7])
def test_entropy_is_the_mean_surprise_of_its_samples(dim):
    target = BananaMixture(dim)
    surprise = -target.log_density(target.draw(40_000, torch.Generator().manual_seed(1)))
    assert abs(surprise.mean() - target.entropy()) < 4 * surprise.std() / 200


def test_one_component_of_a_known_shape_is_its_formula():
    target = BananaMixture(3, num_components=1, bend=0.5)
    z = torch.randn(5, 3, dtype=torch.double)
    y = z.clone()
    y[:, 1] += target.bends[0, 0] * (z[:, 0] ** 2 - 1)
    x = (target.centres + target.scales * y) @ target.rotation.t()
    expected = -0.5 * z.square().sum(1) - 1.5 * math.log(2 * math.pi) - target.scales.log().sum()
    assert_close(target.log_prob(x), expected)


def test_shape_follows_from_the_seed_and_draws_do_not():
    one, same, other = BananaMixture(4), BananaMixture(4), BananaMixture(4, seed=1)
    x = one.sample((5,))
    assert x.shape == (5, 4)
    assert torch.equal(one.log_prob(x), same.log_prob(x))
    assert not torch.equal(one.log_prob(x), other.log_prob(x))
    assert not torch.equal(x, one.sample((5,)))


def test_shapes_that_make_no_sense_are_refused():
    with pytest.raises(DataError, match="dim >= 2"):
        BananaMixture(1)
