"""The importance weights of several draws for each row, with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Size, Tensor, nn

from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.errors import ShapeError
from pyro_dgm.guides import AmortizedGuide
from pyro_dgm.guides.amortized import held_constant
from pyro_dgm.models import VAE
from pyro_dgm.objectives.batch import Batch

__all__ = ["Particles", "direct_particles", "traced_particles"]


@dataclass
class Particles:
    """Draws of the latents, and what they weigh.

    Attributes:
        log_weight: log p(x, z) - log q(z | x) of each draw and row, of shape ``(K, n)``, in nats.
        latents: The draws of each latent site, of shape ``(K, ..., n, *event)``.
        nesting: Number of batch dimensions of the latents after the first.
    """

    log_weight: Tensor
    latents: list[Tensor]
    nesting: int = 1


def direct_particles(
    model: VAE, guide: AmortizedGuide, batch: Batch, num_particles: int, *, constant: bool
) -> Particles:
    """Draw from a VAE's guide and weigh the draws, without Pyro's handlers.

    Args:
        model: The VAE.
        guide: Its guide.
        batch: The rows.
        num_particles: Number ``K`` of draws of each row.
        constant: Whether log q is a function of the draws alone, through which alone the guide trains.
    """
    x, context = without_missing(batch.x, batch.mask), batch.context
    posterior = guide.posterior(x, context)
    z = posterior.rsample(Size([num_particles]))
    log_joint = model.prior(context).log_prob(z) + model.log_likelihood(x, z, context, batch.mask)
    scored = guide.constant_log_prob(posterior, z, x, context) if constant else posterior.log_prob(z)
    return Particles(log_joint - scored, [z])


def traced_particles(
    model: nn.Module,
    guide: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    num_particles: int,
    *,
    constant: bool,
    max_plate_nesting: int = 1,
) -> Particles:
    """Draw from any guide and weigh the draws under any model, row by row.

    The scale of the plate ``data`` on a batch of ``n`` out of ``N`` rows is divided out: it belongs outside
    the logarithm of the mean over the draws, and inside it there is no bound.

    Args:
        model: A Pyro model whose sites all lie in the plate ``data``, its rightmost batch dimension.
        guide: Its guide.
        args: Their arguments, the rows first.
        kwargs: Their keyword arguments.
        num_particles: Number ``K`` of draws of each row.
        constant: As in :func:`direct_particles`.
        max_plate_nesting: Number of nested plates, ``data`` included.

    Raises:
        ShapeError: If a site has not one log-density per row.
        TypeError: If a latent cannot be reparameterised.
    """
    rows = len(args[0])
    scale = (kwargs.get("size") or rows) / rows
    plate = pyro.plate("particles_of_rows", num_particles, dim=-1 - max_plate_nesting)
    with poutine.block(), plate:
        drawn = poutine.trace(guide).get_trace(*args, **kwargs)
        scored = drawn
        if constant:
            with held_constant(guide):
                replayed_guide = poutine.replay(guide, trace=drawn)
                scored = poutine.trace(replayed_guide).get_trace(*args, **kwargs)
        joint = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*args, **kwargs)
    shape = Size([num_particles, rows])
    log_weight = _by_row(joint, shape, scale) - _by_row(scored, shape, scale)
    latents: list[Tensor] = []
    sites: dict[str, Any] = dict(prune_subsample_sites(drawn).nodes)
    for name, site in sites.items():
        if site["type"] == "sample" and not site["is_observed"]:
            if not site["fn"].has_rsample:
                raise TypeError(
                    f"the latent site {name!r} cannot be reparameterised, so that these gradients would be "
                    "wrong. Enumerate it with TraceEnum_ELBO, or use Trace_ELBO."
                )
            latents.append(site["value"])
    return Particles(log_weight, latents, max_plate_nesting)


def _by_row(trace: poutine.Trace, shape: Size, scale: float) -> Tensor:
    """The sum of the log-densities of a trace for each particle and row."""
    trace = prune_subsample_sites(trace)
    trace.compute_log_prob()
    total: Tensor | None = None
    for name, site in trace.nodes.items():
        if site["type"] != "sample":
            continue
        log_prob: Tensor = site["log_prob"] / scale
        inside = any(frame.name == "data" for frame in site["cond_indep_stack"])
        if not inside or log_prob.dim() < 1 or log_prob.shape[-1] != shape[1]:
            raise ShapeError(
                f"site {name!r} must lie in the plate 'data' over the {shape[1]} rows, its rightmost batch "
                f"dimension, for each row to have a bound of its own; its log-density has shape "
                f"{tuple(log_prob.shape)}. A latent that the rows share takes ELBO."
            )
        while log_prob.dim() > 2:  # plates between the particles and the rows
            log_prob = log_prob.sum(-2)
        log_prob = log_prob.expand(shape)
        total = log_prob if total is None else total + log_prob
    return torch.zeros(shape) if total is None else total
