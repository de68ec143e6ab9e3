"""Memory that tensors let go of stays with the process."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["keep_freed_memory"]

# Just below the largest block, 32 MiB, that glibc takes for a hint.
_BLOCK = 31 * 2**20


@cache
def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB of freed memory, for the life of the process.

    In the beginning its ``malloc`` hands blocks of some megabytes, such as the activations of a few thousand
    rows, back to the system when they are freed, and the next tensor gets them page by page again, filled
    with zeros, which can cost much of a training step on a few thousand rows. It learns from the largest
    block that was freed; this is one, whose pages are never touched. Other allocators do not mind, nor does
    glibc where the environment sets its thresholds (``MALLOC_TRIM_THRESHOLD_``).
    """
    torch.empty(_BLOCK, dtype=torch.uint8, device="cpu")
