"""Pictures of continuous flows in motion."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm import plotting
from pyro_dgm.errors import ArgumentTypeError, ShapeError
from pyro_dgm.flows import CNF, OTFlow, RealNVP
from pyro_dgm.nets import ModuleVelocity

WINDOW = ((-4.0, 4.0), (-3.0, 3.0))


def shift(t, x):
    return torch.tensor([1.0, 0.0]).expand_as(x) * 2 * t


def moving():
    return CNF(2, field=lambda n, c: ModuleVelocity(shift, n, c)).eval()


def test_densities_follow_the_flow_from_base_to_data():
    figure = plotting.density_over_time(moving(), (0.0, 0.5, 1.0), WINDOW, num=64)
    images = [ax.images[0] for ax in figure.axes]
    assert len({image.get_clim() for image in images}) == 1
    for image, centre in zip(images, (0.0, 0.25, 1.0), strict=True):  # the integral of 2 t
        values = np.asarray(image.get_array())
        first = -4 + 8 * (np.arange(64) + 0.5) / 64
        assert (values.sum(0) * first).sum() / values.sum() == pytest.approx(centre, abs=0.05)
    assert plotting.png_bytes(figure)[:4] == b"\x89PNG"


def test_arrows_are_the_velocity_at_that_time():
    ax = plotting.vector_field(moving(), 0.25, WINDOW, num=5)
    quiver = ax.collections[0]
    np.testing.assert_allclose(quiver.U, 0.5)
    np.testing.assert_allclose(quiver.V, 0.0)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_part_of_the_way_ends_on_the_path(share):
    flow = OTFlow(2, width=6, nt_train=10).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    x, t = torch.randn(5, 2, dtype=torch.double), flow.transform()
    y, ladj = t.part(share).call_and_ladj(x)
    assert_close(y, t.path(x)[round(10 * share)], rtol=0, atol=1e-4)
    back, inverse = t.part(share).inverse_and_ladj(y)
    assert_close((back, inverse), (x, -ladj), rtol=0, atol=1e-3)


def shift_by_context(t, x, context):
    return (context + 0 * x) * 2 * t


def test_the_context_decides_where_the_points_go():
    flow = CNF(2, 2, field=lambda n, c: ModuleVelocity(shift_by_context, n, c)).eval()
    context = torch.tensor([-1.0, 2.0])
    quiver = plotting.vector_field(flow, 0.25, WINDOW, num=5, context=context).collections[0]
    np.testing.assert_allclose((quiver.U[0], quiver.V[0]), (-0.5, 1.0))
    (panel,) = plotting.density_over_time(flow, (1.0,), WINDOW, num=64, context=context).axes
    values = np.asarray(panel.images[0].get_array())
    first = -4 + 8 * (np.arange(64) + 0.5) / 64
    assert (values.sum(0) * first).sum() / values.sum() == pytest.approx(-1.0, abs=0.1)


@pytest.mark.parametrize("draw", [plotting.vector_field, plotting.density_over_time])
def test_flows_of_other_spaces_and_contexts_that_do_not_fit_are_refused(draw):
    with pytest.raises(ShapeError, match=r"plane.*\(3,\)"):
        draw(CNF(3))
    with pytest.raises(ShapeError, match=r"context_dim=3.*none came"):
        draw(CNF(2, 3))
    with pytest.raises(ShapeError, match="one context"):
        draw(CNF(2, 3), context=torch.zeros(4, 3))
    with pytest.raises(ArgumentTypeError, match=r"transform.*path"):
        plotting.paths(CNF(2))


def test_flows_that_do_not_move_in_time_are_refused():
    for draw in (plotting.vector_field, plotting.density_over_time):
        with pytest.raises(TypeError, match="RealNVP does not move"):
            draw(RealNVP(2))
    with pytest.raises(ValueError, match="share"):
        moving().transform().part(0.0)
