"""Rows are independent of each other."""

import pyro
import pytest
import torch
from torch.testing import assert_close

from tests.contract.cases import chart, context_for, data_for, points_for, to_data


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e200])
def test_one_bad_row_leaves_the_log_prob_of_the_others_alone(flow, bad):
    context, y = context_for(flow), data_for(flow, 6)
    clean = flow(context).log_prob(y)
    y[2] = bad
    with pyro.validation_enabled(False):
        log_prob = flow(context).log_prob(y)
    others = torch.arange(6) != 2
    assert_close(log_prob[others], clean[others], rtol=0, atol=1e-12)
    assert not log_prob[2] > clean.min() - 100


def test_a_nan_is_refused_when_arguments_are_validated(flow):
    y = data_for(flow, 3)
    y[1, 0] = torch.nan
    with pytest.raises(ValueError, match="support"):
        flow(context_for(flow)).log_prob(y)


def test_a_row_is_scored_alike_alone_and_in_company(flow):
    d, y = flow(context_for(flow)), data_for(flow, 6)
    assert_close(torch.stack([d.log_prob(row) for row in y]), d.log_prob(y))


def test_rows_far_out_have_a_finite_and_vanishing_density(flow):
    x = torch.nn.functional.normalize(points_for(flow, 6))
    y = 1e3 * x if chart(flow) is None else to_data(flow, x if flow.outer is None else 10 * x)
    log_prob = flow(context_for(flow)).log_prob(y)
    assert log_prob.isfinite().all()
    if chart(flow) is None:
        assert (log_prob < -1e2).all()
