"""The amortized normal guide of a VAE."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_dgm.errors import ShapeError
from pyro_dgm.guides.amortized import AmortizedGuide

__all__ = ["AmortizedNormal", "location_and_scale"]


class AmortizedNormal(AmortizedGuide):
    r"""Amortized guide q(z | x): a normal whose parameters the encoder reads off x.

    .. math:: z \sim N(\mu(x), \mathrm{diag}(\exp(\log\sigma^2(x)))), \qquad \sigma = \exp(\log\sigma^2 / 2)

    With ``full_covariance`` it is :math:`N(\mu, L L^T)`, where :math:`L = \mathrm{diag}(\sigma) (I + B)` and
    the entries of the strictly lower triangular :math:`B` are the encoder's third output.

    Sites: ``z`` of event shape ``(latent_dim,)`` in the plate ``data``.

    Args:
        encoder: Maps ``(n, *event)`` to a pair: location and log-variance, each ``(n, latent_dim)``. With
            ``takes_context`` it is called as ``encoder(x, context)``.
        full_covariance: Whether the encoder also returns the entries of :math:`B`, row by row, of shape
            ``(n, latent_dim (latent_dim - 1) / 2)``; such as ``MLPEncoder(..., extra_dim=...)``.
        takes_context: Whether the encoder reads the context too.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Raises:
        ShapeError: If the encoder does not return tensors of these shapes.

    Reference:
        Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014. https://arxiv.org/abs/1312.6114

    Example:
        >>> from pyro_dgm.nets import MLPEncoder
        >>> guide = AmortizedNormal(MLPEncoder((4,), 3, extra_dim=3), full_covariance=True)
        >>> guide.posterior(torch.zeros(5, 4)).covariance_matrix.shape
        torch.Size([5, 3, 3])
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        full_covariance: bool = False,
        takes_context: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(encoder, takes_context=takes_context, name=name)
        self.full_covariance = full_covariance

    def posterior(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(z | x), of batch shape ``(n,)`` and event shape ``(latent_dim,)``."""
        batch = self.batch_of(x, context)
        return self._normal(self.encoded(x, context), batch)

    def constant_log_prob(
        self, posterior: dist.TorchDistribution, z: Tensor, x: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return log q(z | x) as a function of ``z`` alone, from the parameters at hand."""
        if self.full_covariance:
            constant = dist.MultivariateNormal(
                posterior.loc.detach(), scale_tril=posterior.scale_tril.detach()
            )
        else:
            normal = posterior.base_dist
            constant = dist.Normal(normal.loc.detach(), normal.scale.detach()).to_event(1)
        log_prob: Tensor = constant.log_prob(z)
        return log_prob

    def _normal(self, out: object, batch: torch.Size) -> dist.TorchDistribution:
        rows = batch.numel()
        loc, scale, *rest = location_and_scale(out, rows, type(self).__name__)
        if not self.full_covariance:
            normal: dist.TorchDistribution = dist.Normal(
                loc.view(*batch, loc.shape[-1]), scale.view(*batch, loc.shape[-1])
            ).to_event(1)
            return normal
        below = rest[0] if rest else loc.new_zeros(rows, 0)
        size = loc.shape[-1]
        if below.shape != (rows, size * (size - 1) // 2):
            raise ShapeError(
                f"a full covariance of {size} latents needs {size * (size - 1) // 2} entries below the "
                f"diagonal as the encoder's third output, but that has shape {tuple(below.shape)}. Build it "
                f"with extra_dim={size * (size - 1) // 2}."
            )
        row, column = torch.tril_indices(size, size, -1, device=loc.device)
        unit = torch.eye(size, dtype=loc.dtype, device=loc.device).repeat(rows, 1, 1)
        unit[:, row, column] = below
        scale_tril = scale.unsqueeze(-1) * unit
        return dist.MultivariateNormal(loc.view(*batch, size), scale_tril=scale_tril.view(*batch, size, size))


def location_and_scale(out: object, rows: int, name: str) -> tuple[Tensor, ...]:
    """Return what an encoder gave, with the standard deviation in place of the log-variance.

    Raises:
        ShapeError: If the first two are not tensors of one shape ``(rows, latent_dim)``.
    """
    shapes = [tuple(part.shape) for part in out] if isinstance(out, tuple) else []
    if len(shapes) < 2 or shapes[0] != shapes[1] or len(shapes[0]) != 2:
        raise ShapeError(
            f"the encoder of {name} must return a location and a log-variance of one shape "
            f"(n, latent_dim), but for {rows} rows it returned {shapes or type(out).__name__}."
        )
    assert isinstance(out, tuple)
    loc, logvar, *rest = out
    return (loc, (0.5 * logvar).exp(), *rest)
