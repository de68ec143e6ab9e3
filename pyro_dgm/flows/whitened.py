"""A flow in shifted, scaled and decorrelated coordinates."""

from __future__ import annotations

import warnings
from typing import Self

import torch
from torch import Tensor, nn

from pyro_dgm.distributions import StandardBase
from pyro_dgm.errors import ArgumentTypeError, DataError, ShapeError
from pyro_dgm.flows.flow import Flow
from pyro_dgm.transforms import Bijection, Composed, TriangularAffine

__all__ = ["Whitened"]

SPEED, TRIANGLE_SPEED = 10.0, 3.0


class Whitened(Flow):
    r"""Another flow, followed by an affine map: :math:`y = m + e^{s} \odot (L\, g(z))`.

    A flow starts near N(0, I), and its networks are made for values of that size. In front of data of another
    location, scale or correlation, or of a posterior whose location is roughly known, the affine map does
    what needs no network.

    Args:
        flow: A flow over unbounded vectors of size ``D``.
        loc: Location :math:`m`, of shape ``(D,)``; zeros by default.
        scale: Standard deviations :math:`e^s`, of shape ``(D,)``; ones by default.
        correlated: Whether there is a triangle :math:`L`; the identity at first.
        trainable: Whether the affine map trains with the flow. It is fixed otherwise, and saved all the same.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If location or scale are not of shape ``(D,)``.
        DataError: If a scale is not positive, a value not finite, or the flow not over unbounded vectors.

    Example:
        >>> from pyro_dgm.flows import RealNVP
        >>> flow = Whitened(RealNVP(2), loc=torch.tensor([10.0, 0.0]), scale=torch.tensor([1.0, 100.0]))
        >>> flow().sample((1000,)).std(0).round(decimals=-1)
        tensor([  0., 100.])
    """

    def __init__(
        self,
        flow: Flow,
        loc: Tensor | None = None,
        scale: Tensor | None = None,
        *,
        correlated: bool = False,
        trainable: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(flow.input_dim, flow.context_dim, name=name)
        if flow.outer is not None:
            raise DataError(
                f"Whitened takes a flow over unbounded vectors, but this one has the support "
                f"{flow.outer.support}: whiten before the support, with flows.Composition(..., support=...)."
            )
        if flow.origin.dim() != 1 or hasattr(flow, "space"):
            over = "angles" if hasattr(flow, "space") else f"images of shape {tuple(flow.event_shape)}"
            raise DataError(
                f"Whitened takes a flow over unbounded vectors, but a {type(flow).__name__} is over {over}."
            )
        self.flow = flow
        self.penalties = flow.penalties
        self.register_buffer("origin", flow.origin.new_zeros(flow.latent_dim), persistent=False)
        zeros = torch.zeros_like(flow.origin)
        loc = zeros if loc is None else self._checked("loc", loc)
        scale = zeros + 1 if scale is None else self._checked("scale", scale)
        if not (scale > 0).all():
            raise DataError(f"every scale must be positive, but the least is {scale.min().item()}.")
        self.affine = _Affine(loc, scale.log(), correlated, trainable)

    @classmethod
    def fitted_to(cls, flow: Flow, rows: Tensor, *, name: str | None = None) -> Self:
        """Return ``flow`` in the coordinates in which ``rows``, of shape ``(n, D)``, have covariance one.

        Raises:
            ArgumentTypeError: If these are no flow and no tensor.
            ShapeError: If the rows are not vectors of size ``D``.
            DataError: If there are fewer than two, or one is not finite.
        """
        if not isinstance(flow, Flow) or not isinstance(rows, Tensor):
            raise ArgumentTypeError(
                f"fitted_to takes a flow and then a tensor of rows, but got a {type(flow).__name__} and a "
                f"{type(rows).__name__}: Whitened.fitted_to(NeuralSpline(2), rows)."
            )
        if rows.dim() != 2 or rows.shape[1] != flow.input_dim:
            raise ShapeError(
                f"the flow is over vectors of size {flow.input_dim}, so rows need shape (n, "
                f"{flow.input_dim}), but have shape {tuple(rows.shape)}."
            )
        if len(rows) < 2 or not rows.isfinite().all():
            raise DataError("location and scale need at least two rows, all of them finite.")
        rows = rows.detach().to(flow.origin)
        scale = rows.std(0)
        varies = scale > 1e-6 * (1 + rows.mean(0).abs())
        if not varies.all():
            constant = ", ".join(map(str, (~varies).nonzero().flatten().tolist()))
            warnings.warn(
                f"the rows do not vary in column {constant}: its scale is left at 1. No density lies along "
                "it; leave it out.",
                UserWarning,
                stacklevel=2,
            )
        scale = torch.where(varies, scale, 1.0)
        whitened = cls(flow, correlated=True, name=name)
        standard = (rows - rows.mean(0)) / scale
        correlation = standard.mT @ standard / (len(rows) - 1) + torch.diag((~varies).to(rows))
        # With a little of the identity, columns that repeat one another leave the triangle regular.
        root = torch.linalg.cholesky(0.999 * correlation + 1e-3 * torch.eye(len(scale)).to(rows))
        whitened.affine.set(rows.mean(0), scale[:, None] * root)
        return whitened

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the distribution of the other flow's latent."""
        return self.flow.base(context)

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the other flow's bijection, followed by the affine map."""
        return Composed([self.flow.unconstrained(context), self.affine()])

    def _checked(self, what: str, value: Tensor) -> Tensor:
        if value.shape != (self.input_dim,):
            raise ShapeError(f"{what} needs shape ({self.input_dim},), but has {tuple(value.shape)}.")
        if not value.isfinite().all():
            raise DataError(f"{what} must be finite, but is {value}.")
        return value.detach().to(self.flow.origin)


class _Affine(nn.Module):
    """The tensors of the affine map.

    If it trains, location and scale move by parameters that count tenfold, the location's in units of the
    scale: an optimiser then brings the map to the data's place within a hundred steps, before the flow's
    networks have to.
    """

    loc: Tensor
    log_scale: Tensor
    lower: Tensor | None

    def __init__(self, loc: Tensor, log_scale: Tensor, correlated: bool, trainable: bool) -> None:
        super().__init__()
        self.register_buffer("loc", loc.clone())
        self.register_buffer("log_scale", log_scale.clone())
        self.register_buffer("lower", torch.zeros(len(loc), len(loc)).to(loc) if correlated else None)
        self.moves = nn.ParameterDict()
        if trainable:
            self.moves["loc"] = nn.Parameter(torch.zeros_like(loc))
            self.moves["log_scale"] = nn.Parameter(torch.zeros_like(loc))
            if self.lower is not None:
                self.moves["lower"] = nn.Parameter(torch.zeros_like(self.lower))

    @torch.no_grad()
    def set(self, loc: Tensor, root: Tensor) -> None:
        """Make the map ``x -> loc + root x``, with ``root`` a lower triangle of positive diagonal."""
        assert self.lower is not None
        diagonal = root.diagonal()
        self.loc.copy_(loc)
        self.log_scale.copy_(diagonal.log())
        self.lower.copy_(root / diagonal[:, None])
        for move in self.moves.values():
            move.zero_()

    def forward(self) -> TriangularAffine:
        """Return the bijection of the present tensors."""
        if not self.moves:
            return TriangularAffine(self.loc, self.log_scale, self.lower)
        log_scale = self.log_scale + SPEED * self.moves["log_scale"]
        loc = self.loc + log_scale.exp() * (SPEED * self.moves["loc"])
        lower = None if self.lower is None else self.lower + TRIANGLE_SPEED * self.moves["lower"]
        return TriangularAffine(loc, log_scale, lower)
