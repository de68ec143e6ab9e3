"""Which networks treat every row of a batch by itself, and which do not."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["RowMixing", "mixing_part", "treats_rows_alone"]


class RowMixing(nn.Module):
    """Base of the layers of this package whose output at a row depends on the other rows of the batch."""


def mixing_part(network: nn.Module) -> tuple[str, nn.Module] | None:
    """Return name and module of the first part that is known to mix rows, or None.

    Example:
        >>> mixing_part(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))[0]
        '1'
    """
    parts = network.named_modules()
    return next(((name, part) for name, part in parts if isinstance(part, _BatchNorm | RowMixing)), None)


def treats_rows_alone(network: nn.Module) -> bool:
    """Whether the network certainly maps each row by itself, so that batches may be joined.

    True only where every part comes from torch or from this package and none mixes rows; a part from
    elsewhere may do anything in its ``forward``. A network with forward hooks may as well.

    Example:
        >>> treats_rows_alone(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
        True
    """
    if mixing_part(network) is not None:
        return False
    return all(
        type(part).__module__.startswith(("torch.nn.", "pyro_dgm.nets.")) and not part._forward_hooks
        for part in network.modules()
    )
