"""The evidence lower bound of a VAE, without Pyro's handlers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pyro.distributions import TorchDistribution
from pyro.poutine.runtime import am_i_wrapped
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from pyro_dgm.distributions import StandardNormal
from pyro_dgm.distributions.divergences import kl_by_dimension
from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.guides import AmortizedGuide
from pyro_dgm.models import VAE
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.objectives.bound_by_hand import bound_by_hand

__all__ = ["KL", "KLTerm", "LatentBound", "is_direct"]

KL = Literal["sampled", "analytic"]


@dataclass(frozen=True)
class KLTerm:
    """How the divergence KL(q(z|x) || p(z)) enters a VAE's loss.

    Attributes:
        kl: ``"sampled"``, log q - log p at the draws, or ``"analytic"``, the closed form.
        beta: Its factor.
        warm_up: Number of training steps over which the factor rises from 0 to ``beta``.
        free_bits: Nats of divergence of each latent dimension, on average over the batch, that cost nothing.
    """

    kl: KL = "sampled"
    beta: float = 1.0
    warm_up: int = 0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        if self.kl not in ("sampled", "analytic"):
            raise ValueError(f"kl must be 'sampled' or 'analytic', but is {self.kl!r}.")
        if self.beta < 0 or self.warm_up < 0 or self.free_bits < 0:
            raise ValueError(
                f"beta, warm_up and free_bits must not be negative, but are {self.beta}, {self.warm_up} and "
                f"{self.free_bits}."
            )

    def weight(self, steps: int) -> float:
        """The factor after so many training steps."""
        return self.beta * min(1.0, steps / self.warm_up) if self.warm_up else self.beta


class LatentBound:
    """Computes a VAE's loss row by row, as ``Trace_ELBO`` would, from the few operations that it needs.

    Args:
        term: How the divergence enters.
        num_particles: Number of draws of each row.
    """

    def __init__(self, term: KLTerm, num_particles: int = 1) -> None:
        self.term, self.num_particles = term, num_particles

    def __call__(
        self, model: VAE, guide: AmortizedGuide, batch: Batch, *, steps: int, training: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in nats per row, and its parts.

        In evaluation mode neither warm-up nor free bits change it: with ``beta=1`` it is then the bound.
        """
        x, context, term = batch.x, batch.context, self.term
        weight = term.weight(steps) if training else term.beta
        found = self._by_hand(model, guide, batch, weight, free=training and term.free_bits > 0)
        if found is not None:
            return found
        posterior = guide.posterior(without_missing(x, batch.mask), context)
        prior = model.prior(context)
        z, log_q = drawn_and_scored(posterior, Size([self.num_particles] if self.num_particles > 1 else []))
        reconstruction = -model.log_likelihood(x, z, context, batch.mask).mean()
        if term.kl == "analytic":
            kl = closed_form(posterior, prior).mean()
        else:
            kl = ((posterior.log_prob(z) if log_q is None else log_q) - prior.log_prob(z)).mean()
        terms = {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
        if training and term.free_bits:
            kl = free_of(posterior, prior, term.free_bits)
        return reconstruction + (kl if weight == 1.0 else weight * kl), terms

    def _by_hand(
        self, model: VAE, guide: AmortizedGuide, batch: Batch, weight: float, *, free: bool
    ) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The same as one node of the graph, where that is known and comes out finite."""
        if self.num_particles > 1 or batch.context is not None or batch.mask is not None or free:
            return None
        bound = bound_by_hand(model, guide, batch.x, weight=weight, analytic=self.term.kl == "analytic")
        if bound is None:
            return None
        loss, reconstruction, kl = bound(batch.x)
        if Distribution._validate_args and not loss.isfinite():
            return None  # a distribution will say why
        return loss, {"reconstruction": reconstruction, "kl": kl}


def drawn_and_scored(posterior: TorchDistribution, shape: Size) -> tuple[Tensor, Tensor | None]:
    """Draw with gradients, and where it comes for nothing, score: a diagonal normal by the noise of the draw.

    The derivatives are those of ``posterior.log_prob(z)`` at the draw, where the two ways in which the
    location enters cancel.
    """
    normal = posterior.base_dist if isinstance(posterior, Independent) else None
    if not isinstance(normal, Normal) or posterior.reinterpreted_batch_ndims != 1:
        return posterior.rsample(shape), None
    loc, scale = normal.loc, normal.scale
    noise = torch.randn(shape + loc.shape, dtype=loc.dtype, device=loc.device)
    constant = 0.5 * loc.shape[-1] * math.log(2 * math.pi)
    return loc + noise * scale, -0.5 * noise.square().sum(-1) - scale.log().sum(-1) - constant


def is_direct(model: nn.Module, guide: Any) -> bool:
    """Whether model and guide are a VAE and an amortized guide of this library, used under no handler.

    What they do inside Pyro is then known, and can be computed without recording it. A subclass with a
    ``forward`` of its own, or an enclosing ``poutine.scale``, is traced instead.
    """
    return (
        isinstance(model, VAE)
        and isinstance(guide, AmortizedGuide)
        and type(model).forward is VAE.forward
        and type(guide).forward is AmortizedGuide.forward
        and not am_i_wrapped()
    )


def closed_form(posterior: TorchDistribution, prior: TorchDistribution) -> Tensor:
    """The divergence of each row, of shape ``(n,)``, in nats.

    Raises:
        TypeError: If there is no closed form for these two.
    """
    try:
        kl: Tensor = kl_divergence(posterior, prior)
    except NotImplementedError as error:
        raise TypeError(
            f"there is no closed form of the divergence of a {type(posterior).__name__} from a "
            f"{type(prior).__name__}: use kl='sampled'."
        ) from error
    return kl


def free_of(posterior: TorchDistribution, prior: TorchDistribution, free_bits: float) -> Tensor:
    """Sum over the latent dimensions of the mean divergence, or of ``free_bits`` where that is more."""
    diagonal = isinstance(posterior, Independent) and isinstance(posterior.base_dist, Normal)
    if not (diagonal and isinstance(prior, StandardNormal)):
        raise TypeError(
            "free bits are counted for each latent dimension, which needs a diagonal normal posterior and "
            f"the standard normal prior, but these are a {type(posterior).__name__} and a "
            f"{type(prior).__name__}. Use warm_up, or beta."
        )
    by_dimension = kl_by_dimension(posterior).flatten(0, -2).mean(0)
    return torch.clamp(by_dimension, min=free_bits).sum()
