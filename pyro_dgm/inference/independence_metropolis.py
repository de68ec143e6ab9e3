"""Metropolis-Hastings whose proposals are independent draws of a guide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.inference.importance_draws import ImportanceDraws, importance_draws

__all__ = ["IndependenceChains", "independence_metropolis"]


@dataclass(frozen=True)
class IndependenceChains:
    """Chains of a Metropolis sampler with independent proposals.

    Attributes:
        samples: Values of every latent site, each of shape ``(num_chains, num_samples, *site)``.
        acceptance_rate: Share of accepted proposals; one for an exact guide.
        longest_stay: Most steps that a chain stood still. A long stay is a region that the guide misses.
    """

    samples: dict[str, Tensor]
    acceptance_rate: float
    longest_stay: int


def independence_metropolis(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *args: Any,
    num_samples: int = 1000,
    num_chains: int = 4,
    chunk: int = 1000,
    vectorize: bool = True,
    seed: int | None = None,
    **kwargs: Any,
) -> IndependenceChains:
    r"""Correct a guide: its draws are proposals, accepted so that the chains have the exact posterior.

    A proposal :math:`z'` replaces :math:`z` with probability :math:`\min(1, w(z') / w(z))`,
    :math:`w = p(x, z) / q(z)`. The chains jump between modes as freely as the guide does, and mix
    geometrically if the weights are bounded.

    Args:
        model: A Pyro model with the data given.
        guide: A guide of it, such as a trained :class:`~pyro_dgm.guides.AutoFlow`.
        *args: Arguments of both.
        num_samples: Steps of each chain that are kept; as many proposals and one are drawn.
        num_chains: Number of chains, which run side by side.
        chunk: Draws made at a time, which bounds the memory.
        vectorize: Whether model and guide may run once for many draws.
        seed: Seed of proposals and acceptance; the global random state is then left alone.
        **kwargs: Keyword arguments of both.

    Raises:
        DataError: If no draw has a positive weight, or one's weight is NaN.

    Reference:
        Tierney, Markov chains for exploring posterior distributions, Annals of Statistics 22, 1994.
    """
    if num_samples < 1 or num_chains < 1:
        raise ValueError(f"num_samples and num_chains must be positive: got {num_samples}, {num_chains}.")
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        proposals = importance_draws(
            model,
            guide,
            *args,
            num_samples=num_chains * (num_samples + 1),
            chunk=chunk,
            vectorize=vectorize,
            **kwargs,
        )
        return _chains(proposals, num_chains, num_samples)


def _chains(proposals: ImportanceDraws, num_chains: int, num_samples: int) -> IndependenceChains:
    log_weights = proposals.log_weights.view(num_chains, num_samples + 1)
    index = torch.arange(log_weights.numel()).view_as(log_weights)
    # A chain begins at its first proposal with any density at all.
    start = (log_weights > -torch.inf).int().argmax(1, keepdim=True)
    now, at = log_weights.gather(1, start)[:, 0], index.gather(1, start)[:, 0]
    if (now == -torch.inf).any():
        raise DataError(
            "a chain found no proposal with positive density: the guide misses the posterior almost wholly. "
            "Train it longer, or draw more samples a chain."
        )
    thresholds = torch.rand(num_samples, num_chains).to(now).log()
    visited, accepted = [], []
    for step in range(1, num_samples + 1):
        accept = thresholds[step - 1] < log_weights[:, step] - now
        now, at = torch.where(accept, log_weights[:, step], now), torch.where(accept, index[:, step], at)
        visited.append(at)
        accepted.append(accept)
    path, moves = torch.stack(visited, 1), torch.stack(accepted, 1)
    samples = {name: draws[path] for name, draws in proposals.samples.items()}
    return IndependenceChains(samples, moves.float().mean().item(), _longest_run(~moves))


def _longest_run(still: Tensor) -> int:
    """The most entries of a row, one after another, that are true."""
    longest = current = torch.zeros(len(still), dtype=torch.long)
    for column in still.T:
        current = (current + 1) * column
        longest = torch.maximum(longest, current)
    return int(longest.max())
