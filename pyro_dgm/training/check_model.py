"""One battery that every model must pass, those of others included."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn

from pyro_dgm.errors import CheckFailed, DataError
from pyro_dgm.flows import Flow
from pyro_dgm.models import GenerativeModel, NormalizingFlow
from pyro_dgm.training.checkpoint import load_weights, save
from pyro_dgm.training.fitting import fit
from pyro_dgm.training.isolation import own_random_state
from pyro_dgm.training.own_step import networks_of

__all__ = ["check_model"]

Factory = Callable[[], Any]


def check_model(factory: Factory, rows: Tensor | None = None) -> tuple[str, ...]:
    """Check that a model, a flow or an objective keeps what this library promises of all.

    It trains, with finite weights that are a function of the seed; draws rows of the right shape and dtype;
    scores single and no rows; survives copies, pickling, saving and a break in training; refuses data that
    are not finite before anything has changed; and leaves the process as it was.

    Args:
        factory: Makes a new one at each call: a :class:`~pyro_dgm.flows.Flow` without context, a
            :class:`~pyro_dgm.models.GenerativeModel` with a guide, or an objective with a ``model``.
        rows: Rows to train on, ``(n, *event)`` with n at least 8; drawn from the model itself by default.

    Returns:
        The names of the checks that were passed.

    Raises:
        CheckFailed: If one was not; the message lists all that were not, and why.

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> len(check_model(lambda: RealNVP(2, num_layers=2, hidden_dims=(4,))))
        8
    """
    subject = _Subject(factory, rows)
    passed, failed = [], []
    for check in _CHECKS:
        try:
            check(subject)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            failed.append(f"{_name(check)} ({type(error).__name__}: {reason})")
        else:
            passed.append(_name(check))
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(_CHECKS)} checks failed: {'; '.join(failed)}.")
    return tuple(passed)


class _Subject:
    """Makes objectives of one kind that begin with the same weights, and knows rows for them."""

    def __init__(self, factory: Factory, rows: Tensor | None) -> None:
        self.factory = factory
        model = self.model_of(self.make())
        self.rows = model.sample(16, seed=0).detach() if rows is None else rows

    def make(self) -> Any:
        """A new objective, always with the same weights."""
        with own_random_state(0):
            made = self.factory()
            return NormalizingFlow(made) if isinstance(made, Flow) else made

    def model_of(self, objective: Any) -> GenerativeModel:
        model = objective if isinstance(objective, GenerativeModel) else getattr(objective, "model", None)
        if not isinstance(model, GenerativeModel):
            raise TypeError(
                "check_model needs a factory of flows, of models with a guide, or of objectives with a "
                f"model, but it made a {type(objective).__name__}."
            )
        return model

    def trained(self, **options: Any) -> Any:
        objective = self.make()
        fit(objective, self.rows, **{"steps": 4, "batch_size": 8, "progress": False, **options})
        return objective


def _trains_with_finite_weights(subject: _Subject) -> None:
    before, after = _weights(subject.make()), _weights(subject.trained())
    assert all(bool(t.isfinite().all()) for t in after), "a weight is not finite after four steps"
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)), "no weight has changed"


def _is_a_function_of_the_seed(subject: _Subject) -> None:
    state = torch.get_rng_state()
    first, second = _weights(subject.trained(seed=3)), _weights(subject.trained(seed=3))
    assert _same(first, second), "two runs with one seed gave different weights"
    assert torch.equal(torch.get_rng_state(), state), "the global random state has changed"


def _draws_rows_of_the_right_shape(subject: _Subject) -> None:
    model = subject.model_of(subject.trained())
    dtype = next(model.parameters()).dtype
    for n in (1, 5):
        drawn = model.sample(n, seed=1)
        assert drawn.shape == (n, *subject.rows.shape[1:]), f"sample({n}) has shape {tuple(drawn.shape)}"
        assert drawn.dtype == dtype, f"draws are {drawn.dtype}, weights {dtype}"
    assert torch.equal(model.sample(5, seed=1), model.sample(5, seed=1)), "a seed gives different draws"


def _scores_each_row_alone(subject: _Subject) -> None:
    model = subject.model_of(subject.trained()).eval()
    if not model.capabilities.has_log_prob:
        return
    with torch.no_grad():
        scores = model.log_prob(subject.rows)
        assert scores.shape == subject.rows.shape[:1], f"log_prob has shape {tuple(scores.shape)}"
        alone = torch.cat([model.log_prob(row) for row in subject.rows.split(1)])
        torch.testing.assert_close(alone, scores, rtol=1e-3, atol=1e-3)
        assert model.log_prob(subject.rows[:0]).shape == (0,), "no rows have no scores"


def _survives_copies(subject: _Subject) -> None:
    model = subject.model_of(subject.trained())
    drawn = model.sample(3, seed=1)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin.sample(3, seed=1), drawn), "a copy draws other rows"
        with torch.no_grad():
            for p in twin.parameters():
                p.add_(1.0)
        assert torch.equal(model.sample(3, seed=1), drawn), "a copy shares weights with its original"


def _survives_saving(subject: _Subject) -> None:
    model, fresh = subject.model_of(subject.trained()), subject.model_of(subject.make())
    with tempfile.TemporaryDirectory() as folder:
        load_weights(save(folder, model), fresh)
    assert torch.equal(fresh.sample(3, seed=1), model.sample(3, seed=1)), "the loaded model draws other rows"


def _survives_a_break_in_training(subject: _Subject) -> None:
    def stop(state: Any) -> None:
        if state.step == 2 and not resumed:
            state.stop("interrupted")

    resumed, whole = False, subject.trained()
    with tempfile.TemporaryDirectory() as folder:
        subject.trained(checkpoint=folder, callbacks=[stop])
        resumed = True
        again = subject.trained(checkpoint=folder, resume=True, callbacks=[stop])
    assert _same(_weights(whole), _weights(again)), "a resumed run has other weights than one without a break"


def _refuses_data_that_are_not_finite(subject: _Subject) -> None:
    objective, rows = subject.make(), subject.rows.clone()
    before = _weights(objective)
    rows.view(len(rows), -1)[3, 0] = torch.nan
    try:
        fit(objective, rows, steps=2, progress=False)
    except DataError:
        assert _same(before, _weights(objective)), "weights changed though the data were refused"
        assert not _PYRO_STACK, "handlers were left on Pyro's stack"
        return
    raise AssertionError("a NaN in the data was not refused")


_CHECKS = (
    _trains_with_finite_weights,
    _is_a_function_of_the_seed,
    _draws_rows_of_the_right_shape,
    _scores_each_row_alone,
    _survives_copies,
    _survives_saving,
    _survives_a_break_in_training,
    _refuses_data_that_are_not_finite,
)


def _name(check: Callable[[_Subject], None]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _weights(objective: Any) -> list[Tensor]:
    networks: list[nn.Module] = networks_of(objective)
    return [t.detach().clone() for network in networks for t in network.state_dict().values()]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
