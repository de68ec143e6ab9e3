"""A flow that was not called leaves its distribution in the place of a draw, and says so when it is used."""

import operator

import pyro
import pytest
import torch

from pyro_dgm.errors import ArgumentTypeError
from pyro_dgm.flows import RealNVP

USES = {
    "indexed": lambda w: w[..., 0],
    "added": lambda w: w + torch.ones(2),
    "added to": lambda w: torch.ones(2) + w,
    "scaled": lambda w: 2.0 * w,
    "multiplied": lambda w: w * torch.ones(2),
    "subtracted from": lambda w: torch.ones(2) - w,
    "divided": lambda w: w / 2,
    "multiplied by a matrix": lambda w: torch.eye(2) @ w,
    "negated": operator.neg,
}


@pytest.mark.parametrize("use", USES)
def test_whatever_is_done_with_it_the_brackets_are_named(use):
    def model():
        return USES[use](pyro.sample("w", RealNVP(2)))

    with pytest.raises(ArgumentTypeError, match=r"pyro\.sample\('w', flow\(\)\)"):
        model()


def test_a_distribution_is_as_true_as_any_other_object():
    assert RealNVP(2)()  # a length would be asked here, and refused
