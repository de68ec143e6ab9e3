"""The true posterior of a VAE with two latents, on a grid, against its guide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_dgm.errors import ShapeError
from pyro_dgm.models import VAE
from pyro_dgm.models.generative_model import check_rows, evaluating

__all__ = ["PosteriorPlane", "posterior_plane"]


@dataclass(frozen=True)
class PosteriorPlane:
    """One row's posterior over the plane, by quadrature.

    Attributes:
        axis: The grid's coordinate along either axis, of shape ``(m,)``.
        log_joint: log p(x, z) on the grid, ``[i, j]`` at ``(axis[i], axis[j])``, in nats.
        log_guide: log q(z | x) on the same grid.
        log_prob: log p(x), the integral of the first.
        divergence: KL(q(z | x) || p(z | x)), in nats: what the ELBO of this row loses.
        guide_mass: Mass of q on the grid; where it is below 0.99 the grid is too small or too coarse.
        guide_mode: Where q is largest on the grid, of shape ``(2,)``.
        posterior_mode: Where p(z | x) is.
    """

    axis: Tensor
    log_joint: Tensor
    log_guide: Tensor
    log_prob: float
    divergence: float
    guide_mass: float
    guide_mode: Tensor
    posterior_mode: Tensor


@torch.no_grad()
def posterior_plane(
    vae: VAE,
    x: Tensor,
    *,
    context: Tensor | None = None,
    extent: float = 5.5,
    points: int = 100,
    chunk: int = 2000,
) -> PosteriorPlane:
    r"""Compare q(z | x) with the true posterior of one row on a grid over the plane of latents.

    .. math:: \log p(x) \approx \log \sum_{ij} p(x, z_{ij}) h^2, \qquad
              KL \approx \sum_{ij} q(z_{ij}) h^2 \, [\log q(z_{ij}) - \log p(x, z_{ij}) + \log p(x)]

    The trapezoidal rule converges fast on densities that vanish at the border; ``guide_mass`` says how well.
    A narrow posterior is looked at again on a grid of its own: where its standard deviations are below two
    grid steps, choose a smaller ``extent`` or more ``points``.

    Args:
        vae: A VAE with ``latent_dim=2`` and its guide.
        x: One row, of shape ``(*event)`` or ``(1, *event)``.
        context: What a conditional VAE's row is conditioned on, of shape ``(C,)`` or ``(1, C)``.
        extent: The grid covers ``[-extent, extent]`` along both axes.
        points: Points along each axis.
        chunk: Points at which the decoder is evaluated at once.

    Raises:
        ShapeError: If the VAE has another number of latents, or there are several rows.
        NotImplementedError: If the VAE was given no guide.
        DataError: If the row is not finite.

    Reference:
        Ruthotto and Haber, An introduction to deep generative modeling, GAMM-Mitteilungen 2021 (the figure).
        https://arxiv.org/abs/2103.05180
    """
    if vae.latent_dim != 2:
        raise ShapeError(f"the plane is that of two latents, but this VAE has latent_dim={vae.latent_dim}.")
    check_rows("posterior_plane", x, vae.origin)
    given = None if context is None else context.reshape(1, -1)
    with evaluating(vae):
        event = vae.decode(vae.origin.unsqueeze(0), given).event_shape
        row = x if x.dim() > len(event) else x.unsqueeze(0)
        if row.shape != (1, *event):
            raise ShapeError(f"give one row of shape {tuple(event)}, but x has shape {tuple(x.shape)}.")
        prior, posterior = vae.prior(given), vae.posterior(row, given)
        axis = torch.linspace(-extent, extent, points, dtype=row.dtype)
        z = torch.cartesian_prod(axis, axis).unsqueeze(1)
        parts = [prior.log_prob(part) + vae.log_likelihood(row, part, given) for part in z.split(chunk)]
        log_joint = torch.cat(parts).squeeze(1).double()
        log_guide = torch.cat([posterior.log_prob(part) for part in z.split(chunk)]).squeeze(1).double()
    log_cell = 2 * math.log(2 * extent / (points - 1))
    log_prob = log_joint.logsumexp(0) + log_cell
    mass = (log_guide + log_cell).exp()
    divergence = (mass * (log_guide - log_joint + log_prob)).sum() / mass.sum()
    grid, flat = (points, points), z.squeeze(1)
    return PosteriorPlane(
        axis,
        log_joint.view(grid),
        log_guide.view(grid),
        log_prob.item(),
        divergence.item(),
        mass.sum().item(),
        flat[log_guide.argmax()],
        flat[log_joint.argmax()],
    )
