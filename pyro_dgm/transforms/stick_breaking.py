"""Vectors of proportions from unconstrained ones."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyro_dgm.transforms.bijection import Bijection

__all__ = ["StickBreaking"]


class StickBreaking(Bijection):
    r"""Breaks a stick of length one into ``K`` pieces, from ``K - 1`` real numbers.

    .. math:: y_k = z_k \prod_{j<k} (1 - z_j), \quad z_k = \mathrm{sigmoid}(x_k - \log(K - k)), \qquad
              \log|\det| = \sum_{k<K} \left( \log y_k + \log(1 - z_k) \right)

    Zeros give equal pieces. The determinant is that of the first ``K - 1`` pieces, the measure of torch's
    ``Dirichlet``. Products are sums of logarithms, and the inverse adds up the pieces that are left instead
    of subtracting those that are gone: no digits are lost where pieces are tiny.

    Shape:
        ``x``: ``(*batch, K - 1)``. ``y``: ``(*batch, K)``. Log-determinant: ``(*batch,)``, in nats.

    Example:
        >>> import torch
        >>> StickBreaking()(torch.zeros(3))
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    codomain = constraints.simplex  # type: ignore[assignment]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Break the stick."""
        u = x - self._offset(x)
        log_rest = torch.cumsum(logsigmoid(-u), -1)
        before = torch.cat((torch.zeros_like(x[..., :1]), log_rest[..., :-1]), -1)
        log_y = logsigmoid(u) + before
        y = torch.cat((log_y, log_rest[..., -1:]), -1).exp()
        return y, (log_y + logsigmoid(-u)).sum(-1)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Put it together again."""
        y = y.clamp(min=torch.finfo(y.dtype).tiny)
        rest = y.flip(-1).cumsum(-1).flip(-1)
        log_y, log_rest = y[..., :-1].log(), rest[..., 1:].log()
        x = log_y - log_rest
        # log(1 - z_k) is the share of the stick at k that is left.
        ladj = -(log_y + log_rest - rest[..., :-1].log()).sum(-1)
        return x + self._offset(x), ladj

    def forward_shape(self, shape: Size) -> Size:
        """One entry more."""
        return Size([*shape[:-1], shape[-1] + 1])

    def inverse_shape(self, shape: Size) -> Size:
        """One entry less."""
        return Size([*shape[:-1], shape[-1] - 1])

    @staticmethod
    def _offset(x: Tensor) -> Tensor:
        return torch.arange(x.shape[-1], 0, -1, dtype=x.dtype, device=x.device).log()
