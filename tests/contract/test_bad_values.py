"""What must not be scored is refused at the door; what may is scored, whatever memory it lies in."""

import numpy as np
import pyro
import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from tests.contract.cases import chart, context_for, data_for


def test_what_is_no_tensor_or_of_another_dtype_is_refused_with_what_to_say_instead(flow):
    d, y = flow(context_for(flow)), data_for(flow, 3)
    for value in (y.numpy(), y.tolist(), "moons", None):
        with pytest.raises(ArgumentTypeError, match="as_tensor"):
            d.log_prob(value)
    for dtype in (torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64):
        with pytest.raises(DataError, match=rf"float64, but the value is of dtype {dtype}"):
            d.log_prob(y.to(dtype))


def test_a_shape_of_draws_that_is_none_is_refused(flow):
    d = flow(context_for(flow))
    for shape in (3, "3", (2.5,), (-1,), None):
        for draw in (d.sample, d.rsample):
            with pytest.raises(ArgumentTypeError, match="must be a tuple of sizes"):
                draw(shape)


def test_a_context_of_another_kind_is_refused(flow):
    context = context_for(flow, 4)
    if context is None:
        context = torch.zeros(4, 1, dtype=torch.double)
    with pytest.raises(ArgumentTypeError, match="context that is a tensor"):
        flow(context.tolist())
    with pytest.raises(DataError, match=r"context is of dtype torch\.float32"):
        flow(context.float())
    with pytest.raises(ShapeError, match="context"):
        flow(context.sum())


def test_a_context_that_nobody_asked_for_is_refused(flow):
    if not flow.context_dim:
        with pytest.raises(ShapeError, match="expects no context"):
            flow(torch.zeros(4, 2, dtype=torch.double))


def test_a_bad_context_leaves_the_other_rows_alone(flow):
    if not flow.context_dim:
        return
    context, y = context_for(flow, 6), data_for(flow, 6)
    clean = flow(context).log_prob(y)
    context[2] = torch.nan
    with pytest.raises(DataError, match=r"1 of 6 rows.*at index \(2,\).*weights or the context"):
        flow(context).log_prob(y)
    with pyro.validation_enabled(False):
        log_prob = flow(context).log_prob(y)
    others = torch.arange(6) != 2
    assert_close(log_prob[others], clean[others], rtol=0, atol=1e-12)
    assert log_prob[2].isnan()


def test_a_value_outside_of_the_support_is_named_and_alone_in_being_wrong(flow):
    if chart(flow) is None or flow.outer is None:
        return
    context, y = context_for(flow), data_for(flow, 6)
    clean = flow(context).log_prob(y)
    y[2] = -7.0
    with pytest.raises(DataError, match=r"at index \(2,?.*support="):
        flow(context).log_prob(y)
    with pyro.validation_enabled(False):
        log_prob = flow(context).log_prob(y)
    others = torch.arange(6) != 2
    assert_close(log_prob[others], clean[others], rtol=0, atol=1e-12)


def test_an_entry_that_is_no_number_is_named_wherever_it_stands(flow):
    context, y = context_for(flow, 4), data_for(flow, 4)
    for entry in range(y[0].numel()):
        bad = y.clone()
        bad[2].view(-1)[entry] = torch.nan
        with pytest.raises(DataError, match=r"1 of 4 values lie outside of the flow's support.*index \(2,?"):
            flow(context).log_prob(bad)
        if flow(context).transform.shows_nan:
            with pyro.validation_enabled(False):
                assert flow(context).log_prob(bad).isfinite().tolist() == [True, True, False, True]


def test_memory_layout_does_not_matter_and_nothing_is_written(flow, tmp_path):
    context, y = context_for(flow), data_for(flow, 4)
    expected = flow(context).log_prob(y)
    wide = torch.zeros(4, *flow.event_shape[:-1], 2 * flow.event_shape[-1], dtype=torch.double)
    strided = wide[..., ::2].copy_(y)
    file = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "f8", y.shape)
    file[:] = y
    views = [strided, y.flip(0).flip(0), torch.from_numpy(file), y.clone().requires_grad_()]
    views += [y[None].expand(3, *y.shape)[1]]
    for view in views:
        before = view.detach().clone()
        assert_close(flow(context).log_prob(view), expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(view, before)


def test_equal_rows_have_equal_scores(flow):
    y = data_for(flow, 1).expand(5, *flow.event_shape)
    assert_close(*(s.clone() for s in flow(context_for(flow)).log_prob(y).view(-1, 1)[[0, 4]]))


def test_far_rows_are_finite_or_minus_infinite_and_leave_the_others_alone(flow):
    if chart(flow) is not None:
        return
    context, y = context_for(flow), data_for(flow, 6)
    clean = flow(context).log_prob(y)
    far = y.clone()
    far[2], far[3], far[4], far[5] = 1e6, 1e20, 1e200, -1e300
    log_prob = flow(context).log_prob(far)
    assert_close(log_prob[:2], clean[:2], rtol=0, atol=1e-12)
    assert (log_prob[2:] < clean.min()).all()
