"""Binary entries, and entries in [0, 1] with a density of their own."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

from pyro_dgm.distributions.binary_rows import BinaryRows
from pyro_dgm.distributions.likelihoods.likelihood import EntrywiseLikelihood
from pyro_dgm.distributions.tilted_uniform import TiltedUniform

__all__ = ["Bernoulli", "ContinuousBernoulli"]


class Bernoulli(EntrywiseLikelihood):
    """Independent binary entries, from logits.

    For binary data: grey values between 0 and 1 are outside its support, and its cross-entropy on them is
    not a likelihood.

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.
        grey: Whether grey values are let in all the same, as in many published programs. What is then called
            ``log_prob`` is minus a cross-entropy: no density integrates to one there, and its floor is the
            entropy of the pixels instead of zero. To be compared with other cross-entropies alone.

    Shape:
        Logits ``(*batch, *event)``; the distribution has batch shape ``batch`` and event shape ``event``.

    Example:
        >>> import torch
        >>> Bernoulli(event_dim=3)(torch.zeros(5, 1, 8, 8)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(self, event_dim: int = 1, *, grey: bool = False) -> None:
        super().__init__(event_dim)
        self.grey = grey

    def of_entries(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return binary entries with these logits."""
        return BinaryRows(outputs, 0, grey=self.grey)

    def forward(self, output: Tensor) -> dist.TorchDistribution:
        """Return the distribution of rows with these logits."""
        return BinaryRows(output, self.event_dim, grey=self.grey)


class ContinuousBernoulli(EntrywiseLikelihood):
    r"""Independent entries in [0, 1] with a density of the shape of a Bernoulli's, properly normalised.

    .. math:: p(x) = C(\lambda) \lambda^x (1 - \lambda)^{1 - x}, \qquad \lambda = \mathrm{sigmoid}(a)

    For grey pixels; without the constant :math:`C` the cross-entropy of grey pixels is the logarithm of no
    density. See :class:`~pyro_dgm.distributions.TiltedUniform`.

    Args:
        event_dim: Rank of one row: 1 for vectors, 3 for images ``(C, H, W)``.

    Shape:
        Logits :math:`a` of shape ``(*batch, *event)``.

    Reference:
        Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in variational
        autoencoders, NeurIPS 2019. https://arxiv.org/abs/1907.06845

    Example:
        >>> import torch
        >>> ContinuousBernoulli()(torch.zeros(2, 3)).log_prob(torch.rand(2, 3))
        tensor([0., 0.])
    """

    def __init__(self, event_dim: int = 1) -> None:
        super().__init__(event_dim)

    def of_entries(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return entries with these logits."""
        return TiltedUniform(outputs)
