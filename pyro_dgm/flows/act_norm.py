"""Activation normalisation: scales and shifts that start from the first batch."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from pyro_dgm.transforms import Bijection, ChannelAffine

__all__ = ["ActNorm"]


class ActNorm(nn.Module):
    """A layer that scales and shifts each channel, so that the first training batch leaves it normalised.

    The first batch of at least two rows that passes in training mode with gradients enabled sets shifts and
    scales from its means and standard deviations: what leaves the layer has mean zero and variance one in
    each channel. That holds in whichever direction the batch goes, data towards the base (maximum
    likelihood) or draws towards the data (reverse KL). From then on they are ordinary parameters. Evaluation
    and draws without gradients never set anything.

    Whether this has happened is saved in ``state_dict`` and goes with copies. In distributed training the
    statistics are those of the batches of all processes together, so that their parameters stay equal.

    Args:
        num_channels: Size ``C`` of the event's first axis.
        rank: Number of dimensions of an event: 1 for vectors ``(C,)``, 3 for images ``(C, H, W)``.
        epsilon: Least standard deviation; a constant channel keeps scale one.

    Returns:
        Called, with or without a context: the bijection, a :class:`~pyro_dgm.transforms.ChannelAffine`.

    Reference:
        Kingma and Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, NeurIPS 2018, section
        3.1. https://arxiv.org/abs/1807.03039

    Example:
        >>> layer = ActNorm(2)
        >>> x, _ = layer().inverse_and_ladj(5 + 3 * torch.randn(100, 2))
        >>> x.mean(0).abs().max() < 1e-5
        tensor(True)
    """

    initialised: Tensor

    def __init__(self, num_channels: int, *, rank: int = 1, epsilon: float = 1e-6) -> None:
        super().__init__()
        if num_channels < 1 or rank < 1:
            raise ValueError(
                f"ActNorm needs num_channels >= 1 and rank >= 1, but got {num_channels=}, {rank=}."
            )
        self.rank, self.epsilon = rank, epsilon
        self.shift, self.log_scale = (
            nn.Parameter(torch.zeros(num_channels)),
            nn.Parameter(torch.zeros(num_channels)),
        )
        self.register_buffer("initialised", torch.zeros(1, dtype=torch.bool))
        # The buffer's value as a Python bool: reading a tensor would make an accelerator wait at every step.
        self._ready = False

    def forward(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection; it does not depend on the ``context``."""
        if self.training and not self._ready:
            return _FirstBatch(self)
        return self.bijection()

    def bijection(self) -> ChannelAffine:
        """The bijection as the parameters are now."""
        return ChannelAffine(self.shift, self.log_scale, rank=self.rank)

    @torch.no_grad()
    def initialise(self, value: Tensor, direction: Literal["call", "inverse"]) -> None:
        """Set shifts and scales so that ``value`` leaves the layer normalised in that direction.

        Fewer than two finite rows set nothing: the next batch will.
        """
        rows = value.detach().movedim(-self.rank, -1).reshape(-1, len(self.shift))
        count, mean, std = _moments(rows[rows.isfinite().all(-1)])
        if count < 2:
            return
        log_std = torch.where(std > self.epsilon, std, 1.0).log()
        self.log_scale.copy_(log_std if direction == "inverse" else -log_std)
        self.shift.copy_(mean if direction == "inverse" else -mean * self.log_scale.exp())
        self.initialised.fill_(True)
        self._ready = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._ready = bool(self.initialised)

    def extra_repr(self) -> str:
        """State the sizes in ``repr``."""
        return f"{len(self.shift)}, rank={self.rank}"


class _FirstBatch(ChannelAffine):
    """The bijection of a layer that still waits for its first batch."""

    def __init__(self, layer: ActNorm) -> None:
        super().__init__(layer.shift, layer.log_scale, rank=layer.rank)
        self.layer = layer

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and not self.layer._ready:
            self.layer.initialise(x, "call")
        return super().call_and_ladj(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and not self.layer._ready:
            self.layer.initialise(y, "inverse")
        return super().inverse_and_ladj(y)


def _moments(rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """Number of rows, mean and standard deviation, over all processes of a distributed run."""
    wide = rows.double() if rows.device.type != "mps" else rows
    sums = torch.cat((wide.new_tensor([len(wide)]), wide.sum(0)))
    _sum_over_processes(sums)
    count, mean = int(sums[0]), sums[1:] / sums[0].clamp(min=1)
    squares = (wide - mean).square().sum(0)
    _sum_over_processes(squares)
    return count, mean.to(rows.dtype), (squares / max(1, count)).sqrt().to(rows.dtype)


def _sum_over_processes(value: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
