"""The affine map in front of a flow is fitted to rows, of which a column may not vary."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.flows import RealNVP, Whitened


def fresh(size=3):
    return RealNVP(size, num_layers=2, hidden_dims=(4,)).double()


def test_a_column_that_does_not_vary_keeps_its_scale_and_is_named():
    x = torch.randn(50, 3, dtype=torch.double)
    x[:, 1] = 7.0
    with pytest.warns(UserWarning, match="do not vary in column 1"):
        flow = Whitened.fitted_to(fresh(), x)
    drawn = flow().sample((20_000,))
    assert drawn.isfinite().all()
    assert_close(drawn.mean(0)[1].item(), 7.0, atol=0.05, rtol=0)
    assert_close(drawn.std(0)[1].item(), 1.0, atol=0.05, rtol=0)


def test_rows_that_vary_give_their_mean_and_covariance_in_silence():
    x = (
        torch.randn(4000, 3, dtype=torch.double)
        @ torch.tensor([[1.0, 0.5, 0], [0, 2, 0], [0, 0, 0.1]]).double()
        + 5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = Whitened.fitted_to(fresh(), x)().sample((40_000,))
    assert_close(drawn.mean(0), x.mean(0), atol=0.05, rtol=0)
    assert_close(drawn.T.cov(), x.T.cov(), atol=0.1, rtol=0.05)
