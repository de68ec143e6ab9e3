"""The autoencoder without regularisation, as a contrast to the VAE."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.distributions import StandardNormal
from pyro_dgm.distributions.likelihoods import Bernoulli, Likelihood
from pyro_dgm.errors import ShapeError
from pyro_dgm.guides import Empty
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.networks import call_network
from pyro_dgm.plates import data_plate

__all__ = ["Autoencoder"]


class Autoencoder(GenerativeModel):
    r"""Encodes a row, decodes the code, and is scored by what comes back; nothing ties the codes to a prior.

    .. math:: -\log p(x \mid z = e(x))

    With the networks of a :class:`~pyro_dgm.models.VAE` it is what the VAE becomes without sampling and
    without its divergence. Its reconstructions are better; its samples, decoded from draws of N(0, I) that no
    code has learned to look like, are worse. The loss of ``fit`` is the reconstruction error in nats per row:
    not a bound of log p(x), and it has none to offer.

    Sites: ``x`` in the plate ``data``, given the row itself.

    Args:
        encoder: Maps ``(n, *event)`` to codes ``(n, latent_dim)``, or to a tuple whose first part is used:
            the encoder of a VAE, of which the log-variance is left alone.
        decoder: Maps ``(*batch, latent_dim)`` to the likelihood's parameters.
        latent_dim: Size ``q`` of the code.
        likelihood: Maps the decoder's output to the distribution of ``x``; Bernoulli by default.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If encoder, decoder and data disagree about sizes.

    Reference:
        Ruthotto and Haber, An introduction to deep generative modeling, GAMM-Mitteilungen 2021.
        https://arxiv.org/abs/2103.05180

    Example:
        >>> model = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), latent_dim=2)
        >>> model.reconstruct(torch.ones(3, 6)).shape, model.sample(4).shape
        (torch.Size([3, 6]), torch.Size([4, 6]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        *,
        likelihood: Likelihood | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.encoder, self.decoder, self.latent_dim = encoder, decoder, latent_dim
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.guide = Empty()
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        """Draws and codes; neither a density nor a bound of it."""
        return Capabilities(False, False, True, True, latent_dim=self.latent_dim, data_dim=None)

    def prior(self) -> TorchDistribution:
        """Return N(0, I), from which samples are decoded."""
        return StandardNormal(self.origin)

    def decode(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z) for codes of shape ``(*batch, latent_dim)``."""
        return self.likelihood(call_network("the decoder", self.decoder, z))

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Score rows ``x`` of shape ``(n, *event)``, or draw ``num`` new ones when ``x`` is None."""
        n = num if x is None else len(x)
        with data_plate(n, size, index):
            if x is None:
                return pyro.sample("x", self.decode(self.prior().sample(torch.Size([num]))))
            p_x = self.decode(self._code(x))
            if tuple(x.shape[1:]) != tuple(p_x.event_shape):
                raise ShapeError(
                    f"the decoder gives rows of shape {tuple(p_x.event_shape)}, but x has rows of shape "
                    f"{tuple(x.shape[1:])}: give the decoder the shape of the data."
                )
            return pyro.sample("x", p_x, obs=x)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """There is none.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(
            "an autoencoder has no log_prob: it gives no probability to codes, so none to rows. Use a VAE "
            "with the same networks, or metrics.annealed_log_likelihood with a stated prior."
        )

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The code of each row, of shape ``(n, latent_dim)``."""
        with evaluating(self):
            return self._code(x)

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) at the code of each row: of the shape of ``x``."""
        with torch.no_grad(), evaluating(self):
            mean: Tensor = self.decode(self._code(x)).mean
        return mean

    def _code(self, x: Tensor) -> Tensor:
        out: Any = call_network("the encoder", self.encoder, x)
        code: Tensor = out[0] if isinstance(out, tuple) else out
        if code.shape != (len(x), self.latent_dim):
            raise ShapeError(
                f"the encoder must return codes of shape (n, {self.latent_dim}), but for {len(x)} rows it "
                f"returned {tuple(code.shape)}. Build it for latent_dim={self.latent_dim}."
            )
        return code
