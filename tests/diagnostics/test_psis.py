"""Pareto k of importance weights: ArviZ's own figures, and guides that are known to be good and bad."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.diagnostics import psis
from pyro_dgm.errors import DataError, ShapeError

NORMAL = dist.Normal(torch.tensor(0.0).double(), 1.0)


def weights_of_scale(scale, n=4000):
    """Log-weights of a normal posterior under a normal guide of another scale."""
    guide = dist.Normal(torch.tensor(0.0).double(), scale)
    z = guide.sample((n,))
    return NORMAL.log_prob(z) - guide.log_prob(z)


def arviz_k(log_weights):
    import arviz

    if hasattr(arviz, "psislw"):
        return float(arviz.psislw(log_weights.numpy())[1])
    from arviz_stats.base import array_stats

    return float(array_stats.psislw(-log_weights.numpy())[1])


@pytest.mark.parametrize("scale", [0.4, 0.8, 1.1, 2.0])
def test_k_is_that_of_arviz(scale):
    log_weights = weights_of_scale(scale)
    assert psis(log_weights).k.item() == pytest.approx(arviz_k(log_weights), abs=1e-6)


def test_k_grows_with_the_largest_weights_and_not_with_the_smallest():
    pareto = -0.9 * torch.rand(20_000, dtype=torch.double).log()  # weights with a tail of shape 0.9
    assert psis(pareto).k.item() == pytest.approx(0.9, abs=0.1)
    assert psis(-pareto).k < 0.5


def test_verdict_on_a_narrow_guide_is_bad_and_on_a_wide_one_good():
    # w ~ exp((1 / s^2 - 1) z^2 / 2) has tail shape 1 - s^2 for s < 1, and is bounded for s > 1
    assert psis(weights_of_scale(0.65, 20_000)).k.item() == pytest.approx(1 - 0.65**2, abs=0.15)
    in_five_dimensions = weights_of_scale(0.5, 5 * 4000).reshape(5, 4000).sum(0)
    assert psis(in_five_dimensions).verdict == "bad"
    assert psis(weights_of_scale(1.2)).verdict == "good"


def test_equal_weights_have_no_tail():
    result = psis(torch.full((3, 100), -5.0))
    assert (result.k == -math.inf).all()
    assert_close(result.effective_sample_size, torch.full((3,), 100.0))


def test_rows_are_sets_of_their_own():
    rows = torch.stack([weights_of_scale(s, 500) for s in (0.5, 0.9, 1.3)]).reshape(3, 1, 500)
    together = psis(rows)
    assert together.k.shape == together.effective_sample_size.shape == (3, 1)
    assert_close(together.k[1, 0], psis(rows[1, 0]).k)
    assert_close(together.log_weights.exp().sum(-1), torch.ones(3, 1).double())


def test_constant_added_to_the_log_weights_changes_nothing():
    rows = weights_of_scale(0.8)
    assert_close(psis(rows).k, psis(rows - 1000).k, atol=1e-6, rtol=0)


def test_draws_of_weight_zero_count_as_such():
    rows = weights_of_scale(1.2)
    rows[::2] = -math.inf
    result = psis(rows)
    assert result.k.isfinite()
    assert result.log_weights[::2].exp().max() == 0


def test_few_weights_have_an_infinite_k():
    assert psis(torch.tensor([0.0, 1.0, 2.0])).k == math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weight_that_is_no_number_is_refused(bad):
    with pytest.raises(DataError, match="NaN or infinite"):
        psis(torch.tensor([0.0, bad]))


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="all weights of a row are zero"):
        psis(torch.full((2, 5), -math.inf))


def test_no_draws_are_refused():
    with pytest.raises(ShapeError):
        psis(torch.zeros(3, 0))
