"""Data sets by name."""

import pytest

from pyro_dgm import data
from pyro_dgm.data import ImageData, Target2D
from pyro_dgm.errors import DataError, MissingDataError, UnknownNameError


@pytest.mark.parametrize("name", ["moons", "uniform-square", "8gaussians", "checkerboard"])
def test_targets_are_found_by_name(name):
    target = data.load(name)
    assert isinstance(target, Target2D)
    assert target.name.startswith(name)


def test_digits_are_found_by_name_and_take_options():
    images = data.load("digits", binarize="dynamic")
    assert isinstance(images, ImageData)
    assert images.binarization == "dynamic"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_images_in_files_need_a_root(name):
    with pytest.raises(MissingDataError, match=f"{name} is read from a folder, and none was given"):
        data.load(name)


def test_every_name_is_listed():
    listed = ("moons", "uniform-square", "8gaussians", "checkerboard", "digits", "mnist", "fashion-mnist")
    assert data.names() == listed


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown data set 'mons': did you mean 'moons'"):
        data.load("mons")


def test_an_unknown_option_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="'nois': did you mean 'noise'"):
        data.load("moons", nois=0.1)
    with pytest.raises(UnknownNameError, match="it has none"):
        data.load("checkerboard", noise=0.1)


def test_values_of_options_are_checked():
    with pytest.raises(DataError, match="noise"):
        data.load("moons", noise=-1.0)
