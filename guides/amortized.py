"""What the amortized guides of a VAE share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.networks import call_network
from pyro_dgm.plates import data_plate

__all__ = ["AmortizedGuide", "held_constant"]


class AmortizedGuide(NamedPyroModule):
    """A guide q(z | x) whose parameters an encoder reads off x.

    Sites: ``z`` of event shape ``(latent_dim,)`` in the plate ``data``. A subclass defines
    :meth:`posterior`.

    Args:
        encoder: Maps rows ``(n, *event)`` to what the subclass needs. With ``takes_context`` it is called as
            ``encoder(x, context)``.
        takes_context: Whether the encoder reads the context too.
        name: Prefix of the parameters in Pyro's store; unique by default.
    """

    def __init__(self, encoder: nn.Module, *, takes_context: bool = False, name: str | None = None) -> None:
        super().__init__(name)
        self.encoder, self.takes_context = encoder, takes_context

    def posterior(self, x: Tensor, context: Tensor | None = None) -> TorchDistribution:
        """Return q(z | x), of batch shape ``(n,)`` and event shape ``(latent_dim,)``.

        A guide that takes the context gives a posterior of batch shape ``(*sample, n)`` for contexts
        ``(*sample, n, C)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define posterior(x, context)")

    def constant_log_prob(
        self, posterior: TorchDistribution, z: Tensor, x: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return log q(z | x) as a function of ``z`` alone: no gradient reaches the guide but through ``z``.

        Here by another pass of the encoder; and for a flow the density of a draw then takes its inverse.

        Args:
            posterior: What :meth:`posterior` gave for the same rows.
            z: Latents of shape ``(*sample, n, latent_dim)``.
            x: The rows.
            context: Their context, or None.
        """
        with held_constant(self):
            log_prob: Tensor = self.posterior(x, context).log_prob(z)
        return log_prob

    def encoded(self, x: Tensor, context: Tensor | None = None) -> Any:
        """What the encoder returns for the rows ``x``, in one batch dimension for contexts of any number."""
        if not self.takes_context:
            return call_network("the encoder", self.encoder, x)
        batch = self.batch_of(x, context)
        if context is None or len(batch) == 1:
            return call_network("the encoder", self.encoder, x, context)
        rows = x.expand(*batch, *x.shape[1:]).flatten(0, len(batch) - 1)
        return call_network("the encoder", self.encoder, rows, context.flatten(0, -2))

    def batch_of(self, x: Tensor, context: Tensor | None = None) -> torch.Size:
        """The batch shape of the posterior: ``(n,)``, or ``(*sample, n)`` for such a context."""
        if self.takes_context and context is not None and context.dim() > 2:
            return context.shape[:-1]
        return x.shape[:1]

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Draw ``z`` of shape ``(n, latent_dim)`` for the rows of ``x``.

        Where ``mask`` is false an entry is missing, and the encoder sees zero in its place.
        """
        x = without_missing(x, mask)
        with data_plate(len(x), size, index):
            return pyro.sample("z", self.posterior(x, context))


@contextmanager
def held_constant(module: nn.Module) -> Iterator[None]:
    """Let no gradient reach the parameters of ``module`` through what is computed in the block."""
    training = [p for p in module.parameters() if p.requires_grad]
    for p in training:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in training:
            p.requires_grad_(True)
