"""The door through which arrays enter: what it lets in, and what it says of the rest."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.data import as_rows
from pyro_dgm.errors import DataError, ShapeError, UnknownNameError

GRID = np.arange(6.0).reshape(2, 3)


def test_a_float_tensor_comes_back_as_itself_without_its_history():
    x = torch.randn(4, 3, requires_grad=True)
    rows = as_rows(x)
    assert rows.data_ptr() == x.data_ptr()
    assert not rows.requires_grad
    assert x.requires_grad


@pytest.mark.parametrize(
    "data",
    [
        GRID,
        GRID.astype(np.int64),
        GRID.astype(np.uint8),
        GRID.astype(">f4"),
        GRID.tolist(),
        torch.from_numpy(GRID),
        torch.from_numpy(GRID).int(),
        list(torch.from_numpy(GRID)),
        pd.DataFrame(GRID, columns=list("abc")),
        pd.DataFrame(GRID.astype(int)).astype("Int64"),
    ],
    ids=str,
)
def test_every_kind_of_input_is_cast_with_one_warning(data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = as_rows(data, event_shape=(3,))
    assert_close(rows, torch.arange(6.0).reshape(2, 3))
    messages = [str(w.message) for w in caught]
    assert all("cast to float32" in message for message in messages)
    # floats of the right width in another byte order lose nothing
    assert len(messages) == (0 if getattr(data, "dtype", None) == np.dtype(">f4") else 1)


def test_bools_become_zeros_and_ones():
    with pytest.warns(UserWarning, match="dtype bool"):
        rows = as_rows(np.array([[True, False]]))
    assert_close(rows, torch.tensor([[1.0, 0.0]]))


def test_a_wider_float_is_given_without_warning():
    assert as_rows(torch.ones(2, 2), dtype=torch.double).dtype == torch.double


def test_read_only_memory_mapped_and_strided_arrays_are_left_alone(tmp_path):
    np.save(tmp_path / "x.npy", GRID.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    frozen = GRID.astype(np.float32)
    frozen.setflags(write=False)
    for array in (
        mapped,
        frozen,
        GRID.astype(np.float32)[::-1, ::2],
        np.asfortranarray(GRID, dtype=np.float32),
    ):
        before = array.copy()
        rows = as_rows(array)
        assert_close(rows, torch.from_numpy(before))
        if not array.flags.writeable:
            rows += 1
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite_are_counted_and_located(bad):
    data = torch.zeros(5, 3)
    data[2, 1], data[2, 2], data[4, 0] = bad, bad, bad
    with pytest.raises(
        DataError, match=r"3 entries that are not finite, in 2 of its 5 rows.* row 2, column 1"
    ):
        as_rows(data)


def test_a_bad_pixel_is_located_by_its_position():
    images = torch.zeros(3, 1, 4, 4)
    images[1, 0, 2, 3] = torch.nan
    with pytest.raises(DataError, match=r"row 1, position \(0, 2, 3\)"):
        as_rows(images)


def test_values_too_large_for_the_dtype_are_named_so():
    with (
        pytest.warns(UserWarning, match="cast"),
        pytest.raises(DataError, match=r"1e\+300. It is too large for float32"),
    ):
        as_rows(np.array([[0.0, 1e300]]))


def test_rows_with_nan_are_dropped_on_request():
    data = torch.tensor([[1.0, 2.0], [torch.nan, 2.0], [3.0, torch.inf], [5.0, 6.0]])
    with pytest.warns(UserWarning, match="dropped 2 of 4 rows of table"):
        rows = as_rows(data, nan="drop", name="table")
    assert_close(rows, torch.tensor([[1.0, 2.0], [5.0, 6.0]]))


def test_dropping_every_row_is_an_error():
    with pytest.raises(DataError, match="in each of its 2 rows"):
        as_rows(torch.full((2, 2), torch.nan), nan="drop")


def test_missing_values_of_a_data_frame_are_nan():
    table = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1.0, 2.0]})
    with pytest.warns(UserWarning, match="cast"), pytest.raises(DataError, match="row 1, column 0: nan"):
        as_rows(table)


@pytest.mark.parametrize(
    ("shape", "event_shape", "message"),
    [
        ((4, 5), (3,), r"expected \(n, 3\), got \(4, 5\)"),
        ((3,), (3,), r"expected \(n, 3\), got \(3,\)"),
        ((4, 64), (1, 8, 8), r"expected \(n, 1, 8, 8\), got \(4, 64\)"),
        ((4, 2), (), r"expected \(n,\), got \(4, 2\)"),
        ((4,), None, r"expected \(n, features\), got \(4,\)"),
        ((), None, r"expected \(n, features\), got \(\)"),
    ],
)
def test_wrong_shapes_say_what_was_expected_and_what_came(shape, event_shape, message):
    with pytest.raises(ShapeError, match=message):
        as_rows(torch.zeros(shape), event_shape=event_shape)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_data_is_an_error(shape):
    with pytest.raises(DataError, match="is empty"):
        as_rows(torch.zeros(shape))


@pytest.mark.parametrize(
    "data",
    [
        np.array([[1.0, None]], dtype=object),
        [["a", "b"]],
        [[1.0], [1.0, 2.0]],
        pd.DataFrame({"a": [1.0], "city": ["Bern"]}),
        torch.zeros(2, 2, dtype=torch.cfloat),
        torch.eye(2).to_sparse(),
        [torch.zeros(2), torch.zeros(3)],
        {"x": 1},
        "moons",
        None,
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_array_of_real_numbers_is_an_error(data):
    with pytest.raises(DataError):
        as_rows(data)


def test_unknown_treatment_of_nan_is_an_error():
    with pytest.raises(UnknownNameError, match="did you mean 'drop'"):
        as_rows(GRID, nan="drops")
