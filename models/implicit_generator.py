"""The generator of a GAN as a Pyro model without a density."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from math import prod
from typing import NoReturn, Self

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_dgm.distributions.implicit_distribution import NO_DENSITY, ImplicitDistribution
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.errors import ArgumentTypeError, ShapeError
from pyro_dgm.flows import Flow
from pyro_dgm.models.generative_model import Capabilities, GenerativeModel, evaluating
from pyro_dgm.models.vae import VAE, latent_prior
from pyro_dgm.naming import unregistered
from pyro_dgm.networks import call_network
from pyro_dgm.plates import data_plate

__all__ = ["ImplicitGenerator"]

_NO_DENSITY = NO_DENSITY.format(what="an ImplicitGenerator")


class ImplicitGenerator(GenerativeModel):
    r"""Latent-variable model without a density: ``z`` from a prior and a network's output ``x``.

    .. math:: z \sim p(z), \qquad x = g(z)

    Sites: ``z`` of event shape ``(latent_dim,)`` and the deterministic ``x`` of event shape ``data_shape``,
    both in the plate ``data``. Since ``x`` cannot be observed, it is trained by
    :class:`~pyro_dgm.objectives.Adversarial` and not by SVI.

    Args:
        generator: The network g. Maps ``(*batch, latent_dim)`` to ``(*batch, *data_shape)``, and takes the
            context as a second argument where there is one.
        latent_dim: Size ``q`` of the latent.
        data_shape: Shape of one row of data. By default read off one run of the generator, which a
            generator that needs a context cannot do.
        prior: A module that gives p(z), as for a :class:`~pyro_dgm.models.VAE`: any flow, a mixture. One
            with reparameterised draws, such as a flow, trains with the generator unless it is frozen; others
            stay as they are. N(0, I) by default.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If the generator's rows do not have ``data_shape``, or the prior another size.

    Reference:
        Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014. https://arxiv.org/abs/1406.2661

    Example:
        >>> gan = ImplicitGenerator(nn.Linear(2, 6), latent_dim=2)
        >>> gan.sample(4).shape, gan.capabilities.has_log_prob
        (torch.Size([4, 6]), False)
    """

    def __init__(
        self,
        generator: nn.Module,
        latent_dim: int,
        *,
        data_shape: Sequence[int] | None = None,
        prior: nn.Module | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if latent_dim < 1:
            raise ValueError(f"ImplicitGenerator needs latent_dim >= 1, but got latent_dim={latent_dim}.")
        self.generator, self.latent_dim = generator, latent_dim
        self.learned_prior: nn.Module | None = prior
        like = next(generator.parameters(), torch.zeros(()))
        self.register_buffer("origin", like.detach().new_zeros(latent_dim), persistent=False)
        shape = self._read_shape() if data_shape is None else data_shape
        self.data_shape = torch.Size(shape)

    @classmethod
    def from_vae(cls, vae: VAE, *, data_shape: Sequence[int] | None = None, name: str | None = None) -> Self:
        """Start a generator from a VAE: g(z) is the mean of its p(x | z), with a copy of its decoder.

        The latents are those of the VAE: of its prior, a copy of which is frozen where it was learned.

        Args:
            vae: The trained VAE, which is left as it is.
            data_shape: Shape of one row, which a conditional VAE has to be told; read off by default.
            name: Prefix of the parameters in Pyro's store; unique by default.

        Raises:
            ArgumentTypeError: If it is no VAE.
        """
        if not isinstance(vae, VAE):
            raise ArgumentTypeError(
                f"from_vae starts from a VAE, whose decoder it copies, but got a {type(vae).__name__}. Build "
                "ImplicitGenerator(generator, latent_dim) from another network."
            )
        prior = copy.deepcopy(vae.learned_prior)
        if isinstance(prior, Flow):
            prior.freeze()
        elif prior is not None:
            prior.requires_grad_(False)
        mean = _Mean(copy.deepcopy(vae.decoder), copy.deepcopy(vae.likelihood))
        return cls(mean, vae.latent_dim, data_shape=data_shape, prior=prior, name=name)

    @property
    def capabilities(self) -> Capabilities:
        """Draws, and nothing else."""
        return Capabilities(
            False, False, True, False, latent_dim=self.latent_dim, data_dim=prod(self.data_shape)
        )

    @property
    def output_range(self) -> tuple[float, float] | None:
        """Where the entries of ``x`` lie, if the generator's last layer says it: a sigmoid or tanh."""
        parts = [part for part in self.generator.modules() if not list(part.children())]
        if isinstance(self.generator, _Mean):
            return (0.0, 1.0) if isinstance(self.generator.likelihood, Bernoulli) else None
        last = type(parts[-1]) if parts else None
        return {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}.get(last)  # type: ignore[arg-type]

    def prior(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(z), of event shape ``(latent_dim,)``."""
        return latent_prior("ImplicitGenerator", self.learned_prior, self.origin, context)

    def generate(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return g(z), of shape ``(*batch, *data_shape)``, for latents ``(*batch, latent_dim)``."""
        given = (z,) if context is None else (z, context)
        x: Tensor = call_network("the generator", self.generator, *given)
        wanted = z.shape[:-1] + self.data_shape
        if x.shape != wanted:
            raise ShapeError(
                f"the generator should map latents of shape {tuple(z.shape)} to rows of shape "
                f"{tuple(wanted)}, with data_shape={tuple(self.data_shape)}, but gave {tuple(x.shape)}. "
                f"Pass the data_shape that it produces, and keep the batch dimensions on the left."
            )
        return x

    def distribution(self, context: Tensor | None = None) -> ImplicitDistribution:
        """Return the distribution of ``x``, as a site to draw from in other models."""
        base = self.prior(context) if context is None else self.prior(context).expand(context.shape[:-1])
        return ImplicitDistribution(base, lambda z: self.generate(z, context), self.data_shape)

    def forward(
        self,
        x: None = None,
        context: Tensor | None = None,
        *,
        num: int = 1,
        size: int | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Draw ``num`` rows. Rows cannot be scored.

        Raises:
            NotImplementedError: If rows ``x`` are given; it says what to use instead.
        """
        if x is not None:
            raise NotImplementedError(f"x cannot be observed here: {_NO_DENSITY}")
        with data_plate(num, size, index):
            z = pyro.sample("z", self.prior(context))
            g = self.generate(z, context)
            return pyro.deterministic("x", g, event_dim=len(self.data_shape))

    def draw(self, n: int, context: Tensor | None = None) -> Tensor:
        """Draw ``n`` rows with gradients, beside Pyro: the same rows as ``self(num=n)``, at less cost."""
        prior = self.prior(context)
        if not prior.has_rsample:
            return self.generate(prior.expand(torch.Size([n])).sample(), context)
        return self.generate(prior.rsample(torch.Size([] if prior.batch_shape else [n])), context)

    def rsample(self, n: int, *, context: Tensor | None = None) -> Tensor:
        """Draw ``n`` rows with gradients, in the mode the generator is in: what training uses."""
        with poutine.block(), unregistered():
            return self(context=context, num=n)  # type: ignore[no-any-return]

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> NoReturn:
        """There is none.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(_NO_DENSITY)

    def log_prob_bound(self, x: Tensor, num_particles: int = 1, context: Tensor | None = None) -> NoReturn:
        """There is none.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(f"there is no bound of what does not exist: {_NO_DENSITY}")

    def encode(self, x: Tensor, context: Tensor | None = None) -> NoReturn:
        """There is none.

        Raises:
            NotImplementedError: Always; it says what to use instead.
        """
        raise NotImplementedError(
            "an ImplicitGenerator has no encoder: nothing in adversarial training learns z from x, and most "
            "x are no g(z) at all. Use a VAE or a NormalizingFlow, or minimise |g(z) - x| over z yourself."
        )

    def _read_shape(self) -> torch.Size:
        with torch.no_grad(), evaluating(self):
            x: Tensor = call_network("the generator", self.generator, self.origin[None])
            return x.shape[1:]


class _Mean(nn.Module):
    """The mean of a decoder's likelihood, as a network."""

    def __init__(self, decoder: nn.Module, likelihood: Callable[[Tensor], TorchDistribution]) -> None:
        super().__init__()
        self.decoder, self.likelihood = decoder, likelihood

    def forward(self, *given: Tensor) -> Tensor:
        return self.likelihood(self.decoder(*given)).mean
