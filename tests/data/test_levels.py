"""Integer levels: there and back."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.data import check_levels, dequantize, level_histogram, quantize, to_levels
from pyro_dgm.errors import DataError


def test_grey_levels_become_the_integers_they_were_stored_as():
    stored = torch.arange(256)
    assert torch.equal(to_levels(stored.float().div(255)), stored.float())
    assert torch.equal(
        to_levels(torch.tensor([0.0, 0.25, 1.0]), num_levels=17), torch.tensor([0.0, 4.0, 16.0])
    )


@pytest.mark.parametrize(("values", "levels"), [([0.5004], 256), ([0.0, 1.2], 256), ([0.3], 2), ([-0.2], 6)])
def test_images_that_were_not_stored_with_these_levels_are_refused(values, levels):
    with pytest.raises(DataError, match=f"{levels} levels"):
        to_levels(torch.tensor(values), levels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
def test_dequantised_values_lie_in_the_interval_of_their_level(dtype):
    x = torch.arange(256).to(dtype).expand(2000, 256)
    values = dequantize(x)
    assert torch.equal(quantize(values), x.long())
    assert values.is_floating_point()
    assert_close((values * 256 - x).mean().item(), 0.5, atol=0.002, rtol=0)  # 4 SE: 0.0016


def test_values_beyond_the_unit_interval_count_to_the_ends():
    assert quantize(torch.tensor([-0.1, 1.0, 7.0]), 4).tolist() == [0, 3, 3]


def test_generator_fixes_the_noise_and_leaves_the_global_state():
    state = torch.get_rng_state()
    draws = [dequantize(torch.zeros(3), generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), state)


def test_histogram_counts_every_level():
    assert level_histogram(torch.tensor([[0, 2], [2, 3]]), 5).tolist() == [1, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ([0.0, 0.5], "to_levels"),
        ([0.5, 3.0], "round"),
        ([256.0], "clip"),
        ([-1], "clip"),
        ([torch.nan], "whole"),
    ],
)
def test_what_is_not_of_levels_is_refused_with_a_hint(values, hint):
    with pytest.raises(DataError, match=hint):
        check_levels(torch.tensor(values))
