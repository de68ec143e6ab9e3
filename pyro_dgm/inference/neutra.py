"""NUTS in the coordinates of a trained flow guide, and what it gains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.reparam import NeuTraReparam
from pyro.ops.stats import effective_sample_size
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.guides import AutoFlow

__all__ = ["NutsRun", "neutra", "nuts"]


@dataclass(frozen=True)
class NutsRun:
    """Samples of NUTS, and how many independent ones they are worth.

    Attributes:
        samples: Draws ``(n, *site)`` of every latent site, in the model's own coordinates.
        cpu_seconds: Processor time of warm-up and sampling.
        effective_samples: The least effective sample size over all coordinates of all sites.
        divergences: Number of divergent transitions.
    """

    samples: dict[str, Tensor]
    cpu_seconds: float
    effective_samples: float
    divergences: int

    @property
    def per_second(self) -> float:
        """Effective samples for each second of processor time."""
        return self.effective_samples / self.cpu_seconds


def nuts(
    model: Callable[..., Any],
    *args: Any,
    num_samples: int = 1000,
    warmup_steps: int = 500,
    seed: int | None = None,
    progress: bool = False,
    kernel_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> NutsRun:
    """Sample a model by NUTS as it stands: what :func:`neutra` is to be compared with.

    Args:
        model: A Pyro model with the data given.
        *args: Arguments of the model.
        num_samples: Number of samples.
        warmup_steps: Steps before, in which step size and mass matrix adapt.
        seed: Seed of the run; the global random state is then left alone.
        progress: Whether to show a progress bar.
        kernel_options: Further options of Pyro's ``NUTS``.
        **kwargs: Keyword arguments of the model.
    """
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        kernel = NUTS(model, **(kernel_options or {}))
        mcmc = MCMC(kernel, num_samples=num_samples, warmup_steps=warmup_steps, disable_progbar=not progress)
        start = time.process_time()
        mcmc.run(*args, **kwargs)
        seconds = time.process_time() - start
    divergences = sum(map(len, mcmc.diagnostics()["divergences"].values()))
    samples = mcmc.get_samples()
    return NutsRun(samples, seconds, least_effective(samples), divergences)


def neutra(
    model: Callable[..., Any],
    guide: AutoFlow,
    *args: Any,
    num_samples: int = 1000,
    warmup_steps: int = 500,
    seed: int | None = None,
    progress: bool = False,
    kernel_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> NutsRun:
    """Sample a model by NUTS in the latent coordinates of a trained flow guide ("neural transport").

    Where the guide is good the posterior looks there like N(0, I), whose geometry NUTS likes best. The
    samples are exact in the limit whatever the guide, since the model's density is what is sampled; a guide
    that misses a region only makes it slow to reach. Flows whose maps are unbounded, such as the default of
    :class:`~pyro_dgm.guides.AutoFlow`, reach the tails.

    Args:
        model: A Pyro model with the data given.
        guide: An :class:`~pyro_dgm.guides.AutoFlow` of it, trained.
        *args: Arguments of the model.
        num_samples: Number of samples.
        warmup_steps: Steps before, in which step size and mass matrix adapt.
        seed: Seed of the run; the global random state is then left alone.
        progress: Whether to show a progress bar.
        kernel_options: Further options of Pyro's ``NUTS``.
        **kwargs: Keyword arguments of the model.

    Raises:
        DataError: If the guide has not been run yet.

    Reference:
        Hoffman, Sountsov, Dillon, Langmore, Tran and Vasudevan, NeuTra-lizing Bad Geometry in Hamiltonian
        Monte Carlo Using Neural Transport, 2019. https://arxiv.org/abs/1903.03704
    """
    if guide.prototype_trace is None:
        raise DataError("the guide has not seen its model yet: train it first.")
    reparam = NeuTraReparam(guide)
    trained = [(p, p.requires_grad) for p in guide.parameters()]
    try:
        for p, _ in trained:
            p.requires_grad_(False)  # gradients of weights that stay would cost half of each step
        run = nuts(
            reparam.reparam(model),
            *args,
            num_samples=num_samples,
            warmup_steps=warmup_steps,
            seed=seed,
            progress=progress,
            kernel_options=kernel_options,
            **kwargs,
        )
    finally:
        for p, before in trained:
            p.requires_grad_(before)
    (latent,) = run.samples.values()
    with torch.no_grad():
        samples = guide.constrain(guide.get_transform()(latent.reshape(len(latent), -1)))
    return NutsRun(samples, run.cpu_seconds, least_effective(samples), run.divergences)


def least_effective(samples: Mapping[str, Tensor]) -> float:
    """The least effective sample size over all coordinates of one chain's samples."""
    flat = torch.cat([draws.detach().double().reshape(len(draws), -1) for draws in samples.values()], 1)
    varying = flat[:, flat.std(0) > 0]
    if not varying.shape[1]:
        return 1.0
    return effective_sample_size(varying[None], chain_dim=0, sample_dim=1).min().item()  # type: ignore[no-any-return]
