"""The amortized diagonal normal guide of a VAE."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.plates import data_plate

__all__ = ["AmortizedNormal"]


class AmortizedNormal(NamedPyroModule):
    r"""Amortized guide q(z | x): a diagonal normal whose parameters the encoder reads off x.

    .. math:: z \sim N(\mu(x), \mathrm{diag}(\exp(\log\sigma^2(x)))), \qquad \sigma = \exp(\log\sigma^2 / 2)

    Sites: ``z`` of event shape ``(latent_dim,)`` in the plate ``data``.

    Args:
        encoder: Maps ``(n, *event)`` to a pair: location and log-variance, each ``(n, latent_dim)``. With
            ``takes_context`` it is called as ``encoder(x, context)``.
        takes_context: Whether the encoder reads the context too.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If the encoder does not return two tensors ``(n, latent_dim)``.

    Reference:
        Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014. https://arxiv.org/abs/1312.6114
    """

    def __init__(self, encoder: nn.Module, *, takes_context: bool = False, name: str | None = None) -> None:
        super().__init__(name)
        self.encoder, self.takes_context = encoder, takes_context

    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(z | x), of batch shape ``(n,)`` and event shape ``(latent_dim,)``."""
        out = self.encoder(x, context) if self.takes_context else self.encoder(x)
        shapes = [tuple(part.shape) for part in out] if isinstance(out, tuple) else []
        if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 2:
            raise ShapeError(
                f"the encoder of AmortizedNormal must return a location and a log-variance of one shape "
                f"(n, latent_dim), but for {len(x)} rows it returned {shapes or type(out).__name__}."
            )
        loc, logvar = out
        posterior: dist.TorchDistribution = dist.Normal(loc, (0.5 * logvar).exp()).to_event(1)
        return posterior

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Draw ``z`` of shape ``(n, latent_dim)`` for the rows of ``x``."""
        with data_plate(len(x), size, index):
            return pyro.sample("z", self.posterior(x, context))
