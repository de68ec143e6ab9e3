"""Importance weights of a guide for a model, as Pyro programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from pyro_dgm.data.rows import as_rows
from pyro_dgm.distributions import FlowDistribution
from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.heap import keep_freed_memory
from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import evaluating
from pyro_dgm.objectives.latent_bound import is_direct

__all__ = ["log_weights"]


def log_weights(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Tensor,
    num_samples: int,
    *,
    context: Tensor | None = None,
    mask: Tensor | None = None,
    chunk: int = 1024,
    vectorize: bool = True,
) -> Tensor:
    """Log importance weights log p(x, z) - log q(z | x) of samples from the guide, for each row.

    Args:
        model: A Pyro model with the signature ``model(x)`` or ``model(x, context)``, whose sites lie in one
            plate over the rows, its rightmost batch dimension.
        guide: A guide of the same signature.
        x: The rows, of shape ``(n, *event)``.
        num_samples: Number ``K`` of samples of each row.
        context: What the rows are conditioned on, of shape ``(n, C)``, or None.
        mask: Of the shape of ``x``, false where an entry is missing; passed on to model and guide.
        chunk: Upper bound of rows times samples that are evaluated at once (all rows at least once).
        vectorize: Whether samples are drawn in parallel, along a new leftmost dimension, which networks must
            then accept. Otherwise one after the other.

    Returns:
        A tensor of shape ``(K, n)`` in double precision, in nats, without gradients.

    Raises:
        DataError: If a row is not finite, a weight is NaN, a site is scaled or subsampled.
        ShapeError: If a site has not one log-density per row: only then does a row have a weight of its own.
    """
    keep_freed_memory()
    x = without_missing(x, mask)
    if x.is_floating_point():
        x = as_rows(x, event_shape=x.shape[1:], dtype=x.dtype, name="x")
    arguments = (x,) if context is None else (x, context)
    keywords = {} if mask is None else {"mask": mask}
    at_once = max(1, chunk // len(x)) if vectorize else 1
    passes = []
    if isinstance(model, VAE) and is_direct(model, guide):
        with torch.no_grad(), evaluating(model), _held(guide):
            return _finite(_of_vae(model, guide, arguments, mask, num_samples, at_once))
    with torch.no_grad(), _held(model), _held(guide):
        for done in range(0, num_samples, at_once):
            num = min(at_once, num_samples - done)
            # The plate over rows takes the dimension -1, the samples the next one.
            particles = pyro.plate("importance_samples", num, dim=-2) if vectorize else nullcontext()
            with poutine.block(), particles:
                guide_trace = poutine.trace(guide).get_trace(*arguments, **keywords)
                replayed = poutine.replay(model, trace=guide_trace)
                model_trace = poutine.trace(replayed).get_trace(*arguments, **keywords)
            passes.append(_log_joint(model_trace, num, len(x)) - _log_joint(guide_trace, num, len(x)))
    return _finite(torch.cat(passes))


def _of_vae(
    model: VAE,
    guide: Any,
    arguments: tuple[Tensor, ...],
    mask: Tensor | None,
    num_samples: int,
    at_once: int,
) -> Tensor:
    """The same for a VAE and its amortized guide, whose encoder is then called once."""
    x, context = arguments[0], arguments[1] if len(arguments) > 1 else None
    posterior, prior = guide.posterior(x, context), model.prior(context)
    passes = []
    for done in range(0, num_samples, at_once):
        shape = Size([min(at_once, num_samples - done)])
        # The rows are the same in each pass; looking at them again takes a fifth of its time.
        with _unchecked() if done else nullcontext():
            if isinstance(posterior, FlowDistribution):
                z, log_q = posterior.rsample_and_log_prob(shape)
            else:
                z = posterior.sample(shape)
                log_q = posterior.log_prob(z)
            log_joint = prior.log_prob(z).double() + model.log_likelihood(x, z, context, mask)
        passes.append(log_joint - log_q)
    return torch.cat(passes)


@contextmanager
def _unchecked() -> Iterator[None]:
    """Let new distributions take values as they come. Pyro's switch would not leave torch's as it was."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def _finite(weights: Tensor) -> Tensor:
    """Return weights none of which is NaN.

    Raises:
        DataError: If one is.
    """
    if weights.isnan().any():
        rows = weights.isnan().any(0).nonzero().flatten().tolist()
        raise DataError(
            f"log p(x, z) - log q(z | x) is NaN in {len(rows)} of {weights.shape[1]} rows, first in row "
            f"{rows[0]}."
        )
    return weights


def _log_joint(trace: poutine.Trace, num_samples: int, num_rows: int) -> Tensor:
    """Sum of the sites' log-densities for each sample and row: ``(num_samples, num_rows)``."""
    trace = prune_subsample_sites(trace)
    trace.compute_log_prob()
    total = torch.zeros(num_samples, num_rows, dtype=torch.double)
    for name, site in trace.nodes.items():
        if site["type"] != "sample":
            continue
        log_prob = site["log_prob"]
        if site["scale"] != 1.0:
            raise DataError(
                f"site {name!r} is scaled by {site['scale']}, as in training on a subsample: its log-density "
                "is then not that of the rows. Call the model without a size, and without poutine.scale."
            )
        if log_prob.dim() not in (1, 2) or log_prob.shape[-1] != num_rows:
            raise ShapeError(
                f"site {name!r} needs one log-density per row for importance sampling, shape (..., "
                f"{num_rows}), but has shape {tuple(log_prob.shape)}. Put it in the plate over rows; a "
                "latent that the rows share has no weight of a single row."
            )
        total = total.to(log_prob.device) + log_prob
    return total


def _held(part: Callable[..., Any]) -> AbstractContextManager[None]:
    """Hold a module in evaluation mode; a plain function has none."""
    return evaluating(part) if isinstance(part, nn.Module) else nullcontext()
