"""Masked multilayer perceptron: outputs for each coordinate that depend on the earlier ones alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_dgm.eager import is_eager
from pyro_dgm.nets.masked_solve import Block, MaskedSolve
from pyro_dgm.nets.rectified_by_hand import RectifiedByHand, is_as_written
from pyro_dgm.nets.relu_network import relu_network

__all__ = ["MaskedMLP"]

# From the value at a coordinate (N,) and its parameters (P, N) to the solved value and a log-slope, (N,).
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class MaskedMLP(nn.Module):
    r"""A multilayer perceptron of a vector whose ``i``-th outputs see only the coordinates before ``i``.

    Inputs have degrees 1 to D in the given order; hidden units have degrees in cycles, sorted; a unit sees
    units and inputs of at most its own degree, and the outputs of a coordinate see units of a degree below
    the coordinate's own. With a context there are units of degree 0, which see nothing but the context. The
    Jacobian of every output is strictly triangular in the order.

    :meth:`forward` takes whole vectors. :meth:`solve` finds a vector one coordinate at a time and computes
    every hidden unit once: as many products as one pass, in D slices, instead of D passes.

    Vectors stand in columns, ``(D, N)``.

    Args:
        input_dim: Size ``D`` of the vectors.
        num_parameters: Outputs ``P`` for each coordinate.
        hidden_dims: Widths of the hidden layers, at least one.
        context_dim: Size of the context; zero for none.
        reverse: Whether the order of the coordinates is from the last to the first.
        initial: Initial outputs ``(P,)`` of every coordinate, for every input; zeros by default.
        activation: The activation between the layers, elementwise.
        feature: A function of each entry, elementwise, of which the network is a function; the entry itself
            by default.

    Shape:
        Input ``(D, N)`` and context ``(C, N)``; output ``(P * D, N)``: all coordinates' first output, then
        all second ones, and so on.

    Reference:
        Germain, Gregor, Murray and Larochelle, MADE: Masked Autoencoder for Distribution Estimation, ICML
        2015. https://arxiv.org/abs/1502.03509
    """

    def __init__(
        self,
        input_dim: int,
        num_parameters: int,
        hidden_dims: Sequence[int] = (128, 128),
        *,
        context_dim: int = 0,
        reverse: bool = False,
        initial: Tensor | None = None,
        activation: Callable[[Tensor], Tensor] = torch.relu,
        feature: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not hidden_dims:
            raise ValueError("MaskedMLP needs at least one hidden layer, but hidden_dims is empty.")
        self.input_dim, self.num_parameters, self.reverse = input_dim, num_parameters, reverse
        self.activation, self.feature = activation, feature
        self.lowest = 0 if context_dim or input_dim == 1 else 1
        inputs = torch.arange(1, input_dim + 1)
        degrees = [inputs.flip(0) if reverse else inputs]
        degrees += [self._hidden_degrees(width) for width in hidden_dims]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(degrees):
            self._add_layer(len(after), len(before), after.unsqueeze(1) >= before, len(self.weights))
        outputs = degrees[0].repeat(num_parameters).unsqueeze(1) > degrees[-1]
        self._add_layer(num_parameters * input_dim, len(degrees[-1]), outputs, len(self.weights))
        nn.init.zeros_(self.weights[-1])
        start = torch.zeros(num_parameters) if initial is None else initial
        self.biases[-1] = nn.Parameter(start.repeat_interleave(input_dim).clone())
        self.from_context = nn.Linear(context_dim, hidden_dims[0], bias=False) if context_dim else None
        # Where the units of each degree begin in each hidden layer: units are sorted by degree.
        self.starts = [
            [int((layer < degree).sum()) for degree in range(input_dim + 1)] for layer in degrees[1:]
        ]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the outputs of whole vectors."""
        x = self._seen(x)
        weights = [weight * getattr(self, f"mask_{k}") for k, weight in enumerate(self.weights)]
        if self.activation is torch.relu:
            if self.from_context is not None and context is not None:
                x, weights[0] = torch.cat((x, context)), torch.cat((weights[0], self.from_context.weight), 1)
            parameters = [t for pair in zip(weights, self.biases, strict=True) for t in pair]
            return relu_network(x.T, parameters, columns=True)
        h = x
        for k, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            h = torch.addmm(bias.unsqueeze(1), weight, h)
            if k == 0:
                h = self._with_context(h, context)
            if k < len(weights) - 1:
                h = self.activation(h)
        return h

    def by_hand(self) -> RectifiedByHand | None:
        """The same with its derivatives written out, the context below the vectors.

        None if there is another activation or a feature, or somebody listens.
        """
        rectified = self.activation is torch.relu and self.feature is None
        if not (rectified and is_as_written(self, MaskedMLP, _FORWARD)):
            return None
        tensors = [t for pair in zip(self.weights, self.biases, strict=True) for t in pair]
        if self.from_context is not None:
            tensors.append(self.from_context.weight)
        return RectifiedByHand(tensors, list(self.buffers(recurse=False)))

    def solve(self, value: Tensor, step: Step, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the vectors ``u`` with ``u[i] = step(value[i], outputs for i of u)``, in the order.

        Args:
            value: What each coordinate is solved from, of shape ``(D, N)``.
            step: Gives the coordinate and a log-slope from a row of ``value`` and its parameters ``(P, N)``.
            context: The context, of shape ``(C, N)``.

        Returns:
            The vectors ``(D, N)`` and the sums of the log-slopes ``(N,)``.
        """
        order = list(range(self.input_dim))[:: -1 if self.reverse else 1]
        if not torch.is_grad_enabled() and is_eager(value) and self.by_hand() is not None:
            found, total = self._solve_in_place(context, value.shape[1])(value, step, order)
            return (found.flip(0) if self.reverse else found), total
        columns, total = value.shape[1], value.new_zeros(value.shape[1])
        first = self.weights[0][:, order] if self.reverse else self.weights[0]
        solved = _Rows(self.input_dim, columns, value)
        seen = solved if self.feature is None else _Rows(self.input_dim, columns, value)
        # A slice of a ParameterList would make new parameters, cut off from those of functional_call.
        weights, biases = list(self.weights), list(self.biases)
        hidden = [_Rows(len(bias), columns, value) for bias in biases[:-1]]
        last = weights[-1].view(self.num_parameters, self.input_dim, -1)
        ends = biases[-1].view(self.num_parameters, self.input_dim, 1)
        for position, coordinate in enumerate(order):
            below = seen
            for k, (rows, weight) in enumerate(zip(hidden, [first, *weights[1:-1]], strict=True)):
                start, stop = self.starts[k][position], self.starts[k][position + 1]
                if stop > start:
                    known = below.all()
                    bias = biases[k][start:stop].unsqueeze(1)
                    h = torch.addmm(bias, weight[start:stop, : len(known)], known)
                    rows.add(self.activation(self._with_context(h, context, start, stop) if k == 0 else h))
                below = rows
            known = below.all()
            parameters = torch.addmm(ends[:, coordinate], last[:, coordinate, : len(known)], known)
            u, log_slope = step(value[coordinate], parameters)
            solved.add(u.unsqueeze(0))
            if seen is not solved:
                seen.add(self._seen(u.unsqueeze(0)))
            total = total + log_slope
        found = solved.all()
        return (found.flip(0) if self.reverse else found), total

    def _solve_in_place(self, context: Tensor | None, columns: int) -> MaskedSolve:
        (*weights, last), (*biases, ends) = self.weights, self.biases
        blocks = []
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            start = bias.unsqueeze(1).expand(-1, columns).clone()
            if k == 0:
                start, weight = self._with_context(start, context), weight.flip(1) if self.reverse else weight
            blocks.append(Block(weight, start, self.starts[k]))
        shape = (self.num_parameters, self.input_dim, -1)
        return MaskedSolve(blocks, last.view(shape), ends.view(shape))

    def _seen(self, entries: Tensor) -> Tensor:
        return entries if self.feature is None else self.feature(entries)

    def _hidden_degrees(self, width: int) -> Tensor:
        count = max(1, self.input_dim - self.lowest)
        return (torch.arange(width) % count).sort().values + self.lowest

    def _add_layer(self, size_out: int, size_in: int, mask: Tensor, k: int) -> None:
        # The default of nn.Linear, with the number of inputs that a unit really sees.
        seen = mask.sum(1, keepdim=True).clamp(min=1)
        bound = 1 / seen.sqrt()
        self.weights.append(nn.Parameter((2 * torch.rand(size_out, size_in) - 1) * bound))
        self.biases.append(nn.Parameter((2 * torch.rand(size_out) - 1) / math.sqrt(max(1, size_in))))
        self.register_buffer(f"mask_{k}", mask.to(self.weights[k].dtype), persistent=False)

    def _with_context(
        self, h: Tensor, context: Tensor | None, start: int = 0, stop: int | None = None
    ) -> Tensor:
        if self.from_context is None or context is None:
            return h
        return torch.addmm(h, self.from_context.weight[start:stop], context)


_FORWARD = MaskedMLP.forward


class _Rows:
    """Rows that grow in number: one buffer where no gradient is asked for, concatenation elsewhere."""

    def __init__(self, size: int, columns: int, like: Tensor) -> None:
        self.buffer = None if torch.is_grad_enabled() else like.new_empty(size, columns)
        self.parts: list[Tensor] = []
        self.count, self.empty = 0, like.new_empty(0, columns)

    def add(self, rows: Tensor) -> None:
        if self.buffer is None:
            self.parts = [torch.cat([*self.parts, rows])]
        else:
            self.buffer[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    def all(self) -> Tensor:
        if self.buffer is None:
            return self.parts[0] if self.parts else self.empty
        return self.buffer[: self.count]
