"""Images of integer levels: their probabilities are the flow's mass, and every bound lies below them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import NeuralSplineImage, RealNVPImage
from pyro_dgm.guides import UniformDequantizer, VariationalDequantizer
from pyro_dgm.metrics import bits_per_dim, importance_log_likelihood
from pyro_dgm.models import DequantizedFlow
from pyro_dgm.training import fit
from tests.contract.cases import perturbed

TINY = (1, 2, 2)


def smooth_model(guide=None, levels=2):
    """A model whose density varies within levels."""
    flow = RealNVPImage(TINY, alpha=0.0, num_levels=1, num_couplings=1, hidden_channels=4, num_blocks=1)
    return DequantizedFlow(perturbed(flow, 0.2).double(), levels, guide=guide)


def stepped_model(histogram=(5, 1, 2)):
    """A model whose density is constant within levels."""
    flow = NeuralSplineImage(TINY, histogram=histogram, num_levels=1, num_bins=3, hidden_channels=4)
    return DequantizedFlow(perturbed(flow, 0.3).double(), len(histogram))


def all_images(levels):
    """Every image of shape (1, 2, 2)."""
    entries = torch.tensor(list(itertools.product(range(levels), repeat=4)))
    return entries.view(-1, *TINY).double()


@torch.no_grad()
def exact_log_probabilities(model, points=10):
    """By Gauss-Legendre quadrature over the places in each image's levels."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(points))
    u = torch.cartesian_prod(*[(nodes + 1) / 2] * 4).view(-1, *TINY)
    w = torch.cartesian_prod(*[weights / 2] * 4).prod(-1)
    images, d = all_images(model.num_levels), model.flow()
    densities = torch.stack([d.log_prob((x + u) / model.num_levels).exp() @ w for x in images])
    return densities.log() - 4 * math.log(model.num_levels)


def variational():
    flow = RealNVPImage(TINY, context_channels=1, alpha=0.0, num_levels=1, num_couplings=1, hidden_channels=4)
    return VariationalDequantizer(perturbed(flow, 0.2).double(), num_levels=2)


def test_probabilities_of_all_images_sum_to_one_by_quadrature():
    assert_close(exact_log_probabilities(smooth_model()).exp().sum().item(), 1.0, atol=1e-4, rtol=0)


def test_stepped_density_gives_probabilities_that_sum_to_one_without_quadrature():
    model = stepped_model()
    bound = model.log_prob_bound(all_images(3))
    assert_close(bound.exp().sum().item(), 1.0, atol=1e-6, rtol=0)
    assert_close(bound, exact_log_probabilities(model, points=1))


@pytest.mark.parametrize("guide", [UniformDequantizer, variational])
@torch.no_grad()
def test_importance_weights_of_a_dequantizer_have_the_probability_as_their_mean(guide):
    model = smooth_model(guide())
    exact = exact_log_probabilities(model)
    drawn = torch.stack([model.log_prob_bound(all_images(2)).exp() for _ in range(4000)])
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - exact.exp()).abs() < 4 * error + 1e-6).all()
    assert (error < 0.2 * exact.exp()).all()


@pytest.mark.parametrize("guide", [UniformDequantizer, variational])
@torch.no_grad()
def test_bound_lies_below_the_exact_probability_and_particles_tighten_it(guide):
    model = smooth_model(guide())
    exact, images = exact_log_probabilities(model), all_images(2)
    one, many = (
        torch.stack([model.log_prob_bound(images, num_particles=k) for _ in range(400)]) for k in (1, 20)
    )
    assert (one.mean(0) < exact).all()
    assert (many.mean(0) < exact + 3 * many.std(0) / 20).all()
    assert ((many.mean(0) - one.mean(0)) > 3 * (one.std(0) / 20)).all()


def test_trained_variational_dequantizer_is_closer_than_the_uniform_one():
    model = smooth_model(variational())
    model.flow.freeze()
    images = all_images(2)
    fit(model, images, steps=150, lr=2e-2, progress=False)
    with torch.no_grad():
        exact = exact_log_probabilities(model)
        learned = torch.stack([model.log_prob_bound(images) for _ in range(300)])
        model.guide = UniformDequantizer()
        uniform = torch.stack([model.log_prob_bound(images) for _ in range(300)])
    gaps = [(exact - bound.mean(0)).mean().item() for bound in (learned, uniform)]
    assert 0 < gaps[0] < 0.6 * gaps[1]


def test_bits_per_dim_of_uniform_noise_are_exactly_eight():
    flow = NeuralSplineImage((1, 4, 4), histogram=[1] * 256, hidden_channels=4).double()
    x = torch.randint(256, (50, 1, 4, 4))
    bits = bits_per_dim(DequantizedFlow(flow).log_prob_bound(x), (1, 4, 4))
    assert_close(bits, torch.full((50,), 8.0, dtype=torch.double), atol=1e-5, rtol=0)


def test_the_elbo_and_the_importance_estimate_are_the_bound():
    model, x = stepped_model(), all_images(3)[::7]
    expected = model.log_prob_bound(x)
    for num_samples in (1, 5):
        assert_close(importance_log_likelihood(model, x, num_samples=num_samples).log_prob, expected)
    from pyro_dgm.objectives import ELBO

    assert_close(ELBO(model).evaluate_loss(x), -expected.mean().item())


@torch.no_grad()
def test_draws_are_integer_images_with_their_probabilities():
    model = stepped_model()
    images, n = all_images(3), 20_000
    probabilities = model.log_prob_bound(images).exp()
    x = model.sample(n, seed=0)
    assert x.dtype == torch.int64
    code = (x.flatten(1) * torch.tensor([27, 9, 3, 1])).sum(1)
    shares = torch.bincount(code, minlength=81) / n
    error = (probabilities * (1 - probabilities) / n).sqrt()
    assert ((shares - probabilities).abs() < 4 * error + 2 / n).all()


def test_fit_learns_the_probabilities_of_the_training_images():
    model = stepped_model(histogram=(1, 1))
    x = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]], [[[1.0, 1.0], [0.0, 0.0]]]]).double()
    fit(model, x.repeat(8, 1, 1, 1), steps=300, batch_size=16, lr=3e-2, progress=False)
    assert_close(model.log_prob_bound(x).exp(), torch.full((2,), 0.5).double(), atol=0.05, rtol=0)


def test_encode_and_the_flow_recover_the_middle_of_the_levels():
    model, x = smooth_model(), all_images(2)
    assert_close(model.flow().transform(model.encode(x)), (x + 0.5) / 2)


def test_there_is_no_exact_log_prob_and_the_error_says_what_there_is():
    model = stepped_model()
    with pytest.raises(NotImplementedError, match="log_prob_bound"):
        model.log_prob(all_images(3))
    assert not model.capabilities.has_log_prob
    assert model.capabilities.same_dim


def test_context_reaches_the_flow():
    flow = RealNVPImage(TINY, context_dim=2, alpha=0.0, num_levels=1, hidden_channels=4)
    model = DequantizedFlow(perturbed(flow), 2)
    x, contexts = all_images(2)[:3].float(), torch.randn(2, 3, 2)
    torch.manual_seed(1)
    one = model.log_prob_bound(x, context=contexts[0])
    torch.manual_seed(1)
    assert not torch.allclose(one, model.log_prob_bound(x, context=contexts[1]))
    assert model.sample(3, context=contexts[0]).shape == (3, *TINY)


@pytest.mark.parametrize(
    ("x", "error", "hint"),
    [
        (torch.full((3, *TINY), 0.5), DataError, "to_levels"),
        (torch.full((3, *TINY), 3), DataError, "0 to 2"),
        (torch.zeros(3, 1, 2, 3), ShapeError, "one image a row"),
        (torch.zeros(4), ShapeError, "one image a row"),
    ],
)
def test_what_is_no_image_of_these_levels_is_refused(x, error, hint):
    model = stepped_model()
    for use in (model, model.log_prob_bound, model.encode):
        with pytest.raises(error, match=hint):
            use(x)


def test_dequantizer_needs_a_flow_conditioned_on_the_image():
    with pytest.raises(ShapeError, match="context_channels=1"):
        VariationalDequantizer(RealNVPImage(TINY, num_levels=1, context_dim=4))


def test_model_needs_two_levels():
    with pytest.raises(ValueError, match="num_levels >= 2"):
        DequantizedFlow(stepped_model().flow, 1)
