"""Glow: affine couplings, invertible 1x1 convolutions and activation normalisation at several scales."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_dgm.flows.act_norm import ActNorm
from pyro_dgm.flows.image_flow import ImageFlow, coupling, squeezed
from pyro_dgm.flows.lu_linear import LULinear
from pyro_dgm.nets import ConvConditioner
from pyro_dgm.transforms import Affine, Bijection, Composed, FactorOut, squeeze

__all__ = ["Glow"]


class Glow(ImageFlow):
    r"""Steps of activation normalisation, an invertible 1x1 convolution and an affine coupling.

    Seen from the data, each level squeezes the image, makes its steps and factors out half of the channels;
    the last level keeps all. Both directions cost one pass of each conditioner. The convolutions start as
    rotations of the channels and the couplings as the identity; the first training batch sets the
    normalisations.

    Args:
        event_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by ``2**num_levels``.
        context_dim: Size of the conditioning vector; zero for none.
        context_channels: Channels of a conditioning image of height ``H`` and width ``W``.
        alpha: Margin of a last logit, for pixels in the unit interval; none by default, for real numbers.
        num_levels: Number of levels.
        num_steps: Number of steps of each level.
        hidden_channels: Width of the convolutional conditioners.
        num_blocks: Number of their residual blocks.
        max_log_scale: Bound of each coupling's log-scale, in nats.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Kingma and Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, NeurIPS 2018.
        https://arxiv.org/abs/1807.03039

    Example:
        >>> import torch
        >>> flow = Glow((1, 8, 8), num_levels=1, num_steps=2, hidden_channels=4)
        >>> flow().log_prob(torch.randn(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        context_dim: int = 0,
        *,
        context_channels: int = 0,
        alpha: float | None = None,
        num_levels: int = 2,
        num_steps: int = 8,
        hidden_channels: int = 32,
        num_blocks: int = 1,
        max_log_scale: float = 3.0,
        name: str | None = None,
    ) -> None:
        super().__init__(event_shape, context_dim, context_channels=context_channels, alpha=alpha, name=name)
        self.check_halvings(num_levels)
        if num_steps < 1:
            raise ValueError(f"Glow needs num_steps >= 1, but got {num_steps}.")
        self.elementwise = Affine(max_log_scale)
        self.halves = [2 * self.image_shape[0] * 2**level for level in range(num_levels)]
        self.levels = nn.ModuleList(
            nn.ModuleList(
                _Step(half, self.elementwise, hidden_channels, num_blocks, self.context_channels_at(level))
                for _ in range(num_steps)
            )
            for level, half in enumerate(self.halves, start=1)
        )

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection from latent to image, but for the last logit."""
        return self._level(0, self.context_map(context))

    def _level(self, level: int, seen: Tensor | None) -> Bijection:
        if self.context_channels and seen is not None:
            seen = squeeze(seen)
        parts = [part for step in self.levels[level] for part in step.parts(seen)]  # type: ignore[attr-defined]
        if level + 1 < len(self.levels):
            parts.insert(0, FactorOut(self._level(level + 1, seen), self.halves[level]))
        return squeezed(Composed(parts))


class _Step(nn.Module):
    """One step of flow."""

    def __init__(
        self, num_kept: int, elementwise: Affine, hidden_channels: int, num_blocks: int, context_channels: int
    ) -> None:
        super().__init__()
        self.num_kept, self.elementwise = num_kept, elementwise
        self.norm, self.mix = ActNorm(2 * num_kept, rank=3), LULinear(2 * num_kept, rank=3)
        self.conditioner = ConvConditioner(
            num_kept,
            2,
            num_kept,
            hidden_channels=hidden_channels,
            num_blocks=num_blocks,
            context_channels=context_channels,
        )

    def parts(self, seen: Tensor | None) -> list[Bijection]:
        """The bijections, the coupling nearest to the base."""
        change = coupling(self.conditioner, self.elementwise, self.num_kept, False, seen)
        return [change, self.mix(), self.norm()]
