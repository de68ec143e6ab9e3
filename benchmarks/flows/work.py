"""The pieces of work that are timed, their bars, and who takes part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import cycle

import torch
from torch import Tensor

from benchmarks.flows.contender import Contender

__all__ = ["PEERS", "WORKS", "Work", "contenders", "prepared"]

PEERS = ("pyro", "zuko", "nflows", "normflows")


@dataclass(frozen=True)
class Work:
    """One line of the table: at most ``bar`` times the best peer's CPU time.

    Attributes:
        family: The flow.
        what: ``"train"`` on data, ``"train on draws"``, ``"log_prob"`` or ``"sample"``.
        dim: Size of the vectors.
        batch: Rows.
        bar: The bar with the same optimiser for all, torch's default Adam.
        fused_bar: The bar of a step as fit makes it, with fused Adam, against the peers' default Adam.
    """

    family: str
    what: str
    dim: int
    batch: int
    bar: float
    fused_bar: float | None = None

    def __str__(self) -> str:
        return f"{self.family} {self.what}, d = {self.dim}, batch {self.batch}"


def _both(family: str, what: str, dims: tuple[int, ...], bars: tuple[float, float]) -> list[Work]:
    return [Work(family, what, dim, n, bar) for dim in dims for n, bar in zip((256, 4096), bars, strict=True)]


WORKS = (
    [Work("real-nvp", "train", dim, 256, 0.88, 0.70) for dim in (2, 16)]
    + [Work("real-nvp", "train", dim, 4096, 0.95, 0.92) for dim in (2, 16)]
    + _both("real-nvp", "log_prob", (2, 16), (0.65, 0.80))
    + _both("real-nvp", "sample", (2, 16), (0.65, 0.80))
    + [Work("maf", "train", 16, 256, 0.85, 0.85), Work("maf", "train", 16, 4096, 1.08, 1.08)]
    + [Work("maf", "sample", 16, 256, 0.35), Work("maf", "sample", 64, 256, 0.22)]
    + [Work("spline", "train", dim, 256, bar, bar) for dim, bar in ((2, 0.65), (16, 0.50), (64, 0.45))]
    + _both("spline", "log_prob", (16, 64), (0.42, 0.42))
    + [Work("planar", "train on draws", 2, 256, 0.30, 0.30), Work("planar", "sample", 2, 256, 0.30)]
    + [Work("iaf", "train on draws", 16, 256, 0.85, 0.85)]
)


def contenders(family: str, dim: int) -> dict[str, Contender]:
    """Everybody's flow of a family, by library."""
    made = {}
    for name in ("ours", "plain", *PEERS):
        module = import_module(f"benchmarks.flows.{name if name in ('ours', 'plain') else f'on_{name}'}")
        torch.manual_seed(0)
        flow = module.make(family, dim)
        if flow is not None:
            made[name] = flow
    return made


def prepared(work: Work, flow: Contender, *, fused: bool) -> Callable[[], object]:
    """One run of the work, as a function of nothing."""
    rows = torch.randn(2, work.batch, work.dim, generator=torch.Generator().manual_seed(1))
    batches = cycle(rows.unbind(0))  # the same tensor twice would be answered from Pyro's cache
    if work.what == "log_prob":
        return torch.no_grad()(lambda: flow.log_prob(next(batches)))
    if work.what == "sample":
        return torch.no_grad()(lambda: flow.sample(work.batch))
    optimiser = torch.optim.Adam(flow.module.parameters(), lr=1e-4, **({"fused": True} if fused else {}))

    def loss() -> Tensor:
        if work.what == "train":
            return -flow.log_prob(next(batches)).mean()
        draws, log_q = flow.rsample_and_log_prob(work.batch)
        return (log_q + 0.5 * (draws - 1).square().sum(-1)).mean()

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        flow.after_step()

    return step
