"""What every generative model offers, and what it says when a quantity does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.arguments import positive_int
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.naming import NamedPyroModule, unregistered

__all__ = ["Capabilities", "GenerativeModel", "check_rows", "evaluating", "seeded"]


@dataclass(frozen=True)
class Capabilities:
    """What a generative model can honestly give.

    Attributes:
        has_log_prob: Whether ``log_prob(x)`` is the exact density.
        has_bound: Whether ``log_prob_bound(x, num_particles)`` is at most the density in expectation.
        has_sample: Whether ``sample(n)`` draws new rows.
        has_encode: Whether ``encode(x)`` gives a latent for a given row.
        latent_dim: Size ``q`` of the latent.
        data_dim: Number ``n`` of entries of one row, or None if it is not known before the first draw.
    """

    has_log_prob: bool
    has_bound: bool
    has_sample: bool
    has_encode: bool
    latent_dim: int
    data_dim: int | None

    @property
    def same_dim(self) -> bool:
        """Whether latent and data have one size, ``q == n``, as for a flow."""
        return self.latent_dim == self.data_dim


class GenerativeModel(NamedPyroModule):
    """A generator pushed forward from a latent, as a Pyro model with sites in the plate ``data``.

    Called as ``model(x)`` it scores rows under a Pyro handler; as ``model(num=n)`` it draws new ones.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this model can give."""
        raise NotImplementedError(f"{type(self).__name__} must define capabilities")

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The exact log-density of each row, of shape ``(n,)``, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no exact log_prob.")

    def log_prob_bound(self, x: Tensor, num_particles: int = 1, context: Tensor | None = None) -> Tensor:
        """A stochastic lower bound of the log-density of each row, of shape ``(n,)``, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no bound of log_prob.")

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """A latent of each row, of shape ``(n, latent_dim)``."""
        raise NotImplementedError(f"{type(self).__name__} cannot encode rows.")

    def sample(self, n: int, *, context: Tensor | None = None, seed: int | None = None) -> Tensor:
        """Draw new rows without gradients, in evaluation mode.

        Args:
            n: Number of rows.
            context: What to condition on, of shape ``(n, C)``.
            seed: Seed of this draw, which then leaves the global random state as it was.

        Returns:
            Rows of shape ``(n, *event)``.

        Raises:
            DataError: If ``n`` is below 1.
            ArgumentTypeError: If ``n`` or ``seed`` is no integer, or the context no tensor.
            ShapeError: If there is not one context for each row.
        """
        from pyro import poutine

        n = positive_int("n", n)
        if context is not None:
            _check_one_each(context, n)

        with torch.no_grad(), evaluating(self), seeded(seed), poutine.block(), unregistered():
            return self(context=context, num=n)  # type: ignore[no-any-return]


def check_rows(what: str, x: Tensor, like: Tensor) -> None:
    """Raise unless ``x`` is a tensor of rows that a model computing in the dtype of ``like`` can read."""
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(
            f"{what} takes rows as a tensor of shape (n, *event), but a {type(x).__name__} came. Say "
            "data.as_rows(x), or torch.as_tensor(x, dtype=torch.get_default_dtype())."
        )
    if not x.dim():
        raise ShapeError(f"{what} takes rows of shape (n, *event), but got a tensor of shape ().")
    if x.dtype != like.dtype and (x.is_floating_point() or x.is_complex()):
        raise DataError(
            f"{what} computes in {like.dtype}, but the rows are of dtype {x.dtype}. Convert the one or the "
            f"other: x.to({like.dtype}), or model.to({x.dtype})."
        )


def _check_one_each(context: Tensor, n: int) -> None:
    if not isinstance(context, Tensor):
        raise ArgumentTypeError(f"context must be a tensor, but is a {type(context).__name__}.")
    if context.dim() > 1 and len(context) not in (1, n):
        raise ShapeError(
            f"{n} rows need {n} contexts, or one for all of shape (C,), but context has shape "
            f"{tuple(context.shape)}. Say sample({len(context)}, context=context)."
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Hold ``module`` in evaluation mode; every submodule gets its own mode back at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def seeded(seed: Any) -> Iterator[None]:
    """Draw from a random state of its own that starts at ``seed``; do nothing if it is None."""
    if seed is None:
        yield
        return
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ArgumentTypeError(f"seed must be an integer or None, but is {seed!r}.")
    number = int(seed)
    if not -(2**63) <= number < 2**64:
        raise DataError(f"seed must lie in [-2**63, 2**64), but is {number}.")
    with torch.random.fork_rng():
        torch.manual_seed(number)
        yield
