"""The processes that train one model together, each on its part of every batch."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pyro_dgm.errors import ProcessesDiffer
from pyro_dgm.objectives.batch import Batch

__all__ = ["DEFAULT_TIMEOUT", "Ranks", "part_of", "start_processes"]

DEFAULT_TIMEOUT = 600.0


def start_processes(timeout: float = DEFAULT_TIMEOUT) -> Ranks:
    """Join the other processes of a ``torchrun`` or ``accelerate launch``; ``fit`` does so by itself.

    Under plain ``python`` there is one process and nothing to join. Call it before ``fit`` to choose the
    timeout: a process that does not answer for so long ends the job. When Python exits, this process leaves
    the others in order.

    Args:
        timeout: Seconds that a process waits for the others.

    Example:
        >>> start_processes().size
        1
    """
    if not dist.is_available() or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Ranks()
    if not dist.is_initialized():
        from accelerate import PartialState

        waiting, on_cpu = timedelta(seconds=timeout), not torch.cuda.is_available()
        if not on_cpu:  # numbers are compared on the CPU, where NCCL alone could not send them
            dist.init_process_group("cpu:gloo,cuda:nccl", timeout=waiting)
        PartialState(cpu=on_cpu, timeout=waiting)  # which also chooses the device of this process
        atexit.register(_leave, os.getpid())
    return Ranks(dist.get_rank(), dist.get_world_size())


def _leave(pid: int) -> None:
    """Wait for the threads that send; one that lets go of a tensor after Python's end aborts the process.

    After an error nothing is waited for: the others may never answer, and whoever started the job is to know.
    """
    failed = getattr(sys, "last_value", None) is not None
    if dist.is_initialized() and not failed and os.getpid() == pid:
        dist.destroy_process_group()


class Ranks:
    """This process among those that train together; alone by default, and then nothing here costs anything.

    Args:
        rank: Number of this process.
        size: How many there are.

    Attributes:
        weight: The share of this process's rows in the present batch of all processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size, self.weight = rank, size, 1.0

    @property
    def many(self) -> bool:
        """Whether there is more than one process."""
        return self.size > 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are those of the batch of all processes."""
        if not self.many:
            return module
        from torch.nn.parallel import DistributedDataParallel

        wrapped = DistributedDataParallel(module)
        wrapped.register_comm_hook(self, _weighted_sum)
        return wrapped

    def unsynchronised(self, module: nn.Module) -> AbstractContextManager[None]:
        """A block in which gradients are added up on this process alone."""
        return module.no_sync() if self.many else nullcontext()  # type: ignore[operator]

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return means over all rows of all processes of what each measured on its own."""
        if not self.many:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64) * self.weight
        if self.weight == 0:
            total = torch.zeros_like(total)  # rows that are not counted may give anything
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether it is up on any process."""
        if not self.many:
            return list(flags)
        raised = torch.tensor([float(flag) for flag in flags])
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def agree(self, reason: str | None) -> str | None:
        """Return the reason to stop that any process has, the first one's first."""
        if self.any_of([reason is not None])[0]:
            return str(next(given for given in self.gather(reason) if given is not None))
        return None

    def gather(self, value: Any) -> list[Any]:
        """Return what each process has."""
        if not self.many:
            return [value]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def barrier(self) -> None:
        """Wait for the others."""
        if self.many:
            dist.barrier()

    def check_equal(self, facts: Mapping[str, Any]) -> None:
        """Make sure that facts are the same on all processes.

        Raises:
            ProcessesDiffer: If one is not; on every process, with the values of each.
        """
        everywhere = self.gather(dict(facts))
        differing = [name for name in facts if any(own[name] != everywhere[0][name] for own in everywhere)]
        if differing:
            values = "; ".join(f"{name}: {[own[name] for own in everywhere]}" for name in differing)
            raise ProcessesDiffer(
                f"the processes would train different things, {values} (process by process). Set the same "
                "seed before the model is built, and give each process the same data, options and versions."
            )


def part_of(batch: Batch, number: int, parts: int) -> tuple[Batch, float]:
    """Return one of the nearly equal parts of a batch, and its share of the rows.

    Each row is in one part. Where there are more parts than rows, some consist of one row of weight zero.
    """
    n = len(batch.x)
    start, stop = number * n // parts, (number + 1) * n // parts
    share = (stop - start) / n
    here = slice(start, stop) if share else slice(0, 1)
    context = None if batch.context is None else batch.context[here]
    index = None if batch.index is None else batch.index[here]
    mask = None if batch.mask is None else batch.mask[here]
    return Batch(batch.x[here], context, index, n if batch.size is None else batch.size, mask), share


def _weighted_sum(ranks, bucket):  # type: ignore[no-untyped-def]  # torch compares annotations
    """Add up gradients, each by its share of the rows; rows of weight zero have none, whatever they gave."""
    gradients = bucket.buffer()
    gradients.mul_(ranks.weight) if ranks.weight else gradients.zero_()
    work = dist.all_reduce(gradients, async_op=True)
    return work.get_future().then(lambda done: done.value()[0])
