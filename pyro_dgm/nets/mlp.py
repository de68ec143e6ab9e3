"""Multilayer perceptrons, with or without a conditioning vector."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import Linear, ReLU

from pyro_dgm.eager import is_eager
from pyro_dgm.nets import products
from pyro_dgm.nets.layers_by_hand import layers_by_hand
from pyro_dgm.nets.rectified_by_hand import RectifiedByHand, is_as_written
from pyro_dgm.nets.relu_network import relu_network
from pyro_dgm.nets.slow_linear import SlowLinear

__all__ = ["MLP"]


class MLP(nn.Module):
    """A multilayer perceptron of a vector and, if asked for, of a context beside it.

    Args:
        in_features: Size of the input; zero is allowed and gives a function of the context alone.
        out_features: Size of the output.
        hidden_dims: Widths of the hidden layers.
        context_dim: Size of the context; zero for none.
        activation: Makes the activation between the layers.
        zero_last: Start the last layer at zero, so that the output starts as zero.
        later_rate: Factor of the rate at which the layers after the first learn, see
            :class:`~pyro_dgm.nets.SlowLinear`.

    Shape:
        Input ``(*batch, in_features)`` and context ``(*context_batch, context_dim)``, whose batch shapes
        broadcast; output ``(*batch, out_features)``.

    Example:
        >>> MLP(2, 3, (16,), context_dim=4)(torch.randn(5, 2), torch.randn(4)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_dims: Sequence[int] = (128, 128),
        *,
        context_dim: int = 0,
        activation: Callable[[], nn.Module] = ReLU,
        zero_last: bool = False,
        later_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.context_dim = context_dim
        sizes = [in_features + context_dim, *hidden_dims, out_features]
        layers: list[nn.Module] = []
        with warnings.catch_warnings():  # a function of nothing (D = 1, no context) is its biases
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            for size_in, size_out in pairwise(sizes):
                later = partial(SlowLinear, rate=later_rate) if layers and later_rate != 1.0 else Linear
                layers += [later(size_in, size_out), activation()]
        self.layers = nn.Sequential(*layers[:-1])
        if zero_last:
            nn.init.zeros_(layers[-2].weight)  # type: ignore[arg-type]
            nn.init.zeros_(layers[-2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, context: Tensor | None = None, *, columns: bool = False) -> Tensor:
        """Map ``x``, beside ``context`` where there is one; in ``columns`` both have one vector a column."""
        if columns:
            x = (x if context is None else torch.cat((x, context))).T
        elif context is not None:
            batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
            x = torch.cat((x.expand(*batch, -1), context.expand(*batch, -1)), dim=-1)
        parameters = _parameters_if_rectified(self.layers)
        if parameters is None or x.dim() != 2:
            y = _mapped(self.layers, x)
            return y.T if columns else y
        return relu_network(x, parameters, columns=columns)

    def columns(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same map of vectors in columns: from ``(in_features, N)`` to ``(out_features, N)``."""
        return self(x, context, columns=True)  # type: ignore[no-any-return]

    def by_hand(self) -> RectifiedByHand | None:
        """The map of columns with its derivatives written out, the context below the vectors.

        None if there are other activations, or somebody listens to the layers.
        """
        if not is_as_written(self, MLP, _FORWARD):
            return None
        layers: nn.Sequential = self._modules["layers"]  # type: ignore[assignment]  # faster than the attribute
        parameters = _parameters_if_rectified(layers)
        return None if parameters is None else RectifiedByHand(parameters)


_FORWARD = MLP.forward


def _mapped(layers: nn.Sequential, x: Tensor) -> Tensor:
    """What layers make of rows; large products are oneDNN's, see :mod:`pyro_dgm.nets.products`."""
    y: Tensor
    if not is_eager(x):  # asked first: no graph shall hold the rest
        y = layers(x)
    elif not torch.is_grad_enabled():
        y = products.through(layers, x)
    else:
        by_hand = layers_by_hand(layers)
        y = layers(x) if by_hand is None or not by_hand.pays(x) else by_hand(x)
    return y


def _parameters_if_rectified(layers: nn.Sequential) -> list[Tensor] | None:
    """Weights and biases, if there are only linear layers and rectifiers, and nobody listens to them."""
    parameters: list[Tensor] = []
    linear = True  # whether one is to come; asked before each small batch, so that time matters here
    for part in layers._modules.values():
        kind = type(part)
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks:
            return None
        if not linear:
            if kind is not ReLU:
                return None
        elif kind is Linear:
            parameters += part._parameters.values()  # type: ignore[arg-type]
        elif kind is SlowLinear:
            parameters += part.tensors()  # type: ignore[operator]
        else:
            return None
        linear = not linear
    return parameters
