"""The tail index against Pareto weights, another fit, and degenerate rows."""

import math

import pytest
import torch
from pyro.ops.stats import fit_generalized_pareto
from torch.testing import assert_close

from pyro_dgm.diagnostics.arviz_lines import smoothed_weights
from pyro_dgm.metrics.tail_index import tail_index


@pytest.mark.parametrize("index", [0.3, 0.7, 1.5])
def test_pareto_weights_have_their_index(index):
    log_weights = -index * torch.rand(20000, 40).double().log()
    k_hat = tail_index(log_weights)
    error = (1 + index) / math.sqrt(3 * math.sqrt(20000))
    assert ((k_hat - index).abs() < 4 * error).all()
    assert abs(k_hat.mean() - index) < 4 * error / math.sqrt(40) + 0.02


def test_each_row_is_fitted_as_if_it_were_alone_and_as_pyro_fits_it():
    log_weights = torch.randn(1000, 3).double() * torch.tensor([0.1, 1.0, 3.0])
    k_hat = tail_index(log_weights)
    for row, value in zip(log_weights.T, k_hat, strict=True):
        assert_close(tail_index(row[:, None])[0], value)
        largest = (row - row.max()).exp().topk(96).values
        assert value.item() == pytest.approx(fit_generalized_pareto(largest[:-1] - largest[-1])[0], abs=1e-6)


def test_equal_weights_have_no_tail_and_a_single_one_an_infinite_index():
    single = torch.full((500,), -math.inf).double()
    single[3] = 0.0
    k_hat = tail_index(torch.stack([torch.zeros(500).double(), single], 1))
    assert k_hat.tolist() == [-math.inf, math.inf]


def test_few_samples_have_no_index_to_trust():
    assert tail_index(torch.randn(20, 2)).isposinf().all()


# Where the tail is of one size in both lines of ArviZ: 1.x rounds 3 sqrt(S) down, 0.23 up.
@pytest.mark.parametrize("size", [30, 100, 400, 2500])
def test_index_of_each_row_is_that_of_arviz(size):
    log_weights = torch.randn(size, 4).double() * torch.tensor([0.1, 0.5, 1.0, 3.0])
    expected = [smoothed_weights(row.numpy())[1] for row in log_weights.T]
    assert tail_index(log_weights).tolist() == pytest.approx(expected, abs=1e-6)
