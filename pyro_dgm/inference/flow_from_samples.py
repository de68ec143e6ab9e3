"""From posterior samples to a flow that is the prior of the next model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_dgm.errors import DataError
from pyro_dgm.flows import Flow, NeuralSpline, Whitened
from pyro_dgm.inference.flow_prior import FlowPrior
from pyro_dgm.inference.site_vector import SiteVector
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import fit

__all__ = ["flow_from_samples"]


def flow_from_samples(
    samples: Mapping[str, Tensor] | Any,
    *,
    supports: Mapping[str, Any] | None = None,
    flow: Callable[[int], Flow] | None = None,
    site: str = "flow_prior",
    held_out: float = 0.1,
    epochs: int | None = None,
    patience: int = 20,
    lr: float = 3e-3,
    seed: int = 0,
    progress: bool = False,
    **fit_options: Any,
) -> FlowPrior:
    """Fit a flow to posterior samples by maximum likelihood, and return it as a Pyro prior.

    The sites keep their names and supports. In unbounded coordinates the flow starts as the normal
    distribution of the samples' mean and covariance and learns what is not normal; a held-out part decides
    when to stop, so that samples which are normal, or few, leave it as it started.

    Args:
        samples: Draws ``(n, *site)`` of each site by name, tensors or arrays; or an MCMC object of Pyro that
            has run, or an object with ``sample_sites(n)`` such as a trained
            :class:`~pyro_dgm.guides.AutoFlow`.
        supports: Support of each site, if samples are given by name; the others are real.
        flow: ``flow(dim)`` returns the flow over unbounded vectors; splines with affine tails by default.
        site: Name of the vector's site in the next model.
        held_out: Share of the samples that decides when to stop.
        epochs: Most passes over the samples; 200 by default, unless ``steps=`` is among the options.
        patience: Validations without a new best after which training stops.
        lr: Learning rate.
        seed: Seed of the split and of training.
        progress: Whether to show a progress bar.
        **fit_options: Further options of :func:`~pyro_dgm.training.fit`.

    Returns:
        A frozen :class:`FlowPrior`, to be called inside the next model.

    Raises:
        DataError: If the samples are fewer than twenty, not finite, discrete, or outside their supports.
        ShapeError: If sites have different numbers of draws.

    Example:
        >>> draws = {"mean": torch.randn(200), "scale": torch.rand(200)}
        >>> prior = flow_from_samples(draws, supports={"scale": torch.distributions.constraints.positive},
        ...                           epochs=1)
        >>> {name: value.shape for name, value in prior.sample(5).items()}
        {'mean': torch.Size([5]), 'scale': torch.Size([5])}
    """
    draws, layout = _draws_and_layout(samples, supports)
    rows = layout.pack(draws)
    if len(rows) < 20:
        raise DataError(f"a flow needs at least 20 samples to be fitted to, but there are {len(rows)}.")
    make = _default if flow is None else flow
    if epochs is None and fit_options.get("steps") is None:
        epochs = 200
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        order, inner = torch.randperm(len(rows)), make(layout.dim).to(rows)
    test = max(5, round(held_out * len(rows)))
    train_rows, test_rows = rows[order[test:]], rows[order[:test]]
    whitened = Whitened.fitted_to(inner, train_rows)
    fit(
        NormalizingFlow(whitened),
        train_rows,
        epochs=epochs,
        lr=lr,
        seed=seed,
        validation=test_rows,
        patience=patience,
        progress=progress,
        **fit_options,
    )
    return FlowPrior(whitened.freeze(), layout, site=site)


def _default(dim: int) -> Flow:
    return NeuralSpline(dim, num_layers=4, hidden_dims=(64, 64), affine=True)


def _draws_and_layout(
    samples: Any, supports: Mapping[str, Any] | None
) -> tuple[Mapping[str, Tensor], SiteVector]:
    """The draws by name, and how they lie in a vector."""
    if isinstance(samples, Mapping):
        draws = {name: _as_tensor(value) for name, value in samples.items()}
        return draws, SiteVector.of(draws, supports)
    if supports is not None:
        raise TypeError("supports= belongs to samples given by name; MCMC and guides know their own.")
    if hasattr(samples, "get_samples"):
        draws = samples.get_samples()
        transforms = {name: t.inv for name, t in samples.transforms.items() if name in draws}
    elif hasattr(samples, "sample_sites"):
        draws = samples.sample_sites(4000)
        transforms = {name: samples.transform_of(name) for name in draws}
    else:
        raise TypeError(
            "samples must be a dictionary of draws by site, an MCMC object that has run, or a trained "
            f"AutoFlow, but is a {type(samples).__name__}."
        )
    return draws, SiteVector({name: value.shape[1:] for name, value in draws.items()}, transforms)


def _as_tensor(draws: Any) -> Any:
    """Arrays of numbers become tensors of the default dtype; what is no array is left to be refused."""
    if not isinstance(draws, np.ndarray) or draws.dtype.kind not in "fiub":
        return draws
    tensor = torch.as_tensor(np.ascontiguousarray(draws))
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
