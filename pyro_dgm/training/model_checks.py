"""The checks of :func:`~pyro_dgm.training.check_model`, one function each."""

from __future__ import annotations

import copy
import pickle
import tempfile
from typing import Any

import torch
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn

from pyro_dgm.errors import PyroDGMError, TrainingDiverged
from pyro_dgm.training.checkpoint import load_weights, save
from pyro_dgm.training.own_step import networks_of
from pyro_dgm.training.subject import Subject, same, weights

__all__ = ["CHECKS"]

_REFUSAL = (PyroDGMError, ValueError)


def trains_with_finite_weights(subject: Subject) -> None:
    early, late = weights(subject.trained(steps=1)), weights(subject.trained())
    assert all(bool(t.isfinite().all()) for t in late), "a weight is not finite after four steps"
    assert not same(early, late), "no weight changes after the first step"


def is_a_function_of_the_seed(subject: Subject) -> None:
    state = torch.get_rng_state()
    first, second = weights(subject.trained(seed=3)), weights(subject.trained(seed=3))
    assert same(first, second), "two runs with one seed gave different weights"
    assert torch.equal(torch.get_rng_state(), state), "the global random state has changed"


def draws_rows_of_the_right_shape(subject: Subject) -> None:
    model = subject.generative(subject.trained())
    if model is None:
        return
    for n in (1, 5):
        drawn = subject.draw(model, n)
        assert drawn.shape == (n, *subject.rows.shape[1:]), f"sample({n}) has shape {tuple(drawn.shape)}"
        dtypes = {next(model.parameters()).dtype, subject.rows.dtype}
        assert not drawn.is_floating_point() or drawn.dtype in dtypes, (
            f"draws are {drawn.dtype}, weights and rows {dtypes}"
        )
    assert torch.equal(subject.draw(model, 5), subject.draw(model, 5)), "a seed gives different draws"


def scores_each_row_alone(subject: Subject) -> None:
    model = subject.generative(subject.trained())
    if model is None or not model.capabilities.has_log_prob:
        return
    model.eval()
    like = next(model.parameters())
    x = subject.rows.to(like)
    contexts = [None] * len(x) if subject.context is None else list(subject.context.to(like).split(1))
    with torch.no_grad():
        scores = model.log_prob(x, None if subject.context is None else subject.context.to(like))
        assert scores.shape == x.shape[:1], f"log_prob has shape {tuple(scores.shape)}"
        alone = torch.cat([model.log_prob(row, c) for row, c in zip(x.split(1), contexts, strict=True)])
        torch.testing.assert_close(alone, scores, rtol=1e-3, atol=1e-3)
        none = None if subject.context is None else subject.context[:0].to(like)
        assert model.log_prob(x[:0], none).shape == (0,), "no rows have no scores"


def computes_in_double_precision(subject: Subject) -> None:
    objective = subject.make()
    if not isinstance(objective, nn.Module):
        return  # its optimisers hold parameters already: it is made in the dtype in which it trains
    objective = subject.train(objective.double(), subject.data())
    floats = [t for t in weights(objective) if t.is_floating_point()]
    assert all(t.dtype == torch.float64 for t in floats), (
        "a weight is not in double precision after .double()"
    )


def survives_copies(subject: Subject) -> None:
    objective = subject.trained()
    model = subject.generative(objective)
    original: Any = objective if model is None else model
    before = weights(original)
    copies = [copy.deepcopy(original)]
    copies += [] if model is None else [pickle.loads(pickle.dumps(model))]
    for twin in copies:
        assert same(weights(twin), before), "a copy has other weights"
        if model is not None:
            assert torch.equal(subject.draw(twin, 3), subject.draw(model, 3)), "a copy draws other rows"
        with torch.no_grad():
            for network in networks_of(twin):
                for p in network.parameters():
                    p.add_(1.0)
        assert same(weights(original), before), "a copy shares weights with its original"


def survives_saving(subject: Subject) -> None:
    saved, fresh = subject.trained(), subject.trained(steps=1, seed=7)
    with tempfile.TemporaryDirectory() as folder:
        for i, (network, other) in enumerate(zip(networks_of(saved), networks_of(fresh), strict=True)):
            load_weights(save(f"{folder}/{i}", network), other)
    assert same(weights(fresh), weights(saved)), "loaded weights are not those that were saved"


def survives_a_break_in_training(subject: Subject) -> None:
    def stop(state: Any) -> None:
        if state.step == 2 and not resumed:
            state.stop("interrupted")

    resumed, whole = False, subject.trained()
    with tempfile.TemporaryDirectory() as folder:
        subject.trained(checkpoint=folder, callbacks=[stop])
        resumed = True
        again = subject.trained(checkpoint=folder, resume=True, callbacks=[stop])
    assert same(weights(whole), weights(again)), "a resumed run has other weights than one without a break"


def stops_at_a_gradient_that_is_not_finite(subject: Subject) -> None:
    objective = subject.trained(steps=1)  # what is made at the first call is there now
    seen: list[list[Tensor]] = []
    hooks = [
        p.register_hook(lambda grad: grad * torch.nan if len(seen) == 2 else grad)
        for network in networks_of(objective)
        for p in network.parameters()
        if p.requires_grad
    ]
    try:
        subject.train(objective, subject.data(), callbacks=[lambda state: seen.append(weights(objective))])
    except TrainingDiverged:
        assert len(seen) == 2, f"training stopped after {len(seen)} steps, and not at the bad one"
        assert same(weights(objective), seen[-1]), "the weights are not those before the bad step"
    else:
        raise AssertionError("gradients that are NaN did not stop training")
    finally:
        for hook in hooks:
            hook.remove()


def takes_a_single_row_or_says_why_not(subject: Subject) -> None:
    objective = subject.make()
    try:
        subject.train(objective, subject.data(1), steps=1)
    except _REFUSAL:
        _unchanged(subject, objective, "a single row was refused")


def refuses_no_rows(subject: Subject) -> None:
    _refused(subject, subject.data(0), "empty data")


def refuses_rows_of_another_shape(subject: Subject) -> None:
    wider = torch.cat([subject.rows, subject.rows[..., :1]], -1)
    _refused(subject, wider if subject.context is None else (wider, subject.context), "a column too many")


def refuses_data_that_are_not_finite(subject: Subject) -> None:
    if not subject.rows.is_floating_point():
        return
    for bad in (torch.nan, torch.inf):
        rows = subject.rows.clone()
        rows.view(len(rows), -1)[3, 0] = bad
        _refused(subject, rows if subject.context is None else (rows, subject.context), f"{bad} in the data")


CHECKS = (
    trains_with_finite_weights,
    is_a_function_of_the_seed,
    draws_rows_of_the_right_shape,
    scores_each_row_alone,
    computes_in_double_precision,
    survives_copies,
    survives_saving,
    survives_a_break_in_training,
    stops_at_a_gradient_that_is_not_finite,
    takes_a_single_row_or_says_why_not,
    refuses_no_rows,
    refuses_rows_of_another_shape,
    refuses_data_that_are_not_finite,
)


def _refused(subject: Subject, data: Any, what: str) -> None:
    objective = subject.make()
    try:
        subject.train(objective, data, steps=2)
    except _REFUSAL:
        _unchanged(subject, objective, f"{what} was refused")
        assert not _PYRO_STACK, "handlers were left on Pyro's stack"
        return
    raise AssertionError(f"{what} was not refused")


def _unchanged(subject: Subject, objective: Any, when: str) -> None:
    before, after = weights(subject.make()), weights(objective)
    # what was made at the first call has nothing to be compared with
    assert len(before) != len(after) or same(before, after), f"weights changed though {when}"
