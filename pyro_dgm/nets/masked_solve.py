"""Solving a masked network one coordinate at a time, in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Block", "MaskedSolve"]

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Block(NamedTuple):
    """One layer of hidden units, sorted by degree.

    Args:
        weight: Its matrix ``(H, K)``, whose columns are in the order in which its inputs become known.
        start: What the units begin with, ``(H, N)``: their biases and what a context adds; written to.
        starts: For each degree from zero where its units begin, and the number of all units.
    """

    weight: Tensor
    start: Tensor
    starts: Sequence[int]


class MaskedSolve(NamedTuple):
    """The units of a masked rectifier network, each computed once, in the memory of its layer.

    Where no gradient is asked for, this saves the copies and views that most of a draw on few rows is
    spent on: the slices of every matrix and layer are taken once, and products are added to what is there.

    Args:
        blocks: The hidden layers.
        weight: The last matrix, ``(P, D, H)``.
        bias: The last biases, ``(P, D, 1)``.
    """

    blocks: Sequence[Block]
    weight: Tensor
    bias: Tensor

    def __call__(self, value: Tensor, step: Step, order: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Find the vectors ``u`` with ``u[i] = step(value[i], outputs for i of u)``, in the order.

        Args:
            value: What each coordinate is solved from, of shape ``(D, N)``.
            step: Gives the coordinate and a log-slope from a row of ``value`` and its parameters ``(P, N)``.
            order: The coordinates, in the order in which they are found.

        Returns:
            The vectors ``(D, N)``, entries in the order of finding, and the sums of log-slopes ``(N,)``.
        """
        solved = torch.empty_like(value)
        slopes = torch.empty_like(value)
        sizes = [[b - a for a, b in pairwise(block.starts)] for block in self.blocks]
        weights = [block.weight.split(size) for block, size in zip(self.blocks, sizes, strict=True)]
        units = [block.start.split(size) for block, size in zip(self.blocks, sizes, strict=True)]
        last, ends, values = self.weight.unbind(1), self.bias.unbind(1), value.unbind(0)
        for position, coordinate in enumerate(order):
            known = solved.narrow(0, 0, position)
            for k, block in enumerate(self.blocks):
                if sizes[k][position]:
                    own = units[k][position]
                    if len(known):
                        own.addmm_(weights[k][position].narrow(1, 0, len(known)), known)
                    own.relu_()
                known = block.start.narrow(0, 0, block.starts[position + 1])
            parameters = torch.addmm(ends[coordinate], last[coordinate].narrow(1, 0, len(known)), known)
            solved[position], slopes[position] = step(values[coordinate], parameters)
        return solved, slopes.sum(0)
