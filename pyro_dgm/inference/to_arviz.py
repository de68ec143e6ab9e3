"""Posteriors for ArviZ, with the model's names for what is in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor

from pyro_dgm.diagnostics.arviz_lines import as_container
from pyro_dgm.inference.draws_of import PosteriorDraws, draws_of
from pyro_dgm.inference.program import Program
from pyro_dgm.models.generative_model import seeded

__all__ = ["to_arviz"]


def to_arviz(
    posterior: Any,
    model: Callable[..., Any] | None = None,
    *args: Any,
    num_samples: int = 1000,
    num_prior: int = 500,
    log_likelihood: bool = True,
    predictive: bool = True,
    coords: Mapping[str, Sequence[Any]] | None = None,
    seed: int | None = None,
    chunk: int = 1000,
    vectorize: bool = True,
    **kwargs: Any,
) -> Any:
    """Hand a posterior over to ArviZ, whatever found it.

    Variables have the names of the sites. Their dimensions have those of the plates, counted from zero or
    named by ``coords``; the others are ``<site>_dim_0`` and so on. With the model there are, besides the
    group ``posterior``, also ``log_likelihood`` (one value for each datum and draw, for ``loo`` and
    ``compare``), ``posterior_predictive``, ``prior``, ``prior_predictive`` and ``observed_data``. Chains of
    NUTS that are given as an ``MCMC`` bring ``sample_stats`` with their divergences.

    Args:
        posterior: Whatever :func:`~pyro_dgm.inference.draws_of` takes: a guide trained by SVI,
            importance draws, an MCMC run, draws by name. Of a VAE or a flow it is ``model.guide``.
        model: The model, with the data in its arguments or conditioned.
        *args: Arguments of the model, and of the guide.
        num_samples: Number of draws, where they are still to be made.
        num_prior: Number of draws of the prior; none if zero.
        log_likelihood: Whether to score each datum under each draw.
        predictive: Whether to draw new data for each draw of the posterior.
        coords: Labels along plates or other dimensions, by their names.
        seed: Seed of all draws; the global random state is then left alone.
        chunk: Draws made at a time, which bounds the memory.
        vectorize: Whether model and guide may run once for many draws.
        **kwargs: Keyword arguments of model and guide.

    Returns:
        An ``InferenceData`` of ArviZ 0.23, or a ``DataTree`` of ArviZ 1.x: what its functions take.

    Raises:
        DataError: If there are no draws, or they lack a latent site of the model.
        ShapeError: If draws have not the shape of their site.
        TypeError: If this is no posterior, or a guide without its model.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> def model():
        ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("school", 3):
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(3))
        >>> data = to_arviz({"z": torch.randn(50)}, model, coords={"school": ["a", "b", "c"]})
        >>> data["log_likelihood"]["x"].dims
        ('chain', 'draw', 'school')
    """
    how: dict[str, Any] = {"chunk": chunk, "vectorize": vectorize}
    with seeded(seed):
        program = None if model is None else Program(model, *args, **how, **kwargs)
        groups = _Groups(program, coords)
        if program is not None and not program.latent:  # a flow: nothing but data
            return as_container(groups.of_data(program, num_samples if predictive else 0, log_likelihood))
        drawn = draws_of(posterior, model, *args, num_samples=num_samples, **how, **kwargs)
        if program is None:
            return as_container(groups.of_posterior(drawn, {}))
        flat, shape = drawn.flat(), drawn.shape
        found = groups.of_posterior(drawn, program.deterministics(flat) if program.deterministic else {})
        if predictive and program.observed:
            found["posterior_predictive"] = groups.dataset(program.predictive(flat), shape)
        if log_likelihood and program.observed:
            scores = program.log_likelihood(flat)
            found["log_likelihood"] = groups.dataset(scores, shape, events=False)
        if num_prior:
            latents, data = program.prior(num_prior)
            found["prior"] = groups.dataset(latents, (1, num_prior))
            if data:
                found["prior_predictive"] = groups.dataset(data, (1, num_prior))
    if program.observed:
        found["observed_data"] = groups.dataset(program.observations(), ())
    return as_container(found)


class _Groups:
    """Makes datasets of draws, with the names of a program's plates."""

    def __init__(self, program: Program | None, coords: Mapping[str, Sequence[Any]] | None) -> None:
        self.program, self.coords = program, dict(coords or {})
        trace = None if program is None else program.trace
        self.sites = set() if trace is None else set(trace.nodes)

    def of_posterior(self, drawn: PosteriorDraws, computed: Mapping[str, Tensor]) -> dict[str, Any]:
        """The posterior, with sites computed of it, and what is known of its chains."""
        groups = {"posterior": self.dataset(drawn.flat() | dict(computed), drawn.shape)}
        if drawn.diverging is not None:
            groups["sample_stats"] = self.dataset({"diverging": drawn.diverging.flatten()}, drawn.shape)
        return groups

    def of_data(self, program: Program, num: int, log_likelihood: bool) -> dict[str, Any]:
        """What a model without latents has to show."""
        groups = {"observed_data": self.dataset(program.observations(), ())} if program.observed else {}
        if num and program.observed:
            groups["posterior_predictive"] = self.dataset(program.prior(num)[1], (1, num))
        if log_likelihood and program.observed:
            groups["log_likelihood"] = self.dataset(program.log_likelihood({}), (1, 1), events=False)
        return groups

    def dataset(self, values: Mapping[str, Tensor], shape: tuple[int, ...], *, events: bool = True) -> Any:
        """A dataset of values ``(draws, *site)``, or of one value if the shape of chains is ``()``."""
        xarray: Any = import_module("xarray")
        variables: dict[str, Any] = {}
        labels: dict[str, Any] = {}
        for name, value in values.items():
            site = value.shape[1:] if shape else value.shape
            dims = self.dims(name, len(site), events)
            array = value.detach().cpu().reshape(*shape, *site).numpy()
            variables[name] = (("chain", "draw")[: len(shape)] + dims, array)
            labels |= {dim: self.labels(dim, size) for dim, size in zip(dims, site, strict=True)}
        if shape:
            labels |= {"chain": range(shape[0]), "draw": range(shape[1])}
        coords = {name: list(along) for name, along in labels.items()}
        attributes = {"inference_library": "pyro_dgm"}
        return xarray.Dataset(variables, coords=coords, attrs=attributes)

    def dims(self, name: str, count: int, events: bool) -> tuple[str, ...]:
        """Names of the dimensions of one site, without those of draws."""
        plates: Iterable[str | None] = ()
        if self.program is not None and name in self.sites:
            plates = self.program.plates_of(name)
        names = [None if plate is None else self._apart(plate) for plate in plates]
        names = [*names, *[None] * (count - len(names))] if events else names
        free = itertools.count()
        return tuple(f"{name}_dim_{next(free)}" if plate is None else plate for plate in names)

    def labels(self, dim: str, size: int) -> Sequence[Any]:
        """Labels along a dimension: those given, if they are as many."""
        labels = self.coords.get(dim)
        if labels is not None and len(labels) != size:
            raise ValueError(f"coords names {len(labels)} entries of {dim!r}, which has {size}.")
        return range(size) if labels is None else labels

    def _apart(self, plate: str) -> str:
        return f"{plate}_plate" if plate in self.sites and self._is_site(plate) else plate

    def _is_site(self, name: str) -> bool:
        assert self.program is not None
        return type(self.program.trace.nodes[name].get("fn")).__name__ != "_Subsample"
