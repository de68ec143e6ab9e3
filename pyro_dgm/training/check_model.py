"""One battery that every model must pass, those of others included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyro_dgm.errors import CheckFailed
from pyro_dgm.training.model_checks import CHECKS
from pyro_dgm.training.subject import Subject

__all__ = ["check_model"]


def check_model(
    factory: Callable[[], Any], rows: Tensor | tuple[Tensor, Tensor] | None = None
) -> tuple[str, ...]:
    """Check that a model, a flow, a guide or an objective keeps what this library promises of all.

    It trains, with finite weights that are a function of the seed, in single and double precision; draws rows
    of the right shape and dtype; scores single and no rows; survives copies, pickling, saving and a break in
    training; stops at a gradient that is not finite with the weights of the step before; takes a single row
    or says why not; refuses data that are empty, of another shape or not finite before anything has changed;
    and leaves the process as it was.

    Run it in the tests of a model of your own, as one line::

        def test_my_model_keeps_the_promises():
            check_model(lambda: MyModel(latent_dim=2), rows=torch.randn(64, 10))

    A guide is checked in the model that it is for. What has no ``sample``, as a plain Pyro model, is checked
    for the rest, on rows that must then be given.

    Args:
        factory: Makes a new one at each call: a :class:`~pyro_dgm.flows.Flow`, a model with a ``guide``, a
            pair of model and guide, or any objective that :func:`~pyro_dgm.training.fit` trains.
        rows: Rows to train on, ``(n, *event)`` with n at least 16, or a pair of rows and their context; drawn
            from the model itself by default.

    Returns:
        The names of the checks that were passed.

    Raises:
        CheckFailed: If one was not; the message lists all that were not, and why.
        TypeError: If the factory makes something else, or there are no rows.

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> passed = check_model(lambda: RealNVP(2, num_layers=2, hidden_dims=(4,)))
        >>> "survives copies" in passed
        True
    """
    subject = Subject(factory, rows)
    passed, failed = [], []
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            check(subject)
        except Exception as error:
            failed.append(f"{name} ({type(error).__name__}: {' '.join(str(error).split())[:300]})")
        else:
            passed.append(name)
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(CHECKS)} checks failed: {'; '.join(failed)}.")
    return tuple(passed)
