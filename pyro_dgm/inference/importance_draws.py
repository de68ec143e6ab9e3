"""Draws of a guide with their importance weights under the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.inference.check_guide import matched_sites
from pyro_dgm.inference.site_shapes import draws_mixed_up, latent_sites, plate_nesting

__all__ = ["ImportanceDraws", "importance_draws"]


@dataclass(frozen=True)
class ImportanceDraws:
    """Draws of a guide and the logarithms of their weights p(x, z) / q(z).

    Attributes:
        samples: Values of every latent site, each of shape ``(n, *site)``.
        log_weights: Of shape ``(n,)``, in nats.
    """

    samples: dict[str, Tensor]
    log_weights: Tensor

    @property
    def log_evidence(self) -> float:
        """Estimate of log p(x), in nats: the logarithm of the mean weight, low by about 1 / (2 ESS)."""
        return (self.log_weights.logsumexp(0) - math.log(len(self.log_weights))).item()

    @property
    def elbo(self) -> float:
        """The mean log-weight, in nats: the evidence lower bound."""
        return self.log_weights.mean().item()

    @property
    def effective_sample_size(self) -> float:
        """How many independent posterior draws these are worth: (sum w)^2 / sum w^2."""
        weights = self.log_weights.softmax(0)
        return (1 / weights.square().sum()).item()

    def mean(self, site: str) -> Tensor:
        """The posterior mean of a site, corrected by the weights."""
        draws = self.samples[site]
        weights = self.log_weights.softmax(0).to(draws)
        mean: Tensor = torch.tensordot(weights, draws, dims=1)
        return mean

    def resample(self, num_samples: int, *, seed: int | None = None) -> dict[str, Tensor]:
        """Draw with probabilities proportional to the weights, systematically (little extra variance)."""
        generator = torch.Generator().manual_seed(seed) if seed is not None else None
        weights = self.log_weights.double().softmax(0)
        offset = torch.rand((), generator=generator, dtype=torch.double)
        positions = (torch.arange(num_samples) + offset) / num_samples
        index = torch.searchsorted(weights.cumsum(0), positions).clamp(max=len(weights) - 1)
        return {name: draws[index] for name, draws in self.samples.items()}


@torch.no_grad()
def importance_draws(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *args: Any,
    num_samples: int = 1000,
    chunk: int = 1000,
    vectorize: bool = True,
    **kwargs: Any,
) -> ImportanceDraws:
    """Draw from a guide and weigh by the model.

    Args:
        model: A Pyro model with the data given, in its arguments or conditioned.
        guide: A guide of it.
        *args: Arguments of both.
        num_samples: Number of draws.
        chunk: Draws made at a time, which bounds the memory.
        vectorize: Whether model and guide may run once for many draws, as with Pyro's vectorised particles;
            otherwise they run once a draw.
        **kwargs: Keyword arguments of both.

    Raises:
        DataError: If the guide's sites are not the model's latent ones (see
            :func:`~pyro_dgm.inference.check_guide`), no draw has a positive weight, or one's weight is NaN.
        ShapeError: If a site of the guide has another shape.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyro_dgm.guides import AutoFlow
        >>> def model():
        ...     pyro.sample("z", dist.Normal(0.0, 1.0))
        >>> drawn = importance_draws(model, AutoFlow(model), num_samples=100)
        >>> drawn.samples["z"].shape
        torch.Size([100])
    """
    if num_samples < 1 or chunk < 1:
        raise ValueError(f"num_samples and chunk must be positive, but are {num_samples} and {chunk}.")
    matched_sites(model, guide, args, kwargs)
    trace = poutine.trace(guide).get_trace(*args, **kwargs)
    prototype = poutine.trace(poutine.replay(model, trace=trace)).get_trace(*args, **kwargs)
    shapes = {name: site["value"].shape for name, site in latent_sites(prototype).items()}
    nesting = max(plate_nesting(trace), plate_nesting(prototype))
    sizes = [min(chunk, num_samples - start) for start in range(0, num_samples, chunk)]
    if not vectorize:
        sizes = [1] * num_samples
    parts = [_draw(model, guide, args, kwargs, size, nesting, shapes) for size in sizes]
    samples = {name: torch.cat([part[0][name] for part in parts]) for name in shapes}
    return ImportanceDraws(samples, _checked(torch.cat([part[1] for part in parts])))


def _draw(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: Any,
    kwargs: Any,
    num: int,
    nesting: int,
    shapes: dict[str, torch.Size],
) -> tuple[dict[str, Tensor], Tensor]:
    """Run both once for ``num`` draws."""

    def many(program: Callable[..., Any]) -> Callable[..., Any]:
        def run() -> None:
            with pyro.plate("draws_of_the_guide", num, dim=-1 - nesting):
                program(*args, **kwargs)

        return run if num > 1 else lambda: program(*args, **kwargs)

    drawn = poutine.trace(many(guide)).get_trace()
    scored: Any = poutine.trace(poutine.replay(many(model), trace=drawn)).get_trace()
    values = {name: _of_each(num, scored.nodes[name]["value"], shape) for name, shape in shapes.items()}
    return values, _log_density(scored, num, nesting) - _log_density(drawn, num, nesting)


def _of_each(num: int, value: Tensor, shape: torch.Size) -> Tensor:
    """The values of each draw, of shape ``(num, *shape)``; plates around no site leave ones between."""
    return value.expand(num, *shape) if value.numel() == shape.numel() else value.reshape(num, *shape)


def _log_density(trace: Any, num: int, nesting: int) -> Tensor:
    """The log-density of each draw, of shape ``(num,)``."""
    trace.compute_log_prob()
    parts = []
    for site in trace.nodes.values():
        if site["type"] == "sample":
            log_prob = torch.as_tensor(site["log_prob"])
            if num > 1 and log_prob.dim() > nesting + 1:
                raise draws_mixed_up(site["name"], log_prob, num, nesting)
            one_each = num > 1 and log_prob.dim() == nesting + 1
            parts.append(log_prob.reshape(len(log_prob), -1).sum(-1) if one_each else log_prob.sum())
    total: Tensor = sum(parts, torch.zeros((), dtype=torch.float64))
    dtypes = {part.dtype for part in parts}
    return total.to(dtypes.pop() if len(dtypes) == 1 else torch.float64).expand(num)


def _checked(log_weights: Tensor) -> Tensor:
    bad = log_weights.isnan() | (log_weights == math.inf)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(bad)} draws have a weight that is no number: does the guide reach "
            "values at which the model's density is not defined?"
        )
    if log_weights.max() == -math.inf:
        raise DataError(
            "every draw of the guide has density zero under the model: the guide misses the posterior."
        )
    return log_weights
