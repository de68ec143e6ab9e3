"""The guide of a model without latent sites."""

from __future__ import annotations

from torch import Tensor

from pyro_dgm.naming import NamedPyroModule

__all__ = ["Empty"]


class Empty(NamedPyroModule):
    """A guide that samples nothing: with it, the evidence lower bound is the log-likelihood itself."""

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> None:
        """Do nothing, for any arguments of the model."""
