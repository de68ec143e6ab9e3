"""Filling in missing entries with a VAE."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from pyro_dgm.arguments import positive_int
from pyro_dgm.distributions.entries import without_missing
from pyro_dgm.models.generative_model import check_rows, evaluating, seeded
from pyro_dgm.models.vae import VAE

__all__ = ["impute"]


@torch.no_grad()
def impute(
    vae: VAE,
    x: Tensor,
    mask: Tensor,
    *,
    num_draws: int = 1,
    num_particles: int = 100,
    context: Tensor | None = None,
    seed: int | None = None,
) -> Tensor:
    r"""Draw the missing entries given the observed ones, from p(x missing | x observed).

    Latents are drawn from the guide, which sees zeros in place of what is missing, and drawn again with
    weights :math:`p(z) p(x_{obs} | z) / q(z | x_{obs})`: exact as the number of particles grows. The entries
    then come from p(x | z).

    Args:
        vae: A trained VAE, best trained with ``mask=`` itself: ``svi.step(x, mask=mask)``.
        x: Rows of shape ``(n, *event)``; where ``mask`` is false any value, NaN too.
        mask: Boolean, of the same shape: true where an entry is observed.
        num_draws: Number of imputations of each row.
        num_particles: Number of latents among which those of the imputations are chosen.
        context: What the rows are conditioned on, or None.
        seed: Seed of the draws, which then leaves the global random state as it was.

    Returns:
        Rows of shape ``(num_draws, n, *event)``, equal to ``x`` where that is observed.

    Raises:
        NotImplementedError: If the VAE was given no guide.
        ArgumentTypeError: If the mask is no tensor of truth values.
        ShapeError: If the mask has another shape than the rows.
        DataError: If an observed entry is not finite, or a count is not positive.

    Reference:
        Mattei and Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets, ICML
        2019. https://arxiv.org/abs/1812.02633

    Example:
        >>> from pyro_dgm.guides import AmortizedNormal
        >>> from pyro_dgm.nets import MLPDecoder, MLPEncoder
        >>> vae = VAE(MLPDecoder(2, (4,)), 2, guide=AmortizedNormal(MLPEncoder((4,), 2)))
        >>> x = torch.tensor([[1.0, torch.nan, 0.0, 1.0]])
        >>> impute(vae, x, x.isfinite(), num_draws=3).shape
        torch.Size([3, 1, 4])
    """
    num_draws, num_particles = (
        positive_int("num_draws", num_draws),
        positive_int("num_particles", num_particles),
    )
    check_rows("impute", x, vae.origin)
    filled = without_missing(x, mask)
    with evaluating(vae), seeded(seed):
        posterior = vae.posterior(filled, context)
        z = posterior.sample(Size([num_particles]))
        log_joint = vae.prior(context).log_prob(z) + vae.log_likelihood(filled, z, context, mask)
        weights = (log_joint - posterior.log_prob(z)).softmax(0)
        chosen = torch.multinomial(weights.T, num_draws, replacement=True).T
        index = chosen.unsqueeze(-1).expand(*chosen.shape, z.shape[-1])
        drawn: Tensor = vae.decode(z.gather(0, index), context).sample()
    return torch.where(mask, filled, drawn)
