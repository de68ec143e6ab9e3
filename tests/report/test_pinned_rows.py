"""Distances on features and labels stand on the page of digits, and on no other."""

import pytest
import torch
from torch import nn

from pyro_dgm import data
from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.report import compare
from pyro_dgm.report.pinned_rows import classifier_of


class OneClass(nn.Module):
    """Gives images of a single class, whatever the latent."""

    def __init__(self, images):
        super().__init__()
        self.register_buffer("images", images)

    def forward(self, z):
        place = torch.special.ndtr(z[..., 0]).clamp(max=0.999)
        return self.images[(place * len(self.images)).long()]


@pytest.fixture(scope="module")
def found():
    digits = data.digits()
    networks = {
        "all": OneClass(digits.train),
        "zeros": OneClass(digits.train[digits.train_labels == 0]),
    }
    models = {name: ImplicitGenerator(network, 1) for name, network in networks.items()}
    return {(m.model, m.quantity): m for m in compare(models, digits, num=100).measurements}


def test_training_images_lie_in_the_floor_and_one_class_does_not(found):
    for quantity in ("energy, features", "kernel, features", "fréchet, features"):
        assert found["zeros", quantity].value > 5 * abs(found["all", quantity].value) + 0.01, quantity


def test_classes_are_counted(found):
    assert found["all", "classes hit"].value == 10
    assert found["zeros", "classes hit"].value == 1
    assert found["all", "KL of classes"].value < 0.2 < 2.2 < found["zeros", "KL of classes"].value


def test_other_data_have_no_classifier():
    assert classifier_of(data.two_moons()) is None
    assert classifier_of(data.digits(binarize="fixed")).name == "digits"
