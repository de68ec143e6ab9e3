"""Neural spline flow over images."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from pyro_dgm.distributions import StandardBase, StandardLogistic
from pyro_dgm.flows.image_flow import ImageFlow, coupling, squeezed
from pyro_dgm.flows.pixel_marginal import PixelMarginal
from pyro_dgm.nets import ConvConditioner, MaskedMLP
from pyro_dgm.transforms import (
    Autoregressive,
    Bijection,
    ColumnStack,
    Composed,
    Elementwise,
    FactorOut,
    Flattened,
    Logit,
    PiecewiseLinear,
    RationalQuadratic,
    squeeze,
)

__all__ = ["NeuralSplineImage"]


class NeuralSplineImage(ImageFlow):
    r"""Spline couplings that change each pixel once, given a coarser image.

    At each level the image is squeezed, and three of the four pixels of every 2 x 2 block are changed in
    turn, given the ones that are left; each is factored out at once. What is left, an image of
    half the height and width, goes to the next level. Pixels of the coarsest image are changed one after the
    other by a masked network, so that a density costs one pass of every network, and a draw besides as many
    slices of one as the coarsest image has entries.

    With a ``histogram`` it is a flow of dequantised pixels in [0, 1]: a pixel's rank in the histogram is
    changed by piecewise linear splines with knots at levels, which are chosen by the levels of other pixels,
    over a standard logistic base. Its density within levels is constant but for rounding, so that uniform
    dequantisation loses nothing, and a fresh flow has independent pixels of that histogram. Without one it
    is a flow of real numbers by rational-quadratic splines over a standard normal base, and fresh flows are
    the identity.

    Args:
        event_shape: Shape ``(C, H, W)`` of an image; ``H`` and ``W`` are divisible by ``2**num_levels``.
        context_dim: Size of the conditioning vector; zero for none.
        context_channels: Channels of a conditioning image of height ``H`` and width ``W``.
        histogram: How often each level occurs among the pixels of the training images.
        num_levels: Number of times that height and width are halved.
        num_bins: Number of bins of the splines; at most, with a histogram.
        hidden_channels: Width of the convolutional conditioners.
        num_blocks: Number of their residual blocks.
        hidden_dims: Widths of the hidden layers of the coarsest image's masked network.
        name: Prefix of the parameters in Pyro's store; unique by default.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios, Neural Spline Flows, NeurIPS 2019.
        https://arxiv.org/abs/1906.04032
        Reed et al., Parallel Multiscale Autoregressive Density Estimation, ICML 2017 (the order of the
        pixels). https://arxiv.org/abs/1703.03664

    Example:
        >>> flow = NeuralSplineImage((1, 4, 4), histogram=[30, 1, 1, 2], num_levels=1, hidden_channels=4)
        >>> pixels = flow().sample((5,))
        >>> pixels.shape, bool((pixels >= 0).all() and (pixels <= 1).all())
        (torch.Size([5, 1, 4, 4]), True)
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        context_dim: int = 0,
        *,
        context_channels: int = 0,
        histogram: Sequence[float] | Tensor | None = None,
        num_levels: int = 2,
        num_bins: int = 24,
        hidden_channels: int = 32,
        num_blocks: int = 1,
        hidden_dims: Sequence[int] = (512,),
        name: str | None = None,
    ) -> None:
        super().__init__(event_shape, context_dim, context_channels=context_channels, name=name)
        channels, height, width = self.image_shape
        self.check_halvings(num_levels)
        self.marginal = None if histogram is None else PixelMarginal(histogram)
        self.elementwise = _splines(self.marginal, num_bins)
        initial, per_pixel = self.elementwise.identity(), 1 if self.marginal is None else 2
        sizes = [(height // 2**level, width // 2**level) for level in range(1, num_levels + 1)]
        self.levels = nn.ModuleList(
            nn.ModuleList(
                ConvConditioner(
                    per_pixel * kept * channels,
                    self.elementwise.num_parameters,
                    channels,
                    hidden_channels=hidden_channels,
                    num_blocks=num_blocks,
                    context_channels=self.context_channels_at(level),
                    size=size,
                    initial=initial,
                )
                for kept in (3, 2, 1)
            )
            for level, size in enumerate(sizes, start=1)
        )
        self.coarsest_shape = (channels, *sizes[-1])
        self.coarsest = MaskedMLP(
            prod(self.coarsest_shape),
            self.elementwise.num_parameters,
            hidden_dims,
            context_dim=prod(self.context_shape) if self.context_shape else 0,
            initial=initial,
            feature=None if self.marginal is None else self.marginal.lifted,
        )

    def base(self, context: Tensor | None = None) -> StandardBase:
        """Return the latent's distribution: standard logistic with a histogram, else N(0, I)."""
        if self.marginal is None:
            return super().base(context)
        return StandardLogistic(self.origin, self.batch_of(context))

    def unconstrained(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection from latent to image without the histogram: of numbers, or of ranks."""
        return self._level(0, context, self.context_map(context))

    def transform(self, context: Tensor | None = None) -> Bijection:
        """Return the bijection from latent to image, given a context."""
        layers = self.unconstrained(context)
        if self.marginal is None:
            return layers
        return Composed([Logit(alpha=0.0), layers, self.marginal.transform()])

    def _level(self, level: int, context: Tensor | None, seen: Tensor | None) -> Bijection:
        if level == len(self.levels):
            return self._coarsest(context)
        if self.context_channels and seen is not None:
            seen = squeeze(seen)
        part, channels = self._level(level + 1, context, seen), self.image_shape[0]
        nets: Sequence[nn.Module] = self.levels[level]  # type: ignore[assignment]
        for net in reversed(nets):
            reader = net if self.marginal is None else _Reading(self.marginal, net)
            change = coupling(reader, self.elementwise, channels, True, seen)
            part = Composed([FactorOut(part, channels), change])
        return squeezed(part)

    def _coarsest(self, context: Tensor | None) -> Bijection:
        if context is not None:
            context = context.flatten(-len(self.context_shape))
        layer = Autoregressive(self.coarsest, self.elementwise, "data")  # type: ignore[arg-type]
        return Flattened(ColumnStack([layer], context), self.coarsest_shape)


class _Reading:
    """A conditioner of features of the ranks."""

    def __init__(self, marginal: PixelMarginal, net: nn.Module) -> None:
        self.marginal, self.net = marginal, net

    def __call__(self, ranks: Tensor, context: Tensor | None = None) -> Tensor:
        out: Tensor = self.net(self.marginal.features(ranks), context)
        return out


def _splines(marginal: PixelMarginal | None, num_bins: int) -> Elementwise:
    return RationalQuadratic(num_bins) if marginal is None else PiecewiseLinear(marginal.knots(num_bins))
