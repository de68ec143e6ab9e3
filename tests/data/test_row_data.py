"""Rows of one's own: how they are split, and what is refused."""

import numpy as np
import pytest
import torch

from pyro_dgm.data import RowData
from pyro_dgm.errors import DataError, ShapeError


def test_a_share_is_drawn_by_the_seed_and_no_row_is_in_both_parts():
    rows = torch.arange(100.0)[:, None]
    found, again, other = RowData(rows, 0.3), RowData(rows, 0.3), RowData(rows, 0.3, seed=1)
    assert (len(found.train), len(found.test)) == (70, 30)
    assert torch.equal(torch.cat([found.train, found.test]).sort(0).values, rows)
    assert torch.equal(found.test, again.test)
    assert not torch.equal(found.test, other.test)
    assert not torch.equal(found.test.sort(0).values, found.test)  # shuffled


def test_test_rows_may_be_given_in_any_kind_of_array():
    found = RowData(np.ones((5, 2, 3), dtype=np.float32), torch.ones(4, 2, 3), name="cubes")
    assert (found.name, found.event_shape) == ("cubes", (2, 3))
    assert found.train.dtype == found.test.dtype == torch.float32


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r"\(2,\) of the training rows, but have \(3,\)"):
        RowData(torch.ones(5, 2), torch.ones(5, 3))
    with pytest.raises(DataError, match="test of mine"):
        RowData(torch.ones(5, 2), torch.full((5, 2), torch.nan), name="mine")
    for share in (0.0, 1.0, 0.01):
        with pytest.raises(DataError, match="two rows in both parts"):
            RowData(torch.ones(20, 2), share)
