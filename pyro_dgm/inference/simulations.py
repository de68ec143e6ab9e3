"""Draws of a simulator's latents and data, as the rows that an amortized posterior learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pyro_dgm.errors import DataError, ShapeError, UnknownNameError
from pyro_dgm.inference.observed_vector import ObservedVector
from pyro_dgm.inference.program import Program
from pyro_dgm.inference.site_vector import SiteVector

__all__ = ["Simulations"]


@dataclass(frozen=True)
class Simulations:
    """Pairs of latents and data from their joint distribution.

    Attributes:
        layout: Where each latent site is in a row of ``latents``.
        observed: Where each observed site is in a row of ``data``.
        latents: Unbounded vectors, ``(n, D)``.
        data: What was observed with each, ``(n, C)``.
        left_out: Latent sites that are neither.
    """

    layout: SiteVector
    observed: ObservedVector
    latents: Tensor
    data: Tensor
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        program: Program,
        observed: str | Sequence[str],
        latent: str | Sequence[str] | None = None,
        *,
        num: int,
        made: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Run a program, or take what was simulated before.

        Args:
            program: The simulator.
            observed: Names of the sites that will be data, sampled or deterministic.
            latent: Names of the sites of interest; by default all others that are sampled.
            num: Number of runs.
            made: Values ``(n, *site)`` of all these sites, from earlier runs.

        Raises:
            UnknownNameError: If the simulator has no such site.
            DataError: If there are too few simulations, or values are not finite, discrete or outside
                supports.
            ShapeError: If values made before do not have the shapes of their sites.
        """
        names = (observed,) if isinstance(observed, str) else tuple(observed)
        known = [*program.latent, *program.observed, *program.deterministic]
        for name in names:
            if name not in known:
                raise UnknownNameError.of("observed site", name, known)
        others = [name for name in program.latent if name not in names]
        latent = others if latent is None else [latent] if isinstance(latent, str) else list(latent)
        for name in latent:
            if name not in others:
                raise UnknownNameError.of("latent site", name, others)
        drawn = program.simulate(num, [*latent, *names]) if made is None else dict(made)
        _check(drawn, [*latent, *names], program)
        supports = {name: program.trace.nodes[name]["fn"].support for name in latent}
        layout = SiteVector.of({name: drawn[name] for name in latent}, supports)
        latents = layout.pack(drawn)
        vector = ObservedVector({name: program.shape(name) for name in names})
        data = torch.cat([drawn[name].reshape(len(latents), -1) for name in names], -1).to(latents)
        if not data.isfinite().all():
            bad = int((~data.isfinite()).any(-1).sum())
            raise DataError(f"{bad} of {len(data)} simulations gave data that are not finite.")
        return cls(layout, vector, latents, data, tuple(name for name in others if name not in latent))

    def standard_data(self) -> tuple[Tensor, Tensor]:
        """Location and scale, ``(C,)`` each, that bring every entry of the data to mean zero and sd one."""
        return _standard(self.data)

    def standard_latents(self) -> tuple[Tensor, Tensor]:
        """The same for the latents, ``(D,)`` each."""
        return _standard(self.latents)

    def standardised(self) -> tuple[Tensor, Tensor]:
        """Latents and data, every entry of mean zero and sd one."""
        parts = ((self.latents, self.standard_latents()), (self.data, self.standard_data()))
        latents, data = ((values - loc) / scale for values, (loc, scale) in parts)
        return latents, data

    def split(self, held_out: float) -> tuple[Self, Self]:
        """The simulations to train on, and the share ``held_out`` of them to stop by."""
        test = max(5, round(held_out * len(self.latents)))
        return self._part(slice(test, None)), self._part(slice(test))

    def _part(self, rows: slice) -> Self:
        return type(self)(self.layout, self.observed, self.latents[rows], self.data[rows], self.left_out)


def _standard(values: Tensor) -> tuple[Tensor, Tensor]:
    loc, scale = values.mean(0), values.std(0)
    return loc, torch.where(scale > 1e-6 * (1 + loc.abs()), scale, torch.ones_like(scale))


def _check(drawn: Mapping[str, Tensor], names: Sequence[str], program: Program) -> None:
    """Raise unless every site has enough values, as many as the others, of its shape."""
    for name in names:
        if name not in drawn:
            raise DataError(f"the simulations lack site {name!r}; they hold {', '.join(drawn) or 'none'}.")
        if drawn[name].shape[1:] != program.shape(name):
            raise ShapeError(
                f"simulations of site {name!r} need shape (n, *{tuple(program.shape(name))}), but have "
                f"{tuple(drawn[name].shape)}."
            )
    lengths = {name: len(drawn[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"every site needs as many simulations as the others, but they have {lengths}.")
    if min(lengths.values()) < 20:
        raise DataError(f"a posterior needs 20 simulations or more to learn from, but there are {lengths}.")
