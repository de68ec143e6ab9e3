"""Pictures of ranks: bars of the counts, and curves inside their band where ranks are even."""

import pytest
import torch

from pyro_dgm import plotting
from pyro_dgm.diagnostics import calibration


def even_ranks():
    return calibration(torch.rand(400, 2), torch.rand(400, 49, 2), names=["a", "b"])


def test_bars_are_the_counts_and_the_title_the_p_value():
    found = even_ranks()
    ax = plotting.rank_histogram(found, "b", bins=10)
    heights = [bar.get_height() for bar in ax.patches if hasattr(bar, "get_height")][-10:]
    assert heights == pytest.approx(found.counts(10)[0][:, 1].tolist())
    assert f"{found.p_values[1].item():.2g}" in ax.get_title()


def test_curves_of_even_ranks_lie_in_the_band_and_of_narrow_posteriors_do_not():
    narrow = calibration(torch.randn(400, 1), 0.7 * torch.randn(400, 49, 1))
    for found, inside in ((even_ranks(), True), (narrow, False)):
        ax = plotting.rank_ecdf(found)
        band = torch.as_tensor(found.band())
        curves = [torch.as_tensor(line.get_ydata()) for line in ax.lines[1:]]
        assert len(curves) == len(found.names)
        assert all(bool((curve.abs() <= band + 1e-9).all()) is inside for curve in curves)
