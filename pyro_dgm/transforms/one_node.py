"""A whole stack of layers as one node of the graph, whose backward pass is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_dgm.eager import is_batched
from pyro_dgm.transforms.by_hand import ByHand, Network
from pyro_dgm.transforms.elementwise import Elementwise

__all__ = ["Step", "through_steps"]


class Step(NamedTuple):
    """One layer: a network reads one part of the vector and chooses functions of another part's entries.

    Args:
        network: The network.
        family: The family of functions.
        by_hand: Its direction, with derivatives written out.
        back: Whether that is the family's inverse.
        reads: Number of the part that is read.
        changes: Number of the part that is changed; that which is read too, in autoregressive layers.
    """

    network: Network
    family: Elementwise
    by_hand: ByHand
    back: bool
    reads: int
    changes: int


def through_steps(
    rows: Tensor, context: Tensor | None, sizes: Sequence[int], steps: Sequence[Step]
) -> tuple[Tensor, Tensor]:
    """Take vectors through the steps.

    A training step on small batches is spent on the graph as much as on numbers; here the graph has one
    node. Derivatives of higher order are those of the formula, which then is evaluated again.

    Args:
        rows: The vectors, ``(N, D)``, on the CPU.
        context: What they are conditioned on, in columns ``(C, N)``, or None.
        sizes: Sizes of the parts of a vector.
        steps: The layers, in the order of their application.

    Returns:
        The images in rows, ``(N, D)``, and the log-determinants ``(N,)``.
    """
    tensors = [t for step in steps for t in step.network.tensors]
    if not torch.is_grad_enabled():
        return _values(rows, context, sizes, steps, tensors, None)
    return _Steps.apply(sizes, steps, rows, context, *tensors)  # type: ignore[no-any-return]


def _values(
    rows: Tensor,
    context: Tensor | None,
    sizes: Sequence[int],
    steps: Sequence[Step],
    tensors: Sequence[Tensor],
    kept: list[Sequence[Tensor]] | None,
) -> tuple[Tensor, Tensor]:
    """The images and the log-determinants; what backward passes need is added to ``kept``."""
    parts = list(rows.T.contiguous().split(sizes))
    slopes: list[Tensor | None] = [None] * len(parts)
    start = 0
    for network, family, by_hand, _, reads, changes in steps:
        stop = start + len(network.tensors)
        read, changed = parts[reads], parts[changes]
        seen = read if context is None else torch.cat((read, context))
        output, of_network = network.values(seen, tensors[start:stop])
        functions = output.view(family.num_parameters, *changed.shape)
        parts[changes], log_slope, of_functions = by_hand.values(changed, functions)
        sum_ = slopes[changes]
        slopes[changes] = log_slope if sum_ is None else sum_.add_(log_slope)
        if kept is not None:
            kept += [of_network, of_functions]
        del output, of_network, of_functions  # the memory of one layer serves the next, out of the cache
        start = stop
    # Nothing that is returned is a view: users may write to it.
    first, *second = [s for s in slopes if s is not None]
    ladj = first.sum(0) + second[0].sum(0) if second else first.sum(0)
    return torch.cat([part.T for part in parts], 1), ladj


def _formula(
    rows: Tensor,
    context: Tensor | None,
    sizes: Sequence[int],
    steps: Sequence[Step],
    tensors: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    parts = list(rows.T.split(sizes))
    ladj, start = rows.new_zeros(len(rows)), 0
    for step in steps:
        stop = start + len(step.network.tensors)
        read, changed = parts[step.reads], parts[step.changes]
        seen = read if context is None else torch.cat((read, context))
        output = step.network.formula(seen, tensors[start:stop])
        functions = output.reshape(step.family.num_parameters, *changed.shape)
        function = step.family.inverse if step.back else step.family.call
        parts[step.changes], log_slope = function(changed, functions)
        ladj = ladj + log_slope.sum(0)
        start = stop
    return torch.cat(parts).T, ladj


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sizes: Sequence[int],
        steps: Sequence[Step],
        rows: Tensor,
        context: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        kept: list[Sequence[Tensor]] = []
        images, ladj = _values(rows, context, sizes, steps, tensors, kept)
        ctx.sizes, ctx.steps, ctx.lengths = sizes, steps, [len(k) for k in kept]
        ctx.save_for_backward(rows, context, *tensors, *(t for k in kept for t in k))
        return images, ladj

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        rows, context, *rest = ctx.saved_tensors
        count = len(rest) - sum(ctx.lengths)
        if torch.is_grad_enabled() or is_batched(*grads):  # a derivative of this is wanted, or many at once
            return None, None, *_by_formula(ctx, (rows, context, *rest[:count]), grads)
        kept = rest[count:]
        parts: list[Tensor] = list(grads[0].T.contiguous().split(ctx.sizes))
        to_context: Tensor | None = None
        to_rows, to_tensors = ctx.needs_input_grad[2], ctx.needs_input_grad[4:]
        found: list[list[Tensor | None]] = []
        stop, end = count, len(kept)
        for number in reversed(range(len(ctx.steps))):
            step = ctx.steps[number]
            of_network, of_functions = ctx.lengths[2 * number : 2 * number + 2]
            start, middle = stop - len(step.network.tensors), end - of_functions
            value, functions = step.by_hand.gradients(kept[middle:end], parts[step.changes], grads[1])
            onwards = bool(number or to_rows or ctx.needs_input_grad[3])
            input_, *own = step.network.gradients(
                kept[middle - of_network : middle],
                rest[start:stop],
                functions.flatten(0, 1),
                (onwards, *to_tensors[start:stop]),
            )
            parts[step.changes] = value
            if input_ is not None:
                size = ctx.sizes[step.reads]
                parts[step.reads] = parts[step.reads] + input_[:size]
                if context is not None:
                    to_context = input_[size:] if to_context is None else to_context + input_[size:]
            found.append(own)
            stop, end = start, middle - of_network
        of_tensors = [g for own in reversed(found) for g in own]
        return None, None, torch.cat(parts).T if to_rows else None, to_context, *of_tensors


def _by_formula(
    ctx: Any, inputs: tuple[Tensor | None, ...], grads: tuple[Tensor, ...]
) -> list[Tensor | None]:
    needed = ctx.needs_input_grad[2:]
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases, so that what one input owes to another by way of the graph is not counted here.
        aliases = [None if t is None else t.view_as(t) for t in inputs]
        wanted = [t for t, n in zip(aliases, needed, strict=True) if n and t is not None]
        images = _formula(aliases[0], aliases[1], ctx.sizes, ctx.steps, aliases[2:])  # type: ignore[arg-type]
        found = iter(torch.autograd.grad(images, wanted, grads, create_graph=create_graph, allow_unused=True))
    return [next(found) if n else None for n in needed]
