"""The regression that a posterior's game starts from."""

import torch
from torch.testing import assert_close

from pyro_dgm.inference.linear_trend import LinearTrend


def standard(x):
    return (x - x.mean(0)) / x.std(0)


def test_residuals_are_those_of_least_squares_where_rows_are_many():
    c = standard(torch.randn(2000, 3, dtype=torch.double))
    x = standard(c @ torch.randn(3, 2, dtype=torch.double) + 0.5 * torch.randn(2000, 2, dtype=torch.double))
    trend = LinearTrend.of(x, c)
    exact = x - c @ torch.linalg.lstsq(c, x).solution
    found = trend.remove(x, c)
    assert_close(found, exact / exact.std(0), rtol=1e-2, atol=1e-2)
    assert_close(found.std(0), torch.ones(2).double())
    assert_close(trend.restore(found, c), x)


def test_contexts_that_say_nothing_or_are_more_than_the_rows_explain_nothing():
    x = standard(torch.randn(300, 2))
    assert LinearTrend.of(x, standard(torch.randn(300, 5))).scale.min() > 0.97
    few = standard(torch.randn(30, 2))
    assert LinearTrend.of(few, standard(torch.randn(30, 200))).scale.min() > 0.5


def test_rows_that_are_linear_in_their_contexts_keep_a_scale():
    c = standard(torch.randn(100, 2))
    trend = LinearTrend.of(c @ torch.eye(2), c)
    assert trend.remove(c, c).isfinite().all()
    assert_close(trend.restore(trend.remove(c, c), c), c)
