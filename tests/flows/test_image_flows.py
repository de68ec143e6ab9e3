"""Flows over images: masks, scales, contexts and pixels; what every flow promises is in the contract."""

import math

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.testing import assert_close

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.flows import Glow, NeuralSplineImage, RealNVPImage
from pyro_dgm.flows.pixel_marginal import PixelMarginal
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.nets import ConvConditioner, MaskedMLP
from tests.contract.cases import perturbed

HISTOGRAM = [50, 3, 0, 1, 2, 7, 1, 9]
FLOWS = {
    "real-nvp": lambda *args, **options: RealNVPImage(*args, hidden_channels=4, num_couplings=1, **options),
    "glow": lambda *args, **options: Glow(*args, hidden_channels=4, num_steps=2, **options),
    "spline": lambda *args, **options: NeuralSplineImage(*args, hidden_channels=4, num_bins=4, **options),
}


@pytest.fixture(params=FLOWS.values(), ids=FLOWS.keys())
def make(request):
    return request.param


def pixels(**options):
    """A used flow of pixels."""
    flow = NeuralSplineImage(
        (1, 4, 4),
        histogram=HISTOGRAM,
        num_levels=1,
        num_bins=5,
        hidden_channels=4,
        hidden_dims=(8,),
        **options,
    )
    return perturbed(flow, 0.3).double()


def log_det(transform, x):
    """By autograd, of one image."""
    jacobian = torch.autograd.functional.jacobian(lambda x: transform.call_and_ladj(x)[0], x)
    return torch.linalg.slogdet(jacobian.view(x.numel(), x.numel())).logabsdet


@pytest.mark.parametrize("uses", ["log_prob", "sample"])
def test_every_network_is_evaluated_once_and_a_draw_solves_the_masked_one(make, uses):
    flow, counts = make((1, 4, 4)), {}
    for name, module in flow.named_modules():
        if isinstance(module, ConvConditioner | MaskedMLP):
            counts[name] = 0
            module.register_forward_hook(lambda *_, name=name: counts.__setitem__(name, counts[name] + 1))
    d = flow()
    d.log_prob(torch.zeros(3, 1, 4, 4)) if uses == "log_prob" else d.sample((3,))
    solved = uses == "sample" and "coarsest" in counts
    assert counts == {name: 0 if solved and name == "coarsest" else 1 for name in counts}
    assert len(counts) >= 4


def test_context_image_is_seen_by_every_pixel_at_its_place(make):
    flow = perturbed(make((1, 8, 8), context_channels=2, num_levels=2)).double().eval()
    y = torch.randn(1, 8, 8, dtype=torch.double)
    context = torch.randn(2, 8, 8, dtype=torch.double).requires_grad_()
    slopes = torch.autograd.grad(flow(context).log_prob(y), context)[0]
    assert (slopes != 0).all()


def test_context_image_gives_the_batch_shape(make):
    flow = perturbed(make((1, 4, 4), context_channels=1)).double().eval()
    context = torch.randn(3, 1, 4, 4, dtype=torch.double)
    d = flow(context)
    assert d.batch_shape == (3,)
    y = d.sample((2,))
    assert y.shape == (2, 3, 1, 4, 4)
    assert_close(d.log_prob(y)[1, 2], flow(context[2]).log_prob(y[1, 2]))


@pytest.mark.parametrize("shape", [None, (3,), (2, 4, 4), (3, 1, 4, 2)])
def test_context_image_that_does_not_fit_is_refused(make, shape):
    flow = make((1, 4, 4), context_channels=1)
    with pytest.raises(ShapeError, match="context_channels=1"):
        flow(None if shape is None else torch.zeros(shape))


def test_two_kinds_of_context_are_refused(make):
    with pytest.raises(ValueError, match="Concatenate"):
        make((1, 4, 4), context_dim=2, context_channels=1)


@pytest.mark.parametrize(
    ("shape", "message"), [((4, 4), r"\(C, H, W\)"), ((1, 6, 4), "halves"), ((0, 4, 4), "C,")]
)
def test_shapes_that_are_no_images_or_cannot_be_halved_are_refused(make, shape, message):
    with pytest.raises(ShapeError, match=message):
        make(shape, num_levels=2)


def test_fresh_flows_without_a_rotation_are_the_identity():
    x = torch.randn(5, 2, 4, 4)
    for make in (FLOWS["real-nvp"], FLOWS["spline"]):
        y, ladj = make((2, 4, 4)).transform().call_and_ladj(x)
        assert_close(y, x, atol=1e-5, rtol=0)
        assert_close(ladj, torch.zeros(5), atol=1e-4, rtol=0)


def test_first_batch_leaves_a_step_of_glow_with_normal_moments():
    flow = Glow((1, 4, 4), num_levels=1, num_steps=1, hidden_channels=4)
    y = 5 + 3 * torch.randn(500, 1, 4, 4)
    x = flow.transform().inv(y)
    assert_close(x.mean().item(), 0.0, atol=1e-4, rtol=0)
    assert_close(x.square().mean().item(), 1.0, atol=1e-3, rtol=0)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_alpha_carries_images_into_the_unit_interval(alpha):
    for make in (FLOWS["real-nvp"], FLOWS["glow"]):
        flow = perturbed(make((1, 4, 4), alpha=alpha)).double().eval()
        x = torch.randn(1, 4, 4, dtype=torch.double)
        y, ladj = flow.transform().call_and_ladj(x)
        assert flow().support.check(y)
        assert y.min() > -alpha / (1 - 2 * alpha)
        assert_close(ladj, log_det(flow.transform(), x))
        with pytest.raises(ValueError, match="support"):
            flow().log_prob(torch.full((1, 4, 4), 1.1, dtype=torch.double))


def test_pixel_flow_has_the_log_det_of_autograd_and_undoes_itself():
    transform = pixels().transform()
    x = torch.randn(1, 4, 4, dtype=torch.double)
    y, ladj = transform.call_and_ladj(x)
    assert ((y > 0) & (y < 1)).all()
    assert_close(ladj, log_det(transform, x))
    back, inverse = transform.inverse_and_ladj(y)
    assert_close(back, x)
    assert_close(inverse, -ladj)


def test_pixel_flow_has_no_density_beyond_the_unit_interval():
    d = pixels()()
    assert d.support.check(d.sample((50,))).all()
    for outside in (-0.1, 1.1):
        y = torch.full((1, 4, 4), outside, dtype=torch.double)
        assert not d.support.check(y)
        with pytest.raises(ValueError, match="support"):
            d.log_prob(y)
        with pyro.validation_enabled(False):
            assert pixels()().log_prob(y).isnan()


def test_fresh_pixel_flow_has_independent_pixels_of_the_histogram():
    flow = NeuralSplineImage((1, 4, 4), histogram=HISTOGRAM, num_bins=3, hidden_channels=4).double()
    levels = torch.randint(8, (20, 1, 4, 4))
    shares = (torch.tensor(HISTOGRAM, dtype=torch.double) + 1) / (sum(HISTOGRAM) + 8)
    expected = (8 * shares[levels]).log().sum((1, 2, 3))
    assert_close(flow().log_prob((levels.double() + 0.3) / 8), expected, atol=1e-5, rtol=0)


def test_density_of_a_pixel_flow_is_constant_within_levels():
    flow, levels = pixels(), torch.randint(8, (20, 1, 4, 4))
    places = torch.rand(2, 20, 1, 4, 4, dtype=torch.double)
    first, second = flow().log_prob((levels + places) / 8)
    assert_close(first, second, atol=1e-9, rtol=0)
    assert first.std() > 1  # and far from constant between them


def test_scores_of_a_pixel_flow_can_be_mapped_over_rows():
    flow, y = pixels(), torch.rand(3, 1, 4, 4, dtype=torch.double)
    with pyro.validation_enabled(False):
        scores = torch.func.vmap(torch.func.grad(lambda y: flow().log_prob(y)))(y)
    assert_close(scores, torch.zeros_like(y), atol=1e-6, rtol=0)


def test_image_flow_is_an_observed_site_whose_loss_is_the_likelihood(make):
    model = NormalizingFlow(perturbed(make((1, 4, 4), num_levels=1)).double().eval())
    x = torch.randn(6, 1, 4, 4, dtype=torch.double)
    svi = SVI(model, model.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    expected = -model.log_prob(x).sum().item()
    assert_close(svi.evaluate_loss(x), expected)
    assert_close(sum(svi.evaluate_loss(half, size=6) for half in x.split(3)), 2 * expected)
    for _ in range(10):
        svi.step(x)
    assert svi.evaluate_loss(x) < expected - 1


def test_knots_lie_at_levels_and_no_bin_is_tiny():
    marginal = PixelMarginal([0] * 100 + [10**6, 0, 0, 5 * 10**5] + [0] * 50 + [7 * 10**5])
    ranks = torch.tensor(marginal._ranks)
    for num_bins in (2, 5, 50):
        knots = torch.tensor(marginal.knots(num_bins))
        assert knots.diff().min() > 9e-5
        assert torch.isin(knots, ranks).all()
        assert len(knots) <= num_bins + 1


@pytest.mark.parametrize("histogram", [[3], [1, -1], [1.0, math.nan]])
def test_what_is_no_histogram_is_refused(histogram):
    with pytest.raises(DataError, match="histogram"):
        NeuralSplineImage((1, 4, 4), histogram=histogram)


@pytest.mark.parametrize(
    ("flow", "option"),
    [(RealNVPImage, "num_couplings"), (Glow, "num_steps"), (NeuralSplineImage, "num_bins")],
)
def test_flows_without_a_layer_are_refused(flow, option):
    with pytest.raises(ValueError, match=option):
        flow((1, 4, 4), **{option: 0})
