"""Image data: the digits, and what binarisation does and says."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.data import digits
from pyro_dgm.errors import DataError, UnknownNameError

BINARIZATIONS = ("threshold", "fixed", "dynamic")


def test_digits_are_the_grey_images_of_scikit_learn():
    from sklearn.datasets import load_digits

    images = digits()
    assert images.event_shape == (1, 8, 8)
    assert images.train.dtype == torch.float32
    everything = torch.cat([images.train, images.test]).reshape(-1, 64)
    original = torch.from_numpy(load_digits().data).float() / 16
    assert everything.min() == 0
    assert everything.max() == 1
    assert sorted(everything.tolist()) == sorted(original.tolist())


def test_labels_belong_to_their_images():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    label_of = {tuple(row): label for row, label in zip((pixels / 16).tolist(), labels, strict=True)}
    images = digits()
    for x, y in ((images.train, images.train_labels), (images.test, images.test_labels)):
        assert [label_of[tuple(row)] for row in x.reshape(-1, 64).tolist()] == y.tolist()


def test_split_is_stratified_and_repeats_with_its_seed():
    images = digits(test_fraction=0.25)
    share = images.test_labels.bincount() / (images.test_labels.bincount() + images.train_labels.bincount())
    assert_close(share, torch.full((10,), 0.25), atol=0.01, rtol=0)
    assert digits(test_fraction=0.25).test.equal(images.test)
    assert not digits(test_fraction=0.25, split_seed=1).test.equal(images.test)


def test_grey_images_say_nothing_of_binarisation():
    assert digits().name == "digits"
    assert digits().binarization is None


@pytest.mark.parametrize("binarize", BINARIZATIONS)
def test_binarised_images_are_binary_and_say_so_in_their_name(binarize):
    images = digits(binarize=binarize)
    assert set(images.sample(50).unique().tolist()) == {0.0, 1.0}
    assert set(images.test.unique().tolist()) == {0.0, 1.0}
    assert "binariz" in images.name
    assert len({digits(binarize=b).name for b in (None, *BINARIZATIONS)}) == 4


def test_threshold_is_one_half():
    assert digits(binarize="threshold").train.equal((digits().train >= 0.5).float())


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_pixels_are_drawn_with_their_grey_level_as_probability(binarize):
    grey, images = digits().train, digits(binarize=binarize)
    binary = images.batch(torch.arange(len(grey)))
    variance = (grey * (1 - grey)).sum()
    assert (binary - grey).sum().abs() < 3 * variance.sqrt()
    # uncorrelated with the grey level, and varying as much as Bernoulli variables do
    assert ((binary - grey) * (grey - grey.mean())).sum().abs() < 3 * (grey * (1 - grey)).sum().sqrt()
    assert_close((binary - grey).square().sum(), variance, rtol=0.02, atol=0)


def test_fixed_binarisation_is_drawn_once_by_its_seed():
    images = digits(binarize="fixed", seed=5)
    index = torch.arange(20)
    assert images.batch(index).equal(images.batch(index))
    assert digits(binarize="fixed", seed=5).train.equal(images.train)
    assert not digits(binarize="fixed", seed=6).train.equal(images.train)
    assert not digits(binarize="fixed", seed=6).test.equal(images.test)


def test_dynamic_binarisation_is_drawn_anew_but_for_the_test_images():
    images = digits(binarize="dynamic")
    index = torch.arange(20)
    assert not images.batch(index).equal(images.batch(index))
    assert images.test.equal(digits(binarize="dynamic").test)
    assert images.train.equal(digits().train)


def test_seeded_batches_and_samples_repeat_and_leave_the_global_state():
    images, before = digits(binarize="dynamic"), torch.get_rng_state()
    draw = [images.batch(torch.arange(9), torch.Generator().manual_seed(1)) for _ in range(2)]
    assert draw[0].equal(draw[1])
    assert images.sample(7, seed=2).equal(images.sample(7, seed=2))
    assert torch.get_rng_state().equal(before)


def test_wrong_options_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'dynamic'"):
        digits(binarize="dynamical")
    with pytest.raises(DataError, match="test_fraction"):
        digits(test_fraction=1.0)
    with pytest.raises(DataError, match="seed must be at least 0"):
        digits(binarize="fixed", seed=-1)
