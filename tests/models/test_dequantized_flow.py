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
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit
from tests.contract.cases import perturbed

TINY = (1, 2, 2)


def smooth_model(guide=None, levels=2):
    """A model whose density varies within levels."""
    flow = RealNVPImage(TINY, alpha=0.05, num_levels=1, num_couplings=1, hidden_channels=4, num_blocks=1)
    return DequantizedFlow(perturbed(flow, 0.2).double(), levels, guide=guide)


def stepped_model(histogram=(5, 1, 2)):
    """A model whose density is constant within levels."""
    flow = NeuralSplineImage(TINY, histogram=histogram, num_levels=1, num_bins=3, hidden_channels=8)
    return DequantizedFlow(perturbed(flow, 0.3).double(), len(histogram))


def all_images(levels):
    """Every image of shape (1, 2, 2)."""
    entries = torch.tensor(list(itertools.product(range(levels), repeat=4)))
    return entries.view(-1, *TINY).double()


@torch.no_grad()
def exact_log_probabilities(model, points=6, margin=0.0):
    """By Gauss-Legendre quadrature over each image's levels, the outer ones wider by a margin."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(points))
    levels, d, images = model.num_levels, model.flow(), all_images(model.num_levels)
    edges = torch.linspace(0, 1, levels + 1).double()
    edges[0], edges[-1] = -margin, 1 + margin
    total = []
    for x in images.flatten(1).long():
        low, width = edges[x], edges[x + 1] - edges[x]
        v = torch.cartesian_prod(*(low[:, None] + width[:, None] * (nodes + 1) / 2))
        w = torch.cartesian_prod(*[weights / 2] * 4).prod(-1)
        total.append(d.log_prob(v.view(-1, *TINY)).exp() @ w * width.prod())
    return torch.stack(total).log()


def variational():
    flow = RealNVPImage(TINY, context_channels=1, alpha=0.0, num_levels=1, num_couplings=1, hidden_channels=4)
    return VariationalDequantizer(perturbed(flow, 0.1).double(), num_levels=2)


def test_probabilities_of_all_images_sum_to_one_by_quadrature():
    model = smooth_model()
    within, whole = (
        exact_log_probabilities(model, 8, margin).exp().sum().item() for margin in (0, 0.05 / 0.9)
    )
    assert_close(whole, 1.0, atol=1e-3, rtol=0)
    assert within < 0.98  # what lies beyond [0, 1] counts to the outer levels


def test_stepped_density_gives_probabilities_that_sum_to_one_without_quadrature():
    model = stepped_model()
    bound = model.log_prob_bound(all_images(3))
    assert_close(bound.exp().sum().item(), 1.0, atol=1e-6, rtol=0)
    assert_close(bound, exact_log_probabilities(model, points=1))


@pytest.mark.parametrize("guide", [UniformDequantizer, variational])
@torch.no_grad()
def test_importance_weights_have_the_probability_as_mean_and_bounds_lie_below(guide):
    model, n = smooth_model(guide()), 4000
    exact = exact_log_probabilities(model)
    bound = model.log_prob_bound(all_images(2).repeat(n, 1, 1, 1)).view(n, 16)
    error = bound.exp().std(0) / math.sqrt(n)
    assert ((bound.exp().mean(0) - exact.exp()).abs() < 4 * error).all()
    assert (error < 0.1 * exact.exp()).all()
    assert (bound.mean(0) < exact - 4 * bound.std(0) / math.sqrt(n)).all()


@torch.no_grad()
def test_particles_tighten_the_bound():
    model, n = smooth_model(), 300
    exact, images = exact_log_probabilities(model), all_images(2).repeat(n, 1, 1, 1)
    gaps = [(exact - model.log_prob_bound(images, k).view(n, 16).mean(0)).mean().item() for k in (1, 4, 16)]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


@pytest.mark.slow
def test_trained_variational_dequantizer_is_closer_than_the_uniform_one():
    model = smooth_model(variational())
    model.flow.freeze()
    images = all_images(2)
    fit(model, images, steps=150, lr=2e-2, progress=False)
    with torch.no_grad():
        exact, images = exact_log_probabilities(model), images.repeat(1000, 1, 1, 1)
        learned = model.log_prob_bound(images).mean().item()
        model.guide = UniformDequantizer()
        uniform = model.log_prob_bound(images).mean().item()
    assert 0 < exact.mean().item() - learned < 0.6 * (exact.mean().item() - uniform)


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


@pytest.mark.slow
def test_fit_learns_the_probabilities_of_the_training_images():
    model = stepped_model(histogram=(1, 1))
    x = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]], [[[1.0, 1.0], [0.0, 0.0]]]]).double()
    fit(model, x.repeat(8, 1, 1, 1), steps=200, batch_size=16, lr=2e-2, progress=False)
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
