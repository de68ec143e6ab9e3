"""The random vectors of Hutchinson's trace estimate."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Probe"]


def _fresh_seed() -> int:
    return int(torch.randint(2**62, ()).item())


@dataclass(frozen=True)
class Probe:
    r"""One random vector a row, with mean zero and identity covariance, kept for as long as this object.

    .. math:: E[\epsilon^\top J \epsilon] = \operatorname{tr} J

    A row's vector follows from the seed and from its position among the rows: the same rows are given the
    same vectors in every solve, so that a density estimated with it is a function.

    Attributes:
        kind: ``"rademacher"``, signs, of which the variance is
            :math:`\tfrac12 \lVert J + J^\top \rVert_F^2` less what the diagonal adds to it; or
            ``"gaussian"``, where the diagonal counts too.
        seed: What the vectors follow from; a fresh one from torch's global random state by default.
    """

    kind: str = "rademacher"
    seed: int = field(default_factory=_fresh_seed)

    def draw(self, rows: Tensor) -> Tensor:
        """Return a vector for each of the rows ``(n, D)``, in their dtype and on their device."""
        generator = torch.Generator().manual_seed(self.seed)
        if self.kind == "gaussian":
            return torch.randn(rows.shape, generator=generator, dtype=torch.double).to(rows)
        return (2.0 * torch.randint(2, rows.shape, generator=generator) - 1.0).to(rows)
