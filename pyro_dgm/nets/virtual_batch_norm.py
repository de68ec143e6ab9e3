"""Batch normalisation whose batch never changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pyro_dgm.errors import ShapeError

__all__ = ["VirtualBatchNorm", "WithReference"]


class VirtualBatchNorm(nn.Module):
    r"""Normalises each row with the statistics of a fixed reference batch and of that row alone.

    .. math:: y_i = \gamma \frac{x_i - \mu_i}{\sqrt{\sigma_i^2 + \epsilon}} + \beta

    where :math:`\mu_i` and :math:`\sigma_i^2` are mean and variance of the R reference rows and row i
    together, over pixels too. A row's output does not depend on the other rows of its batch. The layer works
    inside :class:`WithReference`, which carries the reference rows through the network.

    Args:
        num_features: Number of channels, or of entries of a vector.
        eps: Added to the variance.

    Shape:
        ``(n, num_features, *pixels)``, the reference rows first; the same for the output.

    Reference:
        Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 3.5.
        https://arxiv.org/abs/1606.03498
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.eps = eps
        self.num_reference = 0  # set by WithReference while it runs

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the rows after the reference rows, and the reference rows among themselves."""
        count = self.num_reference
        if not 0 < count <= len(x):
            raise ShapeError(
                "VirtualBatchNorm met no reference rows: call its network through WithReference(network, "
                "reference), which puts them before every batch."
            )
        pixels = list(range(2, x.dim()))
        reference, rows = x[:count], x[count:]
        variance_r, mean_r = torch.var_mean(reference, [0, *pixels], correction=0, keepdim=True)
        if pixels:
            variance, mean = torch.var_mean(rows, pixels, correction=0, keepdim=True)
        else:
            variance, mean = torch.zeros_like(rows), rows
        share = 1 / (count + 1)
        # Mean and variance of the reference and one row together: a mixture of two.
        between = share * (1 - share) * (mean - mean_r).square()
        variance = torch.lerp(variance_r, variance, share) + between
        means = torch.cat((mean_r.expand(count, *mean.shape[1:]), torch.lerp(mean_r, mean, share)))
        variances = torch.cat((variance_r.expand(count, *mean.shape[1:]), variance))
        scale = (variances + self.eps).rsqrt()
        shape = (1, -1, *(1,) * len(pixels))
        return (x - means) * scale * self.weight.view(shape) + self.bias.view(shape)


class WithReference(nn.Module):
    """Runs a network with :class:`VirtualBatchNorm` layers on a batch, beside its fixed reference batch.

    The reference rows are drawn once, before training, and kept with the weights. They cost a pass of their
    own each time: for a generator give latents, for a critic rows of the data.

    Args:
        network: The network; all its other layers treat each row by itself.
        reference: The reference rows, of shape ``(R, *event)``.

    Shape:
        Input ``(n, *event)``; output that of the network for these rows.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), VirtualBatchNorm(4), nn.ReLU(), nn.Linear(4, 2))
        >>> WithReference(network, torch.randn(32, 3))(torch.randn(5, 3)).shape
        torch.Size([5, 2])
    """

    reference: Tensor

    def __init__(self, network: nn.Module, reference: Tensor) -> None:
        super().__init__()
        if len(reference) < 2:
            raise ShapeError(f"WithReference needs at least 2 reference rows, but got {len(reference)}.")
        self.network = network
        self.register_buffer("reference", reference.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's output for the rows ``x``."""
        if x.shape[1:] != self.reference.shape[1:]:
            raise ShapeError(
                f"WithReference has reference rows of shape {tuple(self.reference.shape[1:])}, but x has "
                f"shape {tuple(x.shape)}. Give rows of that shape, with one batch dimension."
            )
        with self._counted():
            joined: Tensor = self.network(torch.cat((self.reference, x)))
        return joined[len(self.reference) :]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        layers = [part for part in self.network.modules() if isinstance(part, VirtualBatchNorm)]
        for layer in layers:
            layer.num_reference = len(self.reference)
        try:
            yield
        finally:
            for layer in layers:
                layer.num_reference = 0
