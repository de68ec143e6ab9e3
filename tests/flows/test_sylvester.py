"""Sylvester layers: their constraint, and planar layers as a special case."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.flows import Sylvester
from pyro_dgm.transforms import SylvesterTransform
from tests.contract.cases import perturbed


def test_directions_are_orthonormal_and_layers_bijective_for_any_parameters():
    t = perturbed(Sylvester(4, num_layers=3, num_units=2).double(), 10.0).transform()
    assert_close(t.q.mT @ t.q, torch.eye(2).double().expand(3, 2, 2))
    assert (t.product > -1).all()


def test_layer_of_one_unit_is_a_planar_layer():
    normal, x = torch.randn(1, 1, 3).double(), torch.randn(6, 3).double()
    r, r_tilde, b = (torch.full((1, 1, 1), v).double() for v in (0.8, 0.7, 0.3))
    unit = normal[0, 0] / normal[0, 0].norm()
    q = torch.eye(3).double()[:, 0] - 2 * unit * unit[0]  # the first column of the reflection
    y, ladj = SylvesterTransform(normal, r, r_tilde, b[:, 0]).call_and_ladj(x)
    h = torch.tanh(0.7 * x @ q + 0.3)
    assert_close(y, x + 0.8 * h[:, None] * q)
    assert_close(ladj, torch.log(1 + 0.8 * 0.7 * (1 - h**2)))


def test_fresh_flow_is_the_identity_and_impossible_sizes_are_refused():
    x = torch.randn(5, 3)
    assert_close(Sylvester(3).transform()(x), x)
    with pytest.raises(ValueError, match="num_units <= 3"):
        Sylvester(3, num_units=4)
