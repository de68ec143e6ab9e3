"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.distributions import StandardNormal
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.errors import ShapeError
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.plates import data_plate

__all__ = ["VAE"]


class VAE(GenerativeModel):
    r"""Latent-variable model p(z) p(x | z) with a standard normal prior and a neural decoder.

    Sites: ``z`` of event shape ``(latent_dim,)`` and ``x`` of the likelihood's event shape, both in the plate
    ``data``. A guide for this model samples ``z`` and nothing else. Trained by SVI with ``Trace_ELBO``:

    .. math:: -\mathrm{ELBO}(x) = E_{q(z|x)}[-\log p(x|z)] + KL(q(z|x) \,\|\, p(z))

    Args:
        decoder: Maps ``(*batch, latent_dim)`` to the likelihood's parameters, such as logits
            ``(*batch, *event)``; any number of leading batch dimensions.
        latent_dim: Size ``q`` of the latent.
        likelihood: Maps the decoder's output to the distribution of ``x``, of batch shape ``batch``;
            Bernoulli on binary data by default.
        guide: The amortized posterior, such as :class:`~pyro_dgm.guides.AmortizedNormal`; what bounds and
            latents are computed with. It can also be set later, as ``vae.guide = guide``.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014. https://arxiv.org/abs/1312.6114
        Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016 (the bound with several
        particles). https://arxiv.org/abs/1509.00519

    Example:
        >>> vae = VAE(nn.Linear(2, 6), latent_dim=2)
        >>> vae.sample(4).shape
        torch.Size([4, 6])
    """

    def __init__(
        self,
        decoder: nn.Module,
        latent_dim: int,
        *,
        likelihood: Callable[[Tensor], TorchDistribution] | None = None,
        guide: nn.Module | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.decoder = decoder
        self.guide: nn.Module | None = guide
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.latent_dim = latent_dim
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        """Draws, and with a guide a bound and latents; no exact density."""
        guided = self.guide is not None
        return Capabilities(False, guided, True, guided, latent_dim=self.latent_dim, data_dim=None)

    def prior(self) -> TorchDistribution:
        """Return p(z), of event shape ``(latent_dim,)``."""
        return StandardNormal(self.origin)

    def decode(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z) for latents of shape ``(*batch, latent_dim)``."""
        return self.likelihood(self.decoder(z))

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Score rows ``x`` of shape ``(n, *event)``, or draw ``num`` new ones when ``x`` is None.

        ``size`` is the number of rows of the whole data set and ``index`` says which of them these are: the
        log joint of a mini-batch is then an unbiased estimate of that of all rows.
        """
        n = num if x is None else len(x)
        with data_plate(n, size, index):
            z = pyro.sample("z", self.prior())
            p_x = self.decode(z)
            if x is not None:
                self._check_event(x, p_x)
            return pyro.sample("x", p_x, obs=x)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """There is none in closed form.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(
            "a VAE has no exact log_prob: p(x) is an integral over z without a closed form. Use "
            "log_prob_bound(x, num_particles=K), a lower bound in expectation that tightens as K grows, or "
            "metrics.importance_log_likelihood, which says how far to trust it."
        )

    def log_prob_bound(self, x: Tensor, num_particles: int = 1, context: Tensor | None = None) -> Tensor:
        r"""A stochastic lower bound of log p(x): the importance-weighted bound of ``num_particles`` draws.

        .. math:: \log \frac{1}{K} \sum_k \frac{p(x, z_k)}{q(z_k | x)}, \qquad z_k \sim q(z | x)

        With one particle it estimates the ELBO. Its expectation is at most log p(x) and does not fall as K
        grows.

        Args:
            x: Rows of shape ``(n, *event)``.
            num_particles: Number ``K`` of draws for each row.
            context: What the rows are conditioned on, or None.

        Returns:
            One value per row, of shape ``(n,)``, in nats.

        Raises:
            NotImplementedError: If the VAE was given no guide.
        """
        with evaluating(self):
            posterior = self._guide().posterior(x, context)
            z = posterior.rsample(torch.Size([num_particles]))
            p_x = self.decode(z)
            self._check_event(x, p_x)
            log_weights = self.prior().log_prob(z) + p_x.log_prob(x) - posterior.log_prob(z)
        return log_weights.logsumexp(0) - math.log(num_particles)  # type: ignore[no-any-return]

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of q(z | x) for each row, of shape ``(n, latent_dim)``.

        Raises:
            NotImplementedError: If the VAE was given no guide.
        """
        with evaluating(self):
            return self._guide().posterior(x, context).mean  # type: ignore[no-any-return]

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) at the mean of q(z | x), for each row: of the shape of ``x``.

        Raises:
            NotImplementedError: If the VAE was given no guide.
        """
        with torch.no_grad(), evaluating(self):
            mean: Tensor = self.decode(self._guide().posterior(x, context).mean).mean
        return mean

    def _guide(self) -> Any:
        if self.guide is None:
            raise NotImplementedError(
                "this VAE has no guide, and without q(z | x) there is neither a bound nor an encoding: build "
                "it as VAE(decoder, latent_dim, guide=AmortizedNormal(encoder)), or set vae.guide."
            )
        return self.guide

    def _check_event(self, x: Tensor, p_x: TorchDistribution) -> None:
        if tuple(x.shape[1:]) != tuple(p_x.event_shape):
            raise ShapeError(
                f"the decoder gives rows of shape {tuple(p_x.event_shape)}, but x has rows of shape "
                f"{tuple(x.shape[1:])}: x has shape {tuple(x.shape)}. Put batch dimensions on the left, and "
                f"give the decoder the shape of the data."
            )
