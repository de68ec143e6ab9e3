import math

import pytest
import torch

from pyro_dgm.finite import is_finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_one_bad_entry_is_found(bad, place):
    x = torch.randn(10, 100)
    x.view(-1)[place] = bad
    assert not is_finite(x)


def test_infinities_of_both_signs_do_not_cancel():
    assert not is_finite(torch.tensor([math.inf, -math.inf]))


def test_finite_entries_whose_sum_overflows_are_finite():
    x = torch.full((5,), 3e38)
    assert x.sum().isinf()
    assert is_finite(x)


@pytest.mark.parametrize("x", [torch.zeros(0), torch.arange(3), torch.ones(2, dtype=torch.bool)])
def test_tensors_without_entries_and_of_whole_numbers_are_finite(x):
    assert is_finite(x)
