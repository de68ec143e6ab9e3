import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import ShapeError, UnknownNameError
from pyro_dgm.nets import MLPCritic, MLPDecoder


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), ()])
@pytest.mark.parametrize("batch", [(), (5,), (2, 5), (0,)])
def test_any_leading_dimensions_pass_through(shape, batch):
    x = MLPDecoder(3, shape, (8,))(torch.randn(*batch, 3))
    assert x.shape == (*batch, *shape)
    assert MLPCritic(shape, (8,))(x).shape == batch


def test_rows_do_not_depend_on_each_other():
    decoder, critic = MLPDecoder(3, (2, 2), (8,)).double(), MLPCritic((2, 2), (8,)).double()
    z = torch.randn(4, 3, dtype=torch.double)
    assert_close(critic(decoder(z))[1], critic(decoder(z[1])))


@pytest.mark.parametrize(("output", "low", "high"), [("sigmoid", 0, 1), ("tanh", -1, 1)])
def test_a_generator_can_give_data_in_its_range(output, low, high):
    x = MLPDecoder(2, (6,), (8,), output=output)(100 * torch.randn(50, 2))
    assert low <= x.min() < x.max() <= high


def test_wrong_sizes_and_names_are_errors():
    with pytest.raises(ShapeError, match=r"latent_dim=2.*\(5, 3\)"):
        MLPDecoder(2, (6,))(torch.randn(5, 3))
    with pytest.raises(ShapeError, match=r"\(1, 8, 8\).*\(5, 64\)"):
        MLPCritic((1, 8, 8))(torch.randn(5, 64))
    with pytest.raises(UnknownNameError, match="did you mean 'tanh'"):
        MLPDecoder(2, (6,), output="tan")
