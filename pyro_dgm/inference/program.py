"""A Pyro model run for many draws of its latents at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Size, Tensor

from pyro_dgm.errors import DataError, ShapeError
from pyro_dgm.inference.site_shapes import draws_mixed_up, latent_sites, plate_nesting
from pyro_dgm.naming import unregistered

__all__ = ["Program"]


class Program:
    """A model with its arguments: what its sites are, and what they hold for given latents.

    Args:
        model: A Pyro model.
        *args: Its arguments.
        chunk: Draws made at a time, which bounds the memory.
        vectorize: Whether the model may run once for many draws; otherwise it runs once a draw.
        **kwargs: Its keyword arguments.

    Example:
        >>> import pyro.distributions as dist
        >>> def model():
        ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("data", 3):
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(3))
        >>> program = Program(model)
        >>> program.plates_of("x"), program.log_likelihood({"z": torch.zeros(5)})["x"].shape
        (('data',), torch.Size([5, 3]))
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *args: Any,
        chunk: int = 1000,
        vectorize: bool = True,
        **kwargs: Any,
    ) -> None:
        self.model, self.args, self.kwargs = model, args, kwargs
        self.chunk, self.vectorize = chunk, vectorize
        with torch.no_grad(), unregistered(), torch.random.fork_rng():
            self.trace: Any = poutine.trace(model).get_trace(*args, **kwargs)
        self.nesting = plate_nesting(self.trace)
        self.latent = list(latent_sites(self.trace))
        seen: dict[str, Any] = {
            name: site
            for name, site in self.trace.nodes.items()
            if site["type"] == "sample" and site["is_observed"] and type(site["fn"]).__name__ != "_Subsample"
        }
        self.deterministic = [name for name, site in seen.items() if site["infer"].get("_deterministic")]
        self.observed = [
            name
            for name, site in seen.items()
            if name not in self.deterministic and type(site["fn"]).__name__ != "Unit"
        ]

    def shape(self, name: str) -> Size:
        """Shape of one value of a site."""
        return self.trace.nodes[name]["value"].shape  # type: ignore[no-any-return]

    def batch_shape(self, name: str) -> Size:
        """The part of a site's shape that has one log-density for each entry."""
        return self.trace.nodes[name]["fn"].batch_shape  # type: ignore[no-any-return]

    def plates_of(self, name: str) -> tuple[str | None, ...]:
        """The plate along each batch dimension of a site, from the left; None where there is none."""
        stack = self.trace.nodes[name]["cond_indep_stack"]
        names = {frame.dim: frame.name for frame in stack if frame.vectorized}
        dims = len(self.batch_shape(name))
        return tuple(names.get(dim - dims) for dim in range(dims))

    def observations(self) -> dict[str, Tensor]:
        """The data: the value of every observed site."""
        return {name: self.trace.nodes[name]["value"].detach() for name in self.observed}

    def log_likelihood(self, draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The log-density of each datum under each draw, for each observed site: ``(n, *batch)``, in nats.

        Args:
            draws: Values ``(n, *site)`` of every latent site.

        Raises:
            DataError: If a latent site is missing.
            ShapeError: If the values of one have not its shape.
        """
        parts = []
        for trace, num in self._traces(self._checked(draws)):
            trace.compute_log_prob()
            nodes = trace.nodes
            for name in self.observed:
                log_prob = nodes[name]["unscaled_log_prob"]
                if num > 1 and log_prob.dim() > self.nesting + 1:
                    raise draws_mixed_up(name, log_prob, num, self.nesting)
            parts.append(
                {
                    name: _each(num, nodes[name]["unscaled_log_prob"], self.batch_shape(name))
                    for name in self.observed
                }
            )
        return _joined(parts)

    def deterministics(self, draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model computes of each draw at its deterministic sites, ``(n, *site)``."""
        traces = self._traces(self._checked(draws))
        return _joined([self._values(trace, num, self.deterministic) for trace, num in traces])

    def predictive(self, draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """New data of each draw: a value ``(n, *site)`` of every observed site."""
        traces = self._traces(self._checked(draws), free=True)
        return _joined([self._values(trace, num, self.observed) for trace, num in traces])

    def simulate(self, num: int, names: list[str]) -> dict[str, Tensor]:
        """Run the model ``num`` times free of its data; returns values ``(num, *site)`` of sites."""
        if num < 1:
            raise ValueError(f"the number of draws must be positive, but is {num}.")
        return _joined(
            [self._values(trace, size, names) for trace, size in self._traces(None, num, free=True)]
        )

    def prior(self, num: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw ``num`` values of the latent sites, and data that go with them at the observed ones."""
        drawn = self.simulate(num, [*self.latent, *self.observed])
        return {name: drawn[name] for name in self.latent}, {name: drawn[name] for name in self.observed}

    def _checked(self, draws: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        missing = [name for name in self.latent if name not in draws]
        if missing:
            raise DataError(
                f"the draws hold no site {missing[0]!r}, and the model's likelihood depends on it; they hold "
                f"{', '.join(draws) or 'none'}. A discrete site that was summed out needs draws of its own, "
                "as by pyro.infer.infer_discrete."
            )
        for name in self.latent:
            if draws[name].shape[1:] != self.shape(name):
                raise ShapeError(
                    f"draws of site {name!r} need shape (n, *{tuple(self.shape(name))}), but have "
                    f"{tuple(draws[name].shape)}."
                )
        return {name: draws[name] for name in self.latent}

    def _traces(
        self, draws: Mapping[str, Tensor] | None, num: int = 1, *, free: bool = False
    ) -> Iterator[tuple[Any, int]]:
        """Run the model for ``chunk`` draws at a time, on the data or free of them."""
        if draws:
            num = len(next(iter(draws.values())))
        model = poutine.uncondition(self.model) if free else self.model
        for start in range(0, num, self.chunk if self.vectorize else 1):
            size = min(self.chunk, num - start) if self.vectorize else 1
            given = {name: self._placed(name, v[start : start + size]) for name, v in (draws or {}).items()}
            with torch.no_grad(), unregistered(), poutine.block():
                run = _many(poutine.condition(model, data=given), size, self.nesting)
                try:
                    trace = poutine.trace(run).get_trace(*self.args, **self.kwargs)
                except ValueError as error:
                    if size > 1:
                        error.add_note("If the model cannot run once for many draws, pass vectorize=False.")
                    raise
            yield trace, size

    def _placed(self, name: str, values: Tensor) -> Tensor:
        """Values ``(n, *site)`` with the plate of draws left of all the model's plates."""
        if len(values) == 1:
            return values[0]
        between = (1,) * (self.nesting - len(self.batch_shape(name)))
        return values.reshape(len(values), *between, *values.shape[1:])

    def _values(self, trace: Any, num: int, names: list[str]) -> dict[str, Tensor]:
        return {name: _each(num, trace.nodes[name]["value"], self.shape(name)) for name in names}


def _many(program: Callable[..., Any], num: int, nesting: int) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> None:
        with pyro.plate("draws_of_the_posterior", num, dim=-1 - nesting):
            program(*args, **kwargs)

    return run if num > 1 else program


def _each(num: int, value: Tensor, shape: Size) -> Tensor:
    value = value.detach()
    return value.expand(num, *shape) if value.numel() == shape.numel() else value.reshape(num, *shape)


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
