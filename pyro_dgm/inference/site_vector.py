"""Named sites of any support, laid side by side as one unbounded vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Size, Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import Transform

from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError

__all__ = ["SiteVector"]


class SiteVector:
    """The layout of several sites as one vector without bounds.

    Args:
        shapes: Shape of one draw of each site, by name.
        transforms: The bijection from unbounded space to each site's support, by name.
        supports: What the supports are called in messages; by default the codomains of the bijections.

    Example:
        >>> sites = {"scale": torch.tensor([1.0, 2.0]), "weights": torch.tensor([[0.5, 0.5], [0.1, 0.9]])}
        >>> supports = {"scale": constraints.positive, "weights": constraints.simplex}
        >>> layout = SiteVector.of(sites, supports)
        >>> layout.dim, layout.unpack(layout.pack(sites))["weights"]
        (2, tensor([[0.5000, 0.5000],
                [0.1000, 0.9000]]))
    """

    def __init__(
        self,
        shapes: Mapping[str, Size],
        transforms: Mapping[str, Transform],
        supports: Mapping[str, Any] | None = None,
    ) -> None:
        self.shapes, self.transforms, self.supports = dict(shapes), dict(transforms), dict(supports or {})
        self.unbounded = {name: self.transforms[name].inverse_shape(shape) for name, shape in shapes.items()}

    @property
    def dim(self) -> int:
        """Size ``D`` of the vector."""
        return sum(shape.numel() for shape in self.unbounded.values())

    @classmethod
    def of(cls, samples: Mapping[str, Tensor], supports: Mapping[str, Any] | None = None) -> Self:
        """Return the layout of samples ``(n, *site)``.

        Args:
            samples: Draws of each site, by name.
            supports: The support of each site, a constraint of torch; those that are not named are real.

        Raises:
            ArgumentTypeError: If draws are no tensor.
            DataError: If there is no site, or a support is of an unknown or a discrete site.
        """
        supports = {} if supports is None else dict(supports)
        if not samples:
            raise DataError("there are no sites in the samples.")
        unknown = sorted(set(supports) - set(samples))
        if unknown:
            raise DataError(
                f"supports names {', '.join(unknown)}, but the samples hold {', '.join(samples)}."
            )
        transforms = {}
        _check_tensors(samples)
        for name in samples:
            support = supports.get(name, constraints.real)
            if support.is_discrete or not samples[name].is_floating_point():
                raise DataError(f"site {name!r} is discrete, and a flow needs continuous ones: leave it out.")
            transforms[name] = biject_to(support)
        return cls({name: draws.shape[1:] for name, draws in samples.items()}, transforms, supports)

    def pack(self, samples: Mapping[str, Tensor]) -> Tensor:
        """Lay draws ``(n, *site)`` of every site side by side.

        Returns:
            Unbounded vectors of shape ``(n, D)``.

        Raises:
            ShapeError: If a site is missing, or its draws have another shape or number.
            DataError: If a value is not finite, or outside the support of its site or on its edge.
        """
        columns = []
        _check_tensors(samples)
        for name, shape in self.shapes.items():
            if name not in samples:
                raise ShapeError(f"site {name!r} is missing; there are {', '.join(samples) or 'none'}.")
            draws = samples[name].detach()
            if draws.dim() == 0 or draws.shape[1:] != shape:
                raise ShapeError(
                    f"draws of site {name!r} need shape (n, {', '.join(map(str, shape))}), but have "
                    f"{tuple(draws.shape)}."
                )
            if not draws.numel():
                raise DataError(f"there are no draws of site {name!r}: its shape is {tuple(draws.shape)}.")
            column = self.transforms[name].inv(draws).reshape(len(draws), -1)
            if not column.isfinite().all():
                bad = (~column.isfinite()).any(-1)
                support = self.supports.get(name, self.transforms[name].codomain)
                raise DataError(
                    f"{int(bad.sum())} of {len(draws)} draws of site {name!r} are not finite, or not inside "
                    f"its support {support}: the first is {draws[bad][0].tolist()}. Name the support that "
                    "the draws have in supports=, or leave these draws out."
                )
            columns.append(column)
        lengths = {name: len(samples[name]) for name in self.shapes}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"every site needs as many draws as the others, but they have {lengths}.")
        return torch.cat(columns, -1)

    def unpack(self, vector: Tensor) -> dict[str, Tensor]:
        """Undo :meth:`pack` for vectors ``(*batch, D)``; each site has shape ``(*batch, *site)``."""
        if vector.dim() == 0 or vector.shape[-1] != self.dim:
            raise ShapeError(f"the vector needs shape (*batch, {self.dim}), but has {tuple(vector.shape)}.")
        parts = vector.split([shape.numel() for shape in self.unbounded.values()], -1)
        return {
            name: self.transforms[name](part.reshape(vector.shape[:-1] + shape))
            for (name, shape), part in zip(self.unbounded.items(), parts, strict=True)
        }


def _check_tensors(samples: Mapping[str, Tensor]) -> None:
    for name, draws in samples.items():
        if not isinstance(draws, Tensor):
            raise ArgumentTypeError(
                f"draws of site {name!r} must be a tensor (n, *site), but are a {type(draws).__name__}. Say "
                "torch.as_tensor(draws)."
            )
        if draws.dtype in (torch.float16, torch.bfloat16):
            raise DataError(
                f"draws of site {name!r} are in half precision, {draws.dtype}. Say draws.float()."
            )
