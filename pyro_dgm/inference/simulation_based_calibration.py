"""Is a way to find posteriors right? Truths from the prior, data of the model, and the posterior of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_dgm.diagnostics import calibration, tarp
from pyro_dgm.errors import DataError
from pyro_dgm.inference.calibration_run import CalibrationRun
from pyro_dgm.inference.draws_of import draws_of
from pyro_dgm.inference.implicit_posterior import ImplicitPosterior
from pyro_dgm.inference.neural_posterior import NeuralPosterior
from pyro_dgm.inference.program import Program
from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import seeded

__all__ = ["simulation_based_calibration"]

Sites = dict[str, Tensor]


def simulation_based_calibration(
    posterior: Any,
    simulator: Callable[..., Any],
    *args: Any,
    observed: str | Sequence[str] | None = None,
    num_data_sets: int = 500,
    num_draws: int = 99,
    seed: int = 0,
    chunk: int = 1000,
    vectorize: bool = True,
) -> CalibrationRun:
    """Test posteriors on data sets whose truth is known, because the model itself made them.

    If the posteriors are right then each truth is one more draw of the posterior of its data set, so that its
    rank among the draws is uniform. It is a test of the method, prior and likelihood together; whether real
    data are like the model's is another question, which
    :func:`~pyro_dgm.inference.predictive_check` asks.

    Args:
        posterior: What :func:`~pyro_dgm.inference.neural_posterior` or
            :func:`~pyro_dgm.inference.adversarial_posterior` learned; the amortized guide of a VAE; or a
            function that finds the posterior of one data set. It is given the values of the observed sites by
            name, and returns whatever :func:`~pyro_dgm.inference.draws_of` takes, such as draws by name or an
            ``MCMC`` that has run, or a pair ``(guide, model)``.
        simulator: The Pyro model, without data; or the VAE.
        *args: Its arguments.
        observed: Name, or names, of the sites that are data; those of the neural posterior by default. A VAE
            needs none.
        num_data_sets: Number of truths, and of posteriors. With a function each one is found anew.
        num_draws: Number of draws from each. Longer chains are thinned evenly to so many, which should leave
            them independent.
        seed: Seed of truths, data and draws; the global random state is left alone.
        chunk: Simulations made at a time.
        vectorize: Whether the simulator may run once for many draws.

    Raises:
        DataError: If a posterior has fewer draws than asked for, or lacks all latent sites.
        TypeError: If ``observed`` is needed and not given.

    Reference:
        Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian Inference Algorithms with
        Simulation-Based Calibration, 2018. https://arxiv.org/abs/1804.06788

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> def model():
        ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...     pyro.sample("x", dist.Normal(z, 1.0))
        >>> def exact(data):
        ...     return {"z": data["x"] / 2 + 0.5**0.5 * torch.randn(99)}
        >>> simulation_based_calibration(exact, model, observed="x", num_data_sets=200).calibrated
        True
    """
    with seeded(seed), torch.no_grad():
        if isinstance(simulator, VAE):
            truth, draws = _of_rows(posterior, simulator, num_data_sets, num_draws)
        else:
            if observed is None and isinstance(posterior, NeuralPosterior | ImplicitPosterior):
                observed = list(posterior.observed.shapes)
            if observed is None:
                raise TypeError("observed= must name the sites of the simulator that are data.")
            names = [observed] if isinstance(observed, str) else list(observed)
            program = Program(simulator, *args, chunk=chunk, vectorize=vectorize)
            latent = [name for name in program.latent if name not in names]
            made = program.simulate(num_data_sets, [*latent, *names])
            data = {name: made[name] for name in names}
            truth = {name: made[name] for name in latent}
            draws = _draws(posterior, data, num_draws)
        truth = {name: values for name, values in truth.items() if name in draws}
        if not truth:
            raise DataError(f"the posterior draws hold no latent site of the model, but {', '.join(draws)}.")
        draws = {name: draws[name] for name in truth}
        return CalibrationRun(truth, draws, calibration(truth, draws), tarp(truth, draws))


def _draws(posterior: Any, data: Sites, num: int) -> Sites:
    """Draws ``(data sets, num, *site)``, at once where the posterior is amortized, one by one where not."""
    if isinstance(posterior, NeuralPosterior | ImplicitPosterior):
        return posterior.sample(data, num)
    each = []
    for i in range(len(next(iter(data.values())))):
        with torch.enable_grad():
            found = posterior({name: values[i] for name, values in data.items()})
        given = found if isinstance(found, tuple) else (found,)
        each.append(_thinned(draws_of(*given, num_samples=num).flat(), num))
    return {name: torch.stack([drawn[name] for drawn in each]) for name in each[0]}


def _thinned(drawn: Mapping[str, Tensor], num: int) -> Sites:
    size = len(next(iter(drawn.values())))
    if size < num:
        raise DataError(f"a posterior has {size} draws, but num_draws is {num}: draw more, or ask less.")
    index = (torch.arange(num) * size) // num
    return {name: draws[index] for name, draws in drawn.items()}


def _of_rows(guide: Callable[..., Any], vae: VAE, rows: int, num: int) -> tuple[Sites, Sites]:
    """Latents and rows of a VAE, and draws of its guide for every row."""
    from pyro import poutine

    from pyro_dgm.naming import unregistered

    with unregistered(), poutine.block():
        nodes: Any = poutine.trace(vae).get_trace(num=rows).nodes
        guided: Any = poutine.trace(guide)
        x = nodes["x"]["value"]
        drawn = torch.stack([guided.get_trace(x).nodes["z"]["value"] for _ in range(num)], 1)
    return {"z": nodes["z"]["value"]}, {"z": drawn}
