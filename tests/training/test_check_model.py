"""The battery passes every family, and fails what is wrong for the reason it is wrong."""

import pytest
import torch
from torch import nn

from pyro_dgm.errors import CheckFailed
from pyro_dgm.flows import MAF, NeuralSpline, OTFlow, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import check_model
from tests.contract.cases import CASES
from tests.training.families import FAMILIES

QUICK = {
    "real-nvp": lambda: RealNVP(2, num_layers=2, hidden_dims=(4,)),
    "maf": lambda: MAF(2, num_layers=1, hidden_dims=(4,)).double(),
    "spline": lambda: NeuralSpline(2, num_layers=1, hidden_dims=(4,)),
    "ot-flow": lambda: OTFlow(2, width=4),
    **FAMILIES,
}
BY_CASE = {name: make for name, make in CASES.items() if "context" not in name}


@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
def test_each_family_passes(make):
    assert len(check_model(make)) == 8


@pytest.mark.slow
@pytest.mark.parametrize("make", BY_CASE.values(), ids=BY_CASE)
def test_every_public_flow_passes(make):
    assert len(check_model(make)) == 8


class Shared(NormalizingFlow):
    """Copies keep the weights of the original."""

    def __deepcopy__(self, memo):
        return self


class Stuck(NormalizingFlow):
    """Has a parameter that nothing trains, and no other."""

    def __init__(self, flow):
        super().__init__(flow.requires_grad_(False))
        self.useless = nn.Parameter(torch.zeros(1))


def small():
    return RealNVP(2, num_layers=2, hidden_dims=(4,))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Shared(small()), "a copy shares weights"),
        (lambda: Stuck(small()), "trains with finite weights"),
    ],
)
def test_what_is_wrong_is_named(make, reason):
    with pytest.raises(CheckFailed, match=reason):
        check_model(make)


def test_what_is_no_model_is_a_type_error():
    with pytest.raises(TypeError, match="check_model needs a factory"):
        check_model(lambda: nn.Linear(2, 2))
