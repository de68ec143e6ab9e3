import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError, UnknownNameError
from pyro_dgm.nets import (
    ConvCritic,
    ConvDecoder,
    ConvEncoder,
    lecture_critic,
    lecture_decoder,
    lecture_encoder,
    norm_layer,
)

SHAPES = [(1, 8, 8), (3, 12, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [(), (5,), (2, 5), (0,)])
@pytest.mark.parametrize("norm", [None, "layer", "group"])
def test_any_leading_dimensions_pass_through(shape, batch, norm):
    loc, logvar = ConvEncoder(shape, 3, width=8, norm=norm)(torch.rand(*batch, *shape))
    assert loc.shape == logvar.shape == (*batch, 3)
    assert ConvDecoder(3, shape, width=8, norm=norm)(loc).shape == (*batch, *shape)
    assert ConvCritic(shape, width=8, norm=norm)(torch.rand(*batch, *shape)).shape == batch


@pytest.mark.parametrize("net", [lecture_encoder, lecture_decoder, lecture_critic])
def test_lecture_networks_have_the_published_number_of_parameters(net):
    published = {lecture_encoder: 45_924, lecture_decoder: 42_913, lecture_critic: 36_705}
    assert sum(p.numel() for p in net().parameters()) == published[net]


def test_lecture_networks_can_do_without_batch_normalisation():
    for net in (lecture_encoder, lecture_decoder, lecture_critic):
        for norm in (None, "layer", "group"):
            assert not any(isinstance(m, nn.BatchNorm2d) for m in net(norm).modules())


@pytest.mark.parametrize("norm", [None, "layer", "group"])
def test_without_batch_normalisation_a_score_depends_on_its_row_alone(norm):
    critic = ConvCritic((1, 8, 8), width=8, norm=norm).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.double)
    assert_close(critic(x)[1:2], critic(x[1:2]))


def test_scores_are_unbounded():
    critic = ConvCritic((1, 8, 8), width=8)
    scores = critic(1e4 * torch.randn(50, 1, 8, 8))
    assert scores.min() < -1 < 1 < scores.max()


@pytest.mark.parametrize(("output", "low", "high"), [("sigmoid", 0, 1), ("tanh", -1, 1)])
def test_a_generator_can_give_data_in_its_range(output, low, high):
    x = ConvDecoder(2, (1, 8, 8), width=8, output=output)(100 * torch.randn(50, 2))
    assert low <= x.min() < x.max() <= high


def test_logits_are_the_logits_of_the_sigmoid_output():
    torch.manual_seed(1)
    logits = ConvDecoder(2, (1, 8, 8), width=8, norm=None)
    probs = ConvDecoder(2, (1, 8, 8), width=8, norm=None, output="sigmoid")
    probs.load_state_dict(logits.state_dict())
    z = torch.randn(3, 2)
    assert_close(logits(z).sigmoid(), probs(z))


def test_critic_scales_its_data_range_to_plus_minus_one():
    unit, signed = ConvCritic((1, 8, 8), width=8), ConvCritic((1, 8, 8), width=8, data_range=(-1, 1))
    signed.load_state_dict(unit.state_dict())
    x = torch.rand(3, 1, 8, 8)
    assert_close(unit(x), signed(2 * x - 1))


def test_an_empty_data_range_is_an_error():
    with pytest.raises(ValueError, match=r"smallest, largest.*\(1, 0\)"):
        ConvCritic((1, 8, 8), data_range=(1, 0))


@pytest.mark.parametrize("net", [ConvEncoder((1, 8, 8), 2), ConvCritic((1, 8, 8))])
def test_images_of_another_shape_are_an_error(net):
    with pytest.raises(ShapeError, match=r"\(1, 8, 8\).*\(5, 1, 28, 28\)"):
        net(torch.rand(5, 1, 28, 28))


def test_codes_of_another_size_are_an_error():
    with pytest.raises(ShapeError, match=r"latent_dim=2.*\(5, 3\)"):
        ConvDecoder(2, (1, 8, 8))(torch.randn(5, 3))


@pytest.mark.parametrize("shape", [(8, 8), (1, 10, 8), (1, 8, 9)])
def test_sizes_that_cannot_be_halved_twice_are_an_error(shape):
    with pytest.raises(ShapeError, match="divisible by 4"):
        ConvCritic(shape)


def test_unknown_names_are_errors_that_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'batch'"):
        norm_layer("bach", 8)
    with pytest.raises(UnknownNameError, match="did you mean 'sigmoid'"):
        ConvDecoder(2, (1, 8, 8), output="sigmod")
