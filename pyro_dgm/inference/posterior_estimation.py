"""Learn the posterior of a simulator from its own draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pyro_dgm.flows import Embedded, Flow, NeuralSpline, Whitened
from pyro_dgm.inference.neural_posterior import NeuralPosterior
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.simulations import Simulations
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.models.generative_model import seeded
from pyro_dgm.training import fit
from pyro_dgm.training.schedules import Schedule

__all__ = ["neural_posterior"]


def neural_posterior(
    simulator: Callable[..., Any],
    *args: Any,
    observed: str | Sequence[str],
    latent: str | Sequence[str] | None = None,
    simulations: Mapping[str, Tensor] | None = None,
    num_simulations: int = 10_000,
    flow: Callable[[int, int], Flow] | None = None,
    embedding: nn.Module | None = None,
    context_dim: int | None = None,
    held_out: float = 0.1,
    epochs: int | None = None,
    patience: int | None = None,
    batch_size: int = 200,
    lr: float = 6e-3,
    schedule: str | Schedule | None = "one-cycle",
    average: float | None = 0.995,
    seed: int = 0,
    chunk: int = 1000,
    vectorize: bool = True,
    progress: bool = False,
    **fit_options: Any,
) -> NeuralPosterior:
    r"""Fit a conditional flow to draws of latents and data: neural posterior estimation.

    .. math:: \min_\phi E_{p(z, x)} [-\log q_\phi(z | x)]

    Its minimum over all densities is the posterior, for every x at once; no likelihood is evaluated, so the
    simulator may be one that has none. Latents keep their names and supports: the flow works in unbounded
    coordinates in which the prior has mean zero and covariance one, and no mass leaks out of the supports.

    Args:
        simulator: A Pyro model that samples latents and data.
        *args: Its arguments.
        observed: Name, or names, of the sites that will be data, sampled or deterministic.
        latent: Name, or names, of the sites whose posterior is wanted; all other sampled ones by default.
            Those left out, such as noise inside the simulator, are averaged over.
        simulations: Values ``(n, *site)`` of all these sites from runs made before; the simulator is then
            run once only, to see its sites.
        num_simulations: Number of runs of the simulator to learn from, where they are still to be made.
        flow: ``flow(dim, context_dim)`` returns the conditional flow over unbounded vectors; splines with
            affine tails by default.
        embedding: A network that summarises the data, laid side by side as standardised vectors ``(n, C)``.
        context_dim: Size of its summaries, if there is one.
        held_out: Share of the simulations that decides which weights are best.
        epochs: Passes over the simulations; by default as many as make 2 500 updates, and at least 20.
        patience: Passes without a new best on the held-out part after which training stops early; None to go
            on to the end of the schedule.
        batch_size: Rows of each batch.
        lr: Largest learning rate.
        schedule: How it rises and falls: see :func:`~pyro_dgm.training.fit`.
        average: Decay of the running average of the weights that is kept; None for the weights themselves.
        seed: Seed of the simulations, of the weights and of training; the global random state is left alone.
        chunk: Simulations made at a time.
        vectorize: Whether the simulator may run once for many draws.
        progress: Whether to show a progress bar.
        **fit_options: Further options of :func:`~pyro_dgm.training.fit`.

    Raises:
        UnknownNameError: If the simulator has no such site.
        ShapeError: If simulations made before do not have the shapes of their sites.
        DataError: If there are too few simulations, or values are not finite, discrete or outside supports.

    Reference:
        Papamakarios and Murray, Fast epsilon-free Inference of Simulation Models with Bayesian Conditional
        Density Estimation, NeurIPS 2016. https://arxiv.org/abs/1605.06376
        Greenberg, Nonnenmacher and Macke, Automatic Posterior Transformation for Likelihood-Free Inference,
        ICML 2019. https://arxiv.org/abs/1905.07488

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> def simulator():
        ...     z = pyro.sample("z", dist.HalfNormal(1.0))
        ...     pyro.sample("x", dist.Normal(z, 0.1))
        >>> posterior = neural_posterior(simulator, observed="x", num_simulations=100, epochs=1)
        >>> posterior.sample(torch.tensor(0.5), 7)["z"].shape
        torch.Size([7])
    """
    if (embedding is None) != (context_dim is None):
        raise TypeError("embedding= and context_dim=, the size of its summaries, go together.")
    with seeded(seed):
        program = Program(simulator, *args, chunk=chunk, vectorize=vectorize)
        made = Simulations.of(program, observed, latent, num=num_simulations, made=simulations)
        train, test = made.split(held_out)
        inner = (flow or _default)(made.layout.dim, context_dim or made.observed.dim).to(train.latents)
        whitened = Whitened.fitted_to(inner, train.latents)
        network = None if embedding is None else embedding.to(train.latents)
        conditional = Embedded(whitened, *train.standard_data(), network)
    history = fit(
        NormalizingFlow(conditional),
        (train.latents, train.data),
        epochs=epochs or max(20, math.ceil(2500 / math.ceil(len(train.latents) / batch_size))),
        lr=lr,
        schedule=schedule,
        average=average,
        batch_size=batch_size,
        seed=seed,
        validation=(test.latents, test.data),
        patience=patience,
        progress=progress,
        **fit_options,
    )
    return NeuralPosterior(conditional.freeze(), made, program, history)


def _default(dim: int, context_dim: int) -> Flow:
    return NeuralSpline(dim, context_dim, num_layers=5, hidden_dims=(64, 64), affine=True)
