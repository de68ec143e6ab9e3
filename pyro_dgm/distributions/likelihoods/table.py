"""Rows of a table, each column with a likelihood of its own kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor, nn
from torch.distributions import constraints

from pyro_dgm.distributions.likelihoods.likelihood import EntrywiseLikelihood
from pyro_dgm.distributions.standard_base import Shape
from pyro_dgm.errors import ShapeError

__all__ = ["IndependentColumns", "Table"]


class IndependentColumns(TorchDistribution):
    """Rows whose entries are independent and distributed each in its own way.

    Args:
        columns: One distribution of single numbers for each column, all of one batch shape.
        mask: Which entries count, of a shape ``(*batch, D)``; all of them by default.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, columns: Sequence[TorchDistribution], mask: Tensor | None = None) -> None:
        self.columns, self._entries = list(columns), mask
        self.has_rsample = all(column.has_rsample for column in columns)
        batch_shape = torch.broadcast_shapes(*(column.batch_shape for column in columns))
        super().__init__(batch_shape, Size([len(columns)]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        """The columns' supports beside each other."""
        parts = [constraints.independent(column.support, 0) for column in self.columns]
        return constraints.stack(parts, -1)

    def expand(self, batch_shape: Shape, _instance: None = None) -> IndependentColumns:
        """Return a copy of another ``batch_shape``."""
        return IndependentColumns([c.expand(Size(batch_shape)) for c in self.columns], self._entries)

    def mask_entries(self, mask: Tensor) -> IndependentColumns:
        """Return the distribution of the entries where ``mask`` is true."""
        return IndependentColumns(self.columns, mask)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of rows, in nats."""
        parts = [c.log_prob(v) for c, v in zip(self.columns, value.unbind(-1), strict=True)]
        by_column = torch.stack(torch.broadcast_tensors(*parts), -1)
        if self._entries is not None:
            by_column = by_column.where(self._entries, by_column.new_zeros(()))
        return by_column.sum(-1)

    @property
    def mean(self) -> Tensor:
        """The mean of each column; of a categorical one the most probable class."""
        return torch.stack([column.mean for column in self.columns], -1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw rows."""
        with torch.no_grad():
            return torch.stack([column.sample(Size(sample_shape)) for column in self.columns], -1)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw rows with gradients.

        Raises:
            NotImplementedError: If a column has none, such as one of classes.
        """
        if not self.has_rsample:
            without = [i for i, column in enumerate(self.columns) if not column.has_rsample]
            raise NotImplementedError(f"draws of columns {without} have no gradients: use sample().")
        return torch.stack([column.rsample(Size(sample_shape)) for column in self.columns], -1)


class Table(nn.Module):
    """Independent columns of different kinds, given the latent: numbers, counts of classes, yes or no.

    Args:
        columns: One likelihood of this package for each column.

    Shape:
        Output of the decoder ``(*batch, outputs)``, where :attr:`outputs` is the number that the columns need
        together; rows ``(*batch, D)``.

    Raises:
        ShapeError: If the decoder's output has another size.

    Example:
        >>> from pyro_dgm.distributions.likelihoods import Bernoulli, Categorical, Gaussian
        >>> table = Table([Gaussian(decoded=True), Categorical(3), Bernoulli()])
        >>> table.outputs, table(torch.zeros(5, 6)).sample().shape
        (6, torch.Size([5, 3]))
    """

    def __init__(self, columns: Sequence[EntrywiseLikelihood]) -> None:
        super().__init__()
        if not columns:
            raise ValueError("a Table needs at least one column.")
        self.columns = nn.ModuleList(columns)
        self.sizes = [column.outputs_per_entry for column in columns]

    @property
    def outputs(self) -> int:
        """How many numbers the decoder has to give for a row."""
        return sum(self.sizes)

    def forward(self, output: Tensor) -> IndependentColumns:
        """Return the distribution of rows for a decoder's output."""
        if output.shape[-1] != self.outputs:
            raise ShapeError(
                f"the columns of this Table need {self.outputs} numbers a row, {self.sizes} each, but the "
                f"decoder's output has shape {tuple(output.shape)}. Give it {self.outputs} outputs."
            )
        parts = output.split(self.sizes, -1)
        return IndependentColumns(
            [
                cast(EntrywiseLikelihood, column).of_entries(
                    part.squeeze(-1) if part.shape[-1] == 1 else part.movedim(-1, 0)
                )
                for column, part in zip(self.columns, parts, strict=True)
            ]
        )
