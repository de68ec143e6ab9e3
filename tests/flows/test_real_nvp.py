"""What RealNVP is told beside its sizes: how far its layers stretch, and what decides first."""

import pyro
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.distributions import StandardNormal
from pyro_dgm.flows import RealNVP
from pyro_dgm.transforms import Affine


@pytest.mark.parametrize("max_stretch", [None, 0.5, 5.0])
def test_log_scales_lie_between_their_bounds_and_start_at_zero_with_a_slope(max_stretch):
    family = Affine(3.0, max_stretch=max_stretch)
    raw = torch.tensor([-1e3, 0.0, 1e3], dtype=torch.double, requires_grad=True)
    _, log_scale = family.call(torch.ones(3).double(), torch.stack((torch.zeros(3).double(), raw)))
    assert_close(log_scale, torch.tensor([-3.0, 0.0, max_stretch or 3.0]).double())
    slope = torch.autograd.grad(log_scale.sum(), raw)[0][1]
    assert 0.4 < slope <= 1


@pytest.mark.parametrize("bounds", [(0.0, None), (-1.0, None), (3.0, 0.0)])
def test_bounds_that_leave_no_room_are_refused(bounds):
    with pytest.raises(ValueError, match="must be positive"):
        RealNVP(2, max_log_scale=bounds[0], max_stretch=bounds[1])


def test_no_stack_stretches_by_more_than_its_layers_may():
    flow = RealNVP(4, num_layers=6, hidden_dims=(8,), max_stretch=0.25).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(3 * torch.randn_like(p))
    x = torch.randn(200, 4).double()
    _, ladj = flow.transform().call_and_ladj(x)
    assert ladj.max() <= 6 * 2 * 0.25


def test_the_left_part_decides_first():
    flow = RealNVP(5, num_layers=1, hidden_dims=(8,), split=1).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(torch.randn_like(p))
    jacobian = torch.autograd.functional.jacobian(flow.transform(), torch.randn(5).double())
    assert_close(jacobian[0], torch.tensor([1.0, 0, 0, 0, 0]).double())
    assert (jacobian[1:, 0] != 0).all()  # each of the four others hangs on the first coordinate


@pytest.mark.parametrize("split", [0, 3, -1])
def test_a_split_that_leaves_a_part_empty_is_refused(split):
    with pytest.raises(ValueError, match="between 1 and 2"):
        RealNVP(3, split=split)


class Tempered(StandardNormal):
    """Of half the temperature; not normalised."""

    def log_prob(self, value):
        return 2 * super().log_prob(value)


class Colder(RealNVP):
    def base(self, context=None):
        return Tempered(self.origin, () if context is None else context.shape[:-1])


def test_a_base_of_ones_own_is_asked_for_its_density_whether_values_are_checked_or_not():
    flow, y = Colder(2, num_layers=2, hidden_dims=(4,)), torch.randn(5, 2)
    latent, ladj = flow().transform.inverse_and_ladj(y)
    expected = 2 * StandardNormal(torch.zeros(2)).log_prob(latent) + ladj
    for checked in (True, False):
        with pyro.validation_enabled(checked):
            assert_close(flow().log_prob(y), expected)
