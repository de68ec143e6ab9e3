"""The conditioner of image flows."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError
from pyro_dgm.nets import ConvConditioner


def used(net):
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return net.double()


def test_fresh_network_gives_the_initial_parameters_parameter_by_parameter():
    net = ConvConditioner(2, 3, 2, hidden_channels=4, size=(3, 5), initial=torch.tensor([1.0, 2.0, 3.0]))
    out = net(torch.randn(4, 2, 3, 5)).unflatten(1, (3, 2))
    assert torch.equal(out, torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(4, 3, 2, 3, 5))


@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
@pytest.mark.parametrize("place", [(1, 1), (4, 2)])
def test_any_leading_dimensions_of_image_and_context_broadcast(batch, place):
    net = used(ConvConditioner(2, 3, 1, hidden_channels=4, context_channels=2))
    x = torch.randn(*batch, 2, 4, 2, dtype=torch.double)
    context = torch.randn(3, 2, *place, dtype=torch.double)
    if batch == (0,):
        context = context[:1]
    out = net(x, context)
    assert out.shape == (*torch.broadcast_shapes(batch, context.shape[:1]), 3, 4, 2)
    if batch == (2, 3):
        assert_close(out[1, 2], net(x[1, 2], context[2]))


def test_context_image_is_seen_at_its_place():
    net = used(ConvConditioner(1, 1, 1, hidden_channels=4, num_blocks=0, kernel_size=1, context_channels=1))
    x, context = torch.zeros(2, 1, 4, 4, dtype=torch.double)
    before, context[0, 1, 2] = net(x, context), 1.0
    changed = net(x, context) != before
    assert changed.nonzero().tolist() == [[0, 1, 2]]


def test_size_gives_each_pixel_a_bias_of_its_own():
    nets = [used(ConvConditioner(1, 1, 1, num_blocks=0, kernel_size=1, size=size)) for size in (None, (3, 3))]
    flat, varied = (net(torch.zeros(1, 3, 3, dtype=torch.double)).unique() for net in nets)
    assert len(flat) == 1
    assert len(varied) == 9


def test_another_number_of_channels_is_refused():
    with pytest.raises(ShapeError, match="2 channels"):
        ConvConditioner(2, 1, 1)(torch.zeros(3, 4, 4))


@pytest.mark.parametrize("options", [{"num_blocks": -1}, {"kernel_size": 2}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ConvConditioner(1, 1, 1, **options)
