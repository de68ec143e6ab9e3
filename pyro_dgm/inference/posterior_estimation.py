"""Learn the posterior of a simulator from its own draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.flows import Embedded, Flow, NeuralSpline, Whitened
from pyro_dgm.inference.neural_posterior import NeuralPosterior
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.site_vector import SiteVector
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.models.generative_model import seeded
from pyro_dgm.training import fit

__all__ = ["neural_posterior"]


def neural_posterior(
    simulator: Callable[..., Any],
    *args: Any,
    observed: str | Sequence[str],
    num_simulations: int = 10_000,
    flow: Callable[[int, int], Flow] | None = None,
    embedding: nn.Module | None = None,
    context_dim: int | None = None,
    held_out: float = 0.1,
    epochs: int = 500,
    patience: int = 20,
    batch_size: int = 200,
    lr: float = 1e-3,
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
        observed: Name, or names, of the sites that will be data, sampled or deterministic. All other
            sampled sites are latents.
        num_simulations: Number of runs of the simulator to learn from.
        flow: ``flow(dim, context_dim)`` returns the conditional flow over unbounded vectors; splines with
            affine tails by default.
        embedding: A network that summarises the data, laid side by side as standardised vectors ``(n, C)``.
        context_dim: Size of its summaries, if there is one.
        held_out: Share of the simulations that decides when to stop.
        epochs: Most passes over the simulations.
        patience: Passes without a new best on the held-out part after which training stops.
        batch_size: Rows of each batch.
        lr: Learning rate.
        seed: Seed of the simulations, of the weights and of training; the global random state is left alone.
        chunk: Simulations made at a time.
        vectorize: Whether the simulator may run once for many draws.
        progress: Whether to show a progress bar.
        **fit_options: Further options of :func:`~pyro_dgm.training.fit`.

    Raises:
        UnknownNameError: If the simulator has no such site.
        DataError: If there are too few simulations, or values are not finite, discrete or outside supports.

    Reference:
        Papamakarios and Murray, Fast epsilon-free Inference of Simulation Models with Bayesian Conditional
        Density Estimation, NeurIPS 2016. https://arxiv.org/abs/1605.06376
        Greenberg, Nonnenmacher and Macke, Automatic Posterior Transformation for Likelihood-Free Inference,
        ICML 2019. https://arxiv.org/abs/1905.07488

    Example:
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> def simulator():
        ...     z = pyro.sample("z", dist.HalfNormal(1.0))
        ...     pyro.sample("x", dist.Normal(z, 0.1))
        >>> posterior = neural_posterior(simulator, observed="x", num_simulations=100, epochs=1)
        >>> posterior.sample(torch.tensor(0.5), 7)["z"].shape
        torch.Size([7])
    """
    names = (observed,) if isinstance(observed, str) else tuple(observed)
    if num_simulations < 20:
        raise DataError(f"a flow needs 20 simulations or more, but num_simulations is {num_simulations}.")
    if (embedding is None) != (context_dim is None):
        raise TypeError("embedding= and context_dim=, the size of its summaries, go together.")
    with seeded(seed):
        program = Program(simulator, *args, chunk=chunk, vectorize=vectorize)
        known = [*program.latent, *program.observed, *program.deterministic]
        for name in names:
            if name not in known:
                raise UnknownNameError.of("observed site", name, known)
        latent = [name for name in program.latent if name not in names]
        drawn = program.simulate(num_simulations, [*latent, *names])
        supports = {name: program.trace.nodes[name]["fn"].support for name in latent}
        layout = SiteVector.of({name: drawn[name] for name in latent}, supports)
        rows = layout.pack({name: drawn[name] for name in latent})
        data = torch.cat([drawn[name].reshape(len(rows), -1) for name in names], -1).to(rows)
        if not data.isfinite().all():
            bad = int((~data.isfinite()).any(-1).sum())
            raise DataError(f"{bad} of {len(data)} simulations gave data that are not finite.")
        inner = (flow or _default)(layout.dim, context_dim or data.shape[1]).to(rows)
        test = max(5, round(held_out * len(rows)))
        whitened = Whitened.fitted_to(inner, rows[test:])
        network = None if embedding is None else embedding.to(rows)
        conditional = Embedded(whitened, *_standard(data[test:]), network)
    history = fit(
        NormalizingFlow(conditional),
        (rows[test:], data[test:]),
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        seed=seed,
        validation=(rows[:test], data[:test]),
        patience=patience,
        progress=progress,
        **fit_options,
    )
    return NeuralPosterior(conditional.freeze(), layout, program, names, history)


def _standard(data: Tensor) -> tuple[Tensor, Tensor]:
    loc, scale = data.mean(0), data.std(0)
    return loc, torch.where(scale > 1e-6 * (1 + loc.abs()), scale, torch.ones_like(scale))


def _default(dim: int, context_dim: int) -> Flow:
    return NeuralSpline(dim, context_dim, num_layers=5, hidden_dims=(64, 64), affine=True)
