"""The variational autoencoder."""

from __future__ import annotations

import math
from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.arguments import positive_int
from pyro_dgm.distributions import FlowDistribution, StandardNormal
from pyro_dgm.distributions.entries import observed_entries, without_missing
from pyro_dgm.distributions.likelihoods import Bernoulli, Likelihood
from pyro_dgm.errors import DataError, PyroDGMError, ShapeError
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, check_rows, evaluating
from pyro_dgm.networks import call_network
from pyro_dgm.plates import data_plate

__all__ = ["VAE"]


class VAE(GenerativeModel):
    r"""Latent-variable model p(z) p(x | z) with a neural decoder.

    Sites: ``z`` of event shape ``(latent_dim,)`` and ``x`` of the likelihood's event shape, both in the plate
    ``data``. A guide for this model samples ``z`` and nothing else. Trained by SVI with ``Trace_ELBO``, or by
    :class:`~pyro_dgm.objectives.ELBO` and :class:`~pyro_dgm.objectives.IWAE`:

    .. math:: -\mathrm{ELBO}(x) = E_{q(z|x)}[-\log p(x|z)] + KL(q(z|x) \,\|\, p(z))

    Args:
        decoder: Maps ``(*batch, latent_dim)`` to the likelihood's parameters, such as logits
            ``(*batch, *event)``; any number of leading batch dimensions. With ``takes_context`` it is called
            as ``decoder(z, context)``, for a context of shape ``(n, C)``.
        latent_dim: Size ``q`` of the latent.
        likelihood: Maps the decoder's output to the distribution of ``x``, of batch shape ``batch``;
            Bernoulli on binary data by default.
        prior: A module that gives p(z): any flow, :class:`~pyro_dgm.distributions.NormalMixture`,
            :class:`~pyro_dgm.distributions.VampPrior`; it trains with the rest. Called as ``prior(context)``
            if it has a ``context_dim`` above zero, as ``prior()`` otherwise. N(0, I) by default.
        guide: The amortized posterior, such as :class:`~pyro_dgm.guides.AmortizedNormal`; what bounds and
            latents are computed with. It can also be set later, as ``vae.guide = guide``.
        takes_context: Whether the decoder reads the context: a conditional VAE.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If prior, guide and decoder disagree with ``latent_dim`` or the data, or a context comes
            that no part reads.
        DataError: If ``latent_dim`` is below 1, or, where arguments are validated, rows are outside of the
            likelihood's support.

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
        likelihood: Likelihood | None = None,
        prior: nn.Module | None = None,
        guide: nn.Module | None = None,
        takes_context: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if latent_dim < 1:
            raise DataError(f"a VAE needs latent_dim >= 1, but got latent_dim={latent_dim}.")
        self.decoder, self.takes_context = decoder, takes_context
        self.guide: nn.Module | None = guide
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.learned_prior: nn.Module | None = prior
        self.latent_dim = latent_dim
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        """Draws, and with a guide a bound and latents; no exact density."""
        guided = self.guide is not None
        return Capabilities(False, guided, True, guided, latent_dim=self.latent_dim, data_dim=None)

    def prior(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(z), of event shape ``(latent_dim,)``."""
        if context is not None:
            self._check_context(context)
        return latent_prior("VAE", self.learned_prior, self.origin, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x | z) for latents of shape ``(*batch, latent_dim)``."""
        given = (z, context) if self.takes_context else (z,)
        return self.likelihood(call_network("the decoder", self.decoder, *given))

    def forward(
        self,
        x: Tensor | None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Score rows ``x`` of shape ``(n, *event)``, or draw ``num`` new ones when ``x`` is None.

        ``size`` is the number of rows of the whole data set and ``index`` says which of them these are: the
        log joint of a mini-batch is then an unbiased estimate of that of all rows. ``mask`` of the shape of
        ``x`` is false where an entry is missing; it then counts for nothing, whatever its value.
        """
        n = num if x is None else len(x)
        x = x if x is None else without_missing(x, mask)
        with data_plate(n, size, index):
            z = pyro.sample("z", self.prior(context))
            p_x = self.decode(z, context)
            if x is not None:
                p_x = self._fitting(x, p_x, mask)
            return pyro.sample("x", p_x, obs=x)

    def log_likelihood(
        self, x: Tensor, z: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return log p(x | z) of each row of ``x`` and latents ``z`` of shape ``(*sample, n, latent_dim)``.

        Of shape ``(*sample, n)``, in nats. Each row stands for itself: nothing is scaled.
        """
        x = without_missing(x, mask)
        p_x = self._fitting(x, self.decode(z, context), mask)
        try:
            log_likelihood: Tensor = p_x.log_prob(x)
        except ValueError as error:
            if isinstance(error, PyroDGMError) or "within the support" not in str(error):
                raise
            first = " ".join(str(error).split(", but found invalid")[0].split())
            raise DataError(
                f"the rows are outside the support of the VAE's likelihood: {first}. Rescale, binarise or "
                "dequantise them, or choose another likelihood=."
            ) from error
        return log_likelihood

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

    def log_prob_bound(
        self,
        x: Tensor,
        num_particles: int = 1,
        context: Tensor | None = None,
        *,
        mask: Tensor | None = None,
    ) -> Tensor:
        r"""A stochastic lower bound of log p(x): the importance-weighted bound of ``num_particles`` draws.

        .. math:: \log \frac{1}{K} \sum_k \frac{p(x, z_k)}{q(z_k | x)}, \qquad z_k \sim q(z | x)

        With one particle it estimates the ELBO. Its expectation is at most log p(x) and does not fall as K
        grows. With a ``mask``, false where an entry is missing, it bounds the density of the others. Returns
        one value per row, of shape ``(n,)``, in nats.

        Raises:
            NotImplementedError: If the VAE was given no guide.
            ShapeError: If rows do not fit the networks.
            DataError: If rows are of another dtype, outside of the support, or lead to no posterior.
        """
        num_particles = positive_int("num_particles", num_particles)
        check_rows("a VAE", x, self.origin)
        if not len(x):
            none: Tensor = self.origin.new_zeros(0)
            return none
        with evaluating(self):
            posterior = self.posterior(x, context, mask)
            z = posterior.rsample(torch.Size([num_particles]))
            log_joint = self.prior(context).log_prob(z) + self.log_likelihood(x, z, context, mask)
            log_weights: Tensor = log_joint - posterior.log_prob(z)
        return log_weights.logsumexp(0) - math.log(num_particles)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of q(z | x) for each row, or of a flow its base mean's image: ``(n, latent_dim)``."""
        check_rows("a VAE", x, self.origin)
        with evaluating(self):
            return posterior_centre(self.posterior(x, context))

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of p(x | z) at the mean of q(z | x), for each row: of the shape of ``x``."""
        with torch.no_grad(), evaluating(self):
            mean: Tensor = self.decode(self.encode(x, context), context).mean
        return mean

    def _guide(self) -> Any:
        if self.guide is None:
            raise NotImplementedError(
                "this VAE has no guide, and without q(z | x) there is neither a bound nor an encoding: build "
                "it as VAE(decoder, latent_dim, guide=AmortizedNormal(encoder)), or set vae.guide."
            )
        return self.guide

    def posterior(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> TorchDistribution:
        """The guide's q(z | x) of each row, in the mode the networks are in: of batch shape ``(n,)``.

        Where ``mask`` is false an entry is missing, and the encoder sees zero in its place.

        Raises:
            NotImplementedError: If the VAE was given no guide.
            DataError: If a row leads to no posterior, since an observed entry is not finite.
        """
        guide, x = self._guide(), without_missing(x, mask)
        try:
            posterior: TorchDistribution = guide.posterior(x, context)
        except ValueError as error:
            if x.isfinite().all() or isinstance(error, PyroDGMError):
                raise
            row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
            raise DataError(f"x is not finite in row {row}, so that q(z | x) does not exist.") from error
        return posterior

    def _check_context(self, context: Tensor) -> None:
        guide, prior = self.guide, self.learned_prior
        reads = self.takes_context or getattr(guide, "takes_context", True)
        if not (reads or getattr(prior, "context_dim", 0)):
            raise ShapeError(
                f"no part of this VAE reads a context, but one of shape {tuple(context.shape)} came. Build "
                "it, or its guide, with takes_context=True, or leave the context out."
            )

    def _fitting(self, x: Tensor, p_x: TorchDistribution, mask: Tensor | None) -> TorchDistribution:
        if tuple(x.shape[1:]) != tuple(p_x.event_shape):
            raise ShapeError(
                f"the decoder gives rows of shape {tuple(p_x.event_shape)}, but x has rows of shape "
                f"{tuple(x.shape[1:])}: x has shape {tuple(x.shape)}. Put batch dimensions on the left, and "
                f"give the decoder the shape of the data."
            )
        return p_x if mask is None else observed_entries(p_x, mask)


def latent_prior(
    name: str, learned: nn.Module | None, origin: Tensor, context: Tensor | None
) -> TorchDistribution:
    """What a module gives for p(z), over latents of the shape of ``origin``; N(0, I) without one.

    Raises:
        ShapeError: If it is a distribution of latents of another size.
    """
    if learned is None:
        return StandardNormal(origin)
    prior: TorchDistribution = learned(context) if getattr(learned, "context_dim", 0) else learned()
    if prior.event_shape != origin.shape:
        raise ShapeError(
            f"the prior has events of shape {tuple(prior.event_shape)}, but this {name} was built with "
            f"latent_dim={len(origin)}: build both for one size."
        )
    return prior


def posterior_centre(posterior: TorchDistribution) -> Tensor:
    """The mean of q(z | x), or of a flow the image of its base's mean: one latent for each row."""
    if isinstance(posterior, FlowDistribution):
        image: Tensor = posterior.transform(posterior.base_dist.mean)
        return image
    mean: Tensor = posterior.mean
    return mean
