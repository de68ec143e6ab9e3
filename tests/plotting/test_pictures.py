"""Pictures show what they say, the right way up, and leave nothing behind."""

import gc
import sys
import weakref

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pyro import distributions as dist
from torch.testing import assert_close

from pyro_dgm import plotting
from pyro_dgm.errors import ShapeError
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, NormalizingFlow

WINDOW = ((-2.0, 2.0), (-1.0, 1.0))
HERE = dist.Normal(torch.tensor([1.0, 0.0]), torch.tensor([0.1, 0.1])).to_event(1)


def pixels(picture):
    """The drawn picture as an array of grey values between 0 and 1, the top row first."""
    from io import BytesIO

    from matplotlib.image import imread

    return imread(BytesIO(plotting.png_bytes(picture)))[..., :3].mean(-1)


CASES = {
    "density": lambda: plotting.density(HERE, WINDOW, num=20),
    "samples": lambda: plotting.samples(torch.randn(50, 2)),
    "latent image": lambda: plotting.latent_image(NormalizingFlow(RealNVP(2)), torch.randn(50, 2)),
    "latent scatter": lambda: plotting.latent_scatter(torch.randn(30, 2), torch.arange(30) % 10),
    "paths": lambda: plotting.paths(torch.randn(5, 9, 2)),
    "image grid": lambda: plotting.image_grid(torch.rand(7, 1, 8, 8)),
    "colour grid": lambda: plotting.image_grid(torch.rand(4, 3, 8, 8)),
    "reconstructions": lambda: plotting.reconstructions(torch.rand(13, 1, 8, 8), torch.rand(13, 1, 8, 8)),
    "training curve": lambda: plotting.training_curve({"loss": [3.0, 2.0, 1.0]}, floors={"floor": 0.5}),
}


@pytest.mark.parametrize("draw", CASES.values(), ids=CASES.keys())
def test_every_picture_is_drawn_on_axes_of_its_own(draw):
    ax = draw()
    assert isinstance(ax, Axes)
    assert pixels(ax).std() > 0.02


def test_density_shows_its_mass_at_the_place_where_it_is():
    ax = plotting.density(HERE, WINDOW, num=80)
    image = ax.images[0]
    array = np.asarray(image.get_array())
    row, column = np.unravel_index(array.argmax(), array.shape)
    # Rows upwards, columns to the right: the origin says so, the extent gives the coordinates.
    assert image.origin == "lower"
    assert image.get_extent() == [-2.0, 2.0, -1.0, 1.0]
    assert abs(-2 + 4 * (column + 0.5) / 80 - 1.0) <= 4 / 80
    assert abs(-1 + 2 * (row + 0.5) / 80) <= 2 / 80


def test_density_is_bright_right_of_the_middle_on_the_drawn_picture():
    ax = plotting.density(HERE, ((-2.0, 2.0), (-2.0, 2.0)), colourbar=False)
    ax.set_axis_off()
    drawn = pixels(ax)
    figure = plotting.figure_of(ax)
    row, column = np.unravel_index(np.where(drawn > 0.95, 0, drawn).argmax(), drawn.shape)
    left, low = figure.transFigure.inverted().transform(ax.transData.transform((1.0, 0.0)))
    assert column / drawn.shape[1] == pytest.approx(left, abs=0.02)
    assert 1 - row / drawn.shape[0] == pytest.approx(low, abs=0.02)


def test_density_grid_adds_up_to_the_mass_in_the_window():
    grid = plotting.density_grid(HERE, WINDOW, num=200)
    assert grid.sum().item() * (4 / 200) * (2 / 200) == pytest.approx(1.0, abs=1e-6)


def test_density_shows_densities_and_not_logarithms():
    ax = plotting.density(HERE, WINDOW, num=101)
    low, high = ax.images[0].get_clim()
    assert low == 0.0
    assert high == pytest.approx(1 / (2 * np.pi * 0.01), rel=1e-2)


def test_density_is_zero_outside_the_support():
    square = dist.Uniform(torch.zeros(2), torch.ones(2)).to_event(1)
    grid = plotting.density_grid(square, ((-1.0, 2.0), (-1.0, 2.0)), num=30)
    assert grid[15, 15] == 1
    assert grid[0, 0] == 0


def test_density_takes_a_flow_a_model_and_a_distribution_alike():
    flow = RealNVP(2)
    grids = [plotting.density_grid(source, WINDOW, num=9) for source in (flow, flow(), NormalizingFlow(flow))]
    assert torch.equal(grids[0], grids[1])
    assert torch.equal(grids[0], grids[2])


def test_latent_image_puts_latents_at_their_place():
    z = torch.tensor([2.0, -1.0]).expand(100, 2)
    ax = plotting.latent_image(lambda x: x, z, reach=3.0, num=6)
    counts = np.asarray(ax.collections[0].get_array()).reshape(6, 6)  # rows upwards
    assert np.unravel_index(counts.argmax(), counts.shape) == (2, 5)


class Prior(torch.nn.Module):
    """An encoder that has learned nothing: the posterior of every row is the prior."""

    def forward(self, x):
        return torch.zeros(len(x), 2), torch.zeros(len(x), 2)


def test_latent_image_of_a_vae_shows_draws_of_the_posterior_and_not_their_means():
    vae = VAE(torch.nn.Linear(2, 3), 2, guide=AmortizedNormal(Prior()))
    ax = plotting.latent_image(vae, torch.zeros(20_000, 3), num=14, reach=3.5)
    shown = torch.as_tensor(np.asarray(ax.collections[0].get_array()).reshape(14, 14)).double()
    middle = torch.linspace(-3.25, 3.25, 14).double()
    normal = torch.exp(-0.5 * (middle[:, None] ** 2 + middle**2)) / (2 * torch.pi)
    assert_close(shown, normal, atol=0.02, rtol=0)


def test_first_image_of_a_grid_is_at_the_top_left():
    x = torch.zeros(4, 1, 8, 8)
    x[0] = 1.0
    sheet = np.asarray(plotting.image_grid(x, columns=2).images[0].get_array())
    assert sheet[1:9, 1:9].min() == 1.0
    assert sheet[10:18].max() < 1.0


def test_reconstructions_stand_under_their_images():
    x = torch.linspace(0.0, 0.4, 12).view(12, 1, 1, 1).expand(12, 1, 8, 8)
    sheet = np.asarray(plotting.reconstructions(x, x + 0.5).images[0].get_array())
    middles = sheet[4::9, 4::9]
    np.testing.assert_allclose(middles[1] - middles[0], 0.5, atol=1e-6)
    np.testing.assert_allclose((middles[3] - middles[2])[:2], 0.5, atol=1e-6)


def test_training_curve_draws_and_labels_its_floors():
    ax = plotting.training_curve({"J_ML": [1.0, 0.5, float("nan"), 0.4]}, floors={"H(X)": 0.2892})
    line = next(line for line in ax.lines if line.get_label().startswith("H(X)"))
    assert set(line.get_ydata()) == {0.2892}
    assert "0.2892" in line.get_label()
    assert ax.get_ylim()[0] < 0.2892


def test_picture_lands_on_the_axes_that_are_given():
    ax = Figure().add_subplot()
    assert plotting.samples(torch.randn(5, 2), ax=ax) is ax


def test_global_settings_stay_as_they_were():
    with matplotlib.rc_context({"font.size": 7.5, "image.cmap": "gray"}):
        before = dict(matplotlib.rcParams)
        for draw in CASES.values():
            plotting.png_bytes(draw())
        assert dict(matplotlib.rcParams) == before


def test_figures_are_freed_without_being_closed():
    figures = [weakref.ref(plotting.figure_of(draw())) for draw in CASES.values()]
    gc.collect()
    assert [ref() for ref in figures] == [None] * len(CASES)


def test_no_picture_needs_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    for draw in CASES.values():
        plotting.png_bytes(draw())


def test_same_picture_is_the_same_file():
    x = torch.randn(20, 2)
    assert plotting.png_bytes(plotting.samples(x)) == plotting.png_bytes(plotting.samples(x))


@pytest.mark.parametrize("draw", [plotting.samples, plotting.latent_scatter])
def test_points_outside_the_plane_are_refused_with_their_shape(draw):
    with pytest.raises(ShapeError, match=r"must have shape \(n, 2\), but has shape \(5, 3\)"):
        draw(torch.zeros(5, 3))


def test_what_is_no_image_is_refused_with_its_shape():
    with pytest.raises(ShapeError, match=r"\(n, 1 or 3, H, W\).*\(5, 64\)"):
        plotting.image_grid(torch.zeros(5, 64))
