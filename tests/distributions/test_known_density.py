"""Targets with known density as Pyro distributions."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions.transforms import biject_to
from pyro.infer import Predictive
from torch.testing import assert_close

from pyro_dgm.distributions.gaussian_ring import GaussianRing
from pyro_dgm.distributions.two_moons import TwoMoons
from pyro_dgm.distributions.uniform_on_boxes import UniformOnBoxes
from pyro_dgm.errors import DataError

SQUARES = [((0.0, 1.0), (0.0, 1.0)), ((1.0, 3.0), (1.0, 3.0))]
CASES = {
    "moons": lambda: TwoMoons(0.1),
    "ring": lambda: GaussianRing(3, radius=1.0, sd=0.5),
    "boxes": lambda: UniformOnBoxes(SQUARES),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def distribution(request):
    return request.param()


def test_observed_site_in_a_plate_scores_each_row(distribution):
    x = distribution.sample((5,))

    def model():
        with pyro.plate("data", 5):
            pyro.sample("x", distribution, obs=x)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert_close(trace.nodes["x"]["log_prob"], distribution.log_prob(x))


def test_predictive_draws_in_parallel(distribution):
    def model():
        with pyro.plate("data", 4):
            return pyro.sample("x", distribution)

    draws = Predictive(model, num_samples=3, parallel=True)()["x"]
    assert draws.shape == (3, 4, 2)
    assert distribution.log_prob(draws).isfinite().all()


def test_expand_draws_independent_points(distribution):
    wide = distribution.expand((2, 3))
    x = wide.sample((4,))
    assert x.shape == (4, 2, 3, 2)
    assert len(x.reshape(-1, 2).unique(dim=0)) == 24
    assert wide.log_prob(x[0, 0, 0]).shape == (2, 3)
    assert_close(wide.log_prob(x), distribution.log_prob(x))
    assert_close(wide.entropy(), distribution.entropy().expand(2, 3))
    with pytest.raises(RuntimeError):
        wide.expand((3, 3))


def test_ring_is_the_mixture_of_its_gaussians():
    ring = GaussianRing(3, radius=1.0, sd=0.5)
    parts = dist.Normal(ring.centres, 0.5).to_event(1)
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), parts)
    x = torch.randn(20, 2, dtype=torch.double)
    assert_close(ring.log_prob(x), mixture.log_prob(x))


def test_entropy_of_one_gaussian_and_of_distant_ones():
    gaussian = math.log(2 * math.pi * math.e * 0.3**2)
    assert GaussianRing(1, radius=2.0, sd=0.3).entropy().item() == pytest.approx(gaussian)
    assert GaussianRing(5, radius=30.0, sd=0.3).entropy().item() == pytest.approx(gaussian + math.log(5))


def test_a_box_is_drawn_in_proportion_to_its_area():
    n = 10_000
    in_large = (UniformOnBoxes(SQUARES).sample((n,)) > 1).all(-1).sum().item()
    assert abs(in_large - 0.8 * n) < 3 * math.sqrt(n * 0.8 * 0.2)


def test_edges_belong_to_the_boxes():
    # samples in single precision are rounded onto them
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [3.0, 3.0]])
    assert_close(UniformOnBoxes(SQUARES).log_prob(corners), torch.full((4,), -math.log(5)))


def test_outside_the_boxes_validation_decides():
    outside = torch.tensor([0.5, 2.0])
    assert UniformOnBoxes(SQUARES, validate_args=False).log_prob(outside) == -math.inf
    with pytest.raises(ValueError, match="within the support"):
        UniformOnBoxes(SQUARES, validate_args=True).log_prob(outside)


def test_one_box_can_be_a_latent_support():
    box = UniformOnBoxes([((1.0, 2.0), (-3.0, 5.0))])
    x = biject_to(box.support)(3 * torch.randn(100, 2, dtype=torch.double))
    assert_close(box.log_prob(x), torch.full((100,), -math.log(8), dtype=torch.double))


@pytest.mark.parametrize("boxes", [[], [((1.0, 1.0), (0.0, 1.0))], [((0.0, math.inf), (0.0, 1.0))]])
def test_boxes_without_area_are_refused(boxes):
    with pytest.raises(DataError):
        UniformOnBoxes(boxes)


def test_overlapping_boxes_are_refused():
    with pytest.raises(DataError, match="overlap"):
        UniformOnBoxes([((0.0, 2.0), (0.0, 2.0)), ((1.0, 3.0), (1.0, 3.0))])


@pytest.mark.parametrize("options", [{"radius": 0.0, "sd": 1.0}, {"radius": 1.0, "sd": math.nan}])
def test_a_ring_without_size_is_refused(options):
    with pytest.raises(DataError, match="must be positive and finite"):
        GaussianRing(8, **options)
