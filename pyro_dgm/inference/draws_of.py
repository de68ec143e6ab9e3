"""Draws out of whatever holds a posterior, laid out as chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.inference.flow_prior import FlowPrior
from pyro_dgm.inference.importance_draws import ImportanceDraws, importance_draws
from pyro_dgm.inference.independence_metropolis import IndependenceChains
from pyro_dgm.inference.neutra import NutsRun
from pyro_dgm.models.generative_model import seeded

__all__ = ["PosteriorDraws", "draws_of"]


@dataclass(frozen=True)
class PosteriorDraws:
    """Draws of a posterior in chains.

    Attributes:
        samples: Values of every site, each of shape ``(num_chains, num_samples, *site)``.
        diverging: Which transitions of NUTS diverged, ``(num_chains, num_samples)``; None where there were
            none to judge.
        importance: The draws with their weights, where they come from a guide; None otherwise.
    """

    samples: dict[str, Tensor]
    diverging: Tensor | None = None
    importance: ImportanceDraws | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chains, and of draws of each."""
        first = next(iter(self.samples.values()), None)
        return (1, 0) if first is None else (first.shape[0], first.shape[1])

    def flat(self) -> dict[str, Tensor]:
        """The draws of all chains one after another, ``(num_chains * num_samples, *site)``."""
        return {name: draws.flatten(0, 1) for name, draws in self.samples.items()}


def draws_of(
    posterior: Any,
    model: Any = None,
    *args: Any,
    num_samples: int = 1000,
    seed: int | None = None,
    chunk: int = 1000,
    vectorize: bool = True,
    **kwargs: Any,
) -> PosteriorDraws:
    """Take draws from a posterior of any kind.

    Args:
        posterior: Importance draws, which are resampled; chains of
            :func:`~pyro_dgm.inference.independence_metropolis`; a run of NUTS or an ``MCMC`` of Pyro; draws
            ``(n, *site)`` by name; a :class:`FlowPrior`; an :class:`~pyro_dgm.guides.AutoFlow`; or any guide,
            for which its model is needed.
        model: The guide's model.
        *args: Arguments of model and guide.
        num_samples: Number of draws, where they are still to be made.
        seed: Seed of these draws; the global random state is then left alone.
        chunk: Draws made at a time.
        vectorize: Whether model and guide may run once for many draws.
        **kwargs: Keyword arguments of model and guide.

    Raises:
        DataError: If there are no draws.
        ShapeError: If sites have different numbers of draws.
        TypeError: If this is no posterior, or a guide without its model.
    """
    with seeded(seed):
        if isinstance(posterior, ImportanceDraws):
            drawn = posterior.resample(num_samples, seed=seed)
            return PosteriorDraws(_as_chain(drawn), importance=posterior)
        if hasattr(posterior, "get_samples"):
            return PosteriorDraws(_checked(posterior.get_samples(group_by_chain=True)), _diverging(posterior))
        if isinstance(posterior, Mapping):
            return PosteriorDraws(_as_chain(posterior))
        if isinstance(posterior, IndependenceChains):
            return PosteriorDraws(_checked(posterior.samples))
        if isinstance(posterior, NutsRun):
            return PosteriorDraws(_as_chain(posterior.samples))
        if isinstance(posterior, FlowPrior):
            return PosteriorDraws(_as_chain(posterior.sample(num_samples)))
        if callable(posterior) and model is not None:
            options: dict[str, Any] = {"num_samples": num_samples, "chunk": chunk, "vectorize": vectorize}
            importance = importance_draws(model, posterior, *args, **options, **kwargs)
            return PosteriorDraws(_as_chain(importance.samples), importance=importance)
        if hasattr(posterior, "sample_sites"):
            return PosteriorDraws(_as_chain(posterior.sample_sites(num_samples)))
    raise TypeError(
        f"a {type(posterior).__name__} holds no posterior draws that are known here: pass draws (n, *site) "
        "by name, importance draws, an MCMC run, or a guide together with its model and their arguments."
    )


def _as_chain(samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        tensors = {name: torch.as_tensor(draws) for name, draws in samples.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        kinds = ", ".join(f"{name}: {type(draws).__name__}" for name, draws in samples.items())
        raise ArgumentTypeError(f"draws must be arrays of numbers (n, *site), but are {kinds}.") from error
    if any(not draws.dim() for draws in tensors.values()):
        raise ShapeError("draws of a site need shape (n, *site), but one is a single number.")
    return _checked({name: draws[None] for name, draws in tensors.items()})


def _checked(samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    lengths = {name: tuple(draws.shape[:2]) for name, draws in samples.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"every site needs as many draws as the others, but they have {lengths}.")
    if any(draws.numel() == 0 for draws in samples.values()):
        raise DataError("there are no posterior draws: has the run been made?")
    return {name: draws.detach() for name, draws in samples.items()}


def _diverging(mcmc: Any) -> Tensor | None:
    """Where the chains of an MCMC run diverged."""
    divergences = mcmc.diagnostics().get("divergences")
    if divergences is None:
        return None
    first = next(iter(mcmc.get_samples(group_by_chain=True).values()))
    marks = torch.zeros(first.shape[:2], dtype=torch.bool)
    for chain, steps in enumerate(divergences.values()):
        marks[chain, torch.as_tensor(steps, dtype=torch.long)] = True
    return marks
