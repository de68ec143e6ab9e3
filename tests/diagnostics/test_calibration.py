"""Ranks of the truth: even for exact posteriors, uneven in the right way for wrong ones."""

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.diagnostics import calibration, tarp
from pyro_dgm.errors import DataError, ShapeError

N, L = 500, 99


def conjugate(width=1.0, shift=0.0):
    """Truths and posterior draws, of another width, of a normal mean under unit prior and noise."""
    truth = torch.randn(N, 2).double()
    x = truth + torch.randn(N, 2)
    spread = width * torch.randn(N, L, 2) + shift
    return truth, x[:, None] / 2 + 0.5**0.5 * spread


def test_exact_posterior_has_even_ranks():
    found = calibration(*conjugate(), names=["a", "b"])
    assert found.calibrated
    assert (found.p_values > 0.01).all()
    assert found.ranks.min() >= 0
    assert found.ranks.max() <= L
    for level in (0.5, 0.9):
        error = (level * (1 - level) / N) ** 0.5
        assert ((found.coverage(level) - level).abs() < 4 * error).all()


@pytest.mark.parametrize(
    ("width", "shift", "fault"),
    [(0.7, 0.0, "narrow"), (1.5, 0.0, "wide"), (1.0, 0.5, "high"), (1.0, -0.5, "low")],
)
def test_wrong_posterior_fails_and_the_fault_is_named(width, shift, fault):
    found = calibration(*conjugate(width, shift), names=["a", "b"])
    assert (found.p_values < 0.01).all()
    assert found.sentence == f"These posteriors are wrong: a is drawn too {fault}; b is drawn too {fault}."


def test_intervals_of_a_narrow_posterior_cover_as_often_as_normal_ones_do():
    found = calibration(*conjugate(0.7))
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
    expected = 1 - 2 * normal.cdf(-0.7 * normal.icdf(torch.tensor(0.95).double()))
    assert ((found.coverage(0.9) - expected).abs() < 4 * (0.25 / N) ** 0.5).all()


def test_p_values_of_even_ranks_are_even():
    found = calibration(torch.rand(400, 300), torch.rand(400, 19, 300))
    below = (found.p_values < 0.5).double().mean()
    assert abs(below - 0.5) < 4 * (0.25 / 300) ** 0.5


def test_band_holds_the_whole_ecdf_as_often_as_it_says():
    found = calibration(torch.rand(200, 400), torch.rand(200, 49, 400))
    levels, share = found.ecdf(51)
    law = (levels * 50 + 1e-9).floor() / 50
    inside = ((share - law[:, None]).abs() <= found.band(0.9, 51)[:, None] + 1e-9).all(0)
    assert abs(inside.double().mean() - 0.9) < 4 * (0.09 / 400) ** 0.5


def test_wrong_correlation_is_seen_by_distances_and_not_by_marginal_ranks():
    root = torch.linalg.cholesky(torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double())
    truth = torch.randn(N, 2).double() @ root.T
    right, wrong = torch.randn(N, L, 2).double() @ root.T, torch.randn(N, L, 2).double()
    assert tarp(truth, right).calibrated
    assert calibration(truth, wrong).calibrated
    assert not tarp(truth, wrong).calibrated


def test_equal_values_share_their_ranks_evenly():
    rolls = torch.randint(6, (2000, 30, 1)).double()
    found = calibration(torch.randint(6, (2000, 1)).double(), rolls)
    assert found.calibrated


def test_bins_of_unequal_size_are_expected_to_be():
    found = calibration(torch.rand(300, 1), torch.rand(300, 9, 1))
    observed, expected = found.counts(bins=4)
    assert_close(expected, torch.tensor([3.0, 2.0, 3.0, 2.0]).double() * 30)
    assert observed.sum() == 300


def test_sites_by_name_become_named_quantities():
    truth = {"a": torch.rand(50), "b": torch.rand(50, 2)}
    draws = {"b": torch.rand(50, 20, 2), "a": torch.rand(50, 20)}
    found = calibration(truth, draws)
    assert found.names == ("a", "b[0]", "b[1]")
    assert_close(found.ranks[:, 2], (draws["b"][:, :, 1] < truth["b"][:, None, 1]).sum(1))
    assert "b[1]" in str(found)
    assert str(found).endswith(found.sentence)


def test_what_has_no_rank_is_refused():
    with pytest.raises(ShapeError, match="draws"):
        calibration(torch.rand(5, 2), torch.rand(5, 9, 3))
    with pytest.raises(DataError, match="NaN"):
        calibration(torch.rand(5, 1), torch.full((5, 9, 1), float("nan")))
    with pytest.raises(DataError, match="lack b"):
        calibration({"b": torch.rand(5)}, {"a": torch.rand(5, 9)})
