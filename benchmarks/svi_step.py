"""What a training step of a RealNVP costs: ``python -m benchmarks.svi_step``.

Batch 256, one thread, CPU time, all in one interleaved run:

* ``plain``: a hand-written PyTorch loop over the same network, with the same optimiser (fused Adam), gradient
  clipping and finite check;
* ``fit``: the same model through :func:`pyro_dgm.training.fit`, with its history;
* ``SVI``: the same model through ``pyro.infer.SVI`` with ``pyro.optim.Adam``;
* ``SVI zuko``: the same network built on zuko's transforms in Pyro's own ``TransformedDistribution``.

Prints the ratios beside their bars, and the difference of the losses of ``fit``'s path and ``Trace_ELBO``.
Exits with 1 if a bar is missed.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch import Tensor, nn

from benchmarks.interleaved import interleaved, ratio_line
from pyro_dgm.flows import RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import ELBO, Batch
from pyro_dgm.training import fit
from pyro_dgm.zuko_guard import import_zuko

ROWS, BATCH, STEPS = 25_600, 256, 100
HIDDEN, LAYERS, CLIP = (128, 128), 6, 10.0


def plain_loop(flow: RealNVP, rows: Tensor) -> Callable[[], object]:
    """A loop as an expert writes it: no distributions, no handlers."""
    nets = list(reversed(list(zip(flow.conditioners, flow.turns, strict=True))))
    parameters = list(flow.parameters())
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step(x: Tensor) -> float:
        total: Tensor | float = 0.0
        for net, change_left in nets:
            left, right = x[:, :1], x[:, 1:]
            kept, changed = (right, left) if change_left else (left, right)
            shift, raw = net.layers(kept).chunk(2, dim=-1)
            log_scale = 3.0 * torch.tanh(raw / 3.0)
            changed = (changed - shift) * torch.exp(-log_scale)
            total = total - log_scale.sum(-1)
            x = torch.cat((changed, kept) if change_left else (kept, changed), dim=-1)
        loss = -(total - 0.5 * x.square().sum(-1) - math.log(2 * math.pi)).mean()
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise FloatingPointError("the loss is not finite")
        optimiser.step()
        return value

    def epoch() -> None:
        for index in torch.randperm(ROWS).split(BATCH):
            step(rows[index])

    return epoch


def through_fit(flow: RealNVP, rows: Tensor) -> Callable[[], object]:
    """One epoch of ``fit``."""
    model = NormalizingFlow(flow)
    return lambda: fit(model, rows, epochs=1, batch_size=BATCH, lr=1e-3, clip=CLIP, progress=False)


class OnZuko(PyroModule):
    """The same architecture from zuko's transforms, in Pyro's own TransformedDistribution."""

    def __init__(self) -> None:
        super().__init__("on_zuko")
        self.flow = import_zuko().flows.RealNVP(2, transforms=LAYERS, hidden_features=HIDDEN)
        self.register_buffer("loc", torch.zeros(2))

    def forward(self, x: Tensor, size: int, index: Tensor) -> None:
        """Score rows in the plate ``data``."""
        base = dist.Normal(self.loc, 1.0).to_event(1)
        flow = dist.TransformedDistribution(base, [self.flow(None).transform.inv])
        with pyro.plate("data", size, subsample=index):
            pyro.sample("x", flow, obs=x)


def through_svi(model: nn.Module, rows: Tensor) -> Callable[[], object]:
    """One epoch of ``pyro.infer.SVI``."""
    svi = SVI(model, lambda *args, **kwargs: None, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    def epoch() -> None:
        for index in torch.randperm(ROWS).split(BATCH):
            svi.step(rows[index], size=ROWS, index=index)

    return epoch


def loss_difference(flow: RealNVP, rows: Tensor) -> float:
    """The relative difference of the losses of the same batch, in float64."""
    model = NormalizingFlow(copy.deepcopy(flow).double())
    index = torch.arange(BATCH)
    ours = ELBO(model)(Batch(rows[:BATCH].double(), index=index, size=ROWS)).item()
    pyros = Trace_ELBO().loss(model, model.guide, rows[:BATCH].double(), size=ROWS, index=index) / ROWS
    return abs(ours - pyros) / abs(pyros)


def main() -> int:
    """Run the benchmark and print its figures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = torch.randn(ROWS, 2) @ torch.tensor([[1.0, 0.5], [0.0, 0.3]])
    flow, zukos = RealNVP(2, num_layers=LAYERS, hidden_dims=HIDDEN), OnZuko()
    counts = [sum(p.numel() for p in module.parameters()) for module in (flow, zukos)]
    work = {
        "plain": plain_loop(copy.deepcopy(flow), rows),
        "fit": through_fit(copy.deepcopy(flow), rows),
        "SVI": through_svi(NormalizingFlow(copy.deepcopy(flow)), rows),
        "SVI zuko": through_svi(zukos, rows),
    }
    seconds = interleaved(work, rounds=9, repeats=1)
    print(
        f"RealNVP(2), {LAYERS} layers of {HIDDEN}, {counts[0]} parameters (zuko: {counts[1]}), batch {BATCH}"
    )
    for name, values in seconds.items():
        print(f"{name:>10}: {1e3 * sorted(values)[len(values) // 2] / STEPS:.3f} ms of CPU a step")
    lines = [ratio_line(seconds, "fit", "plain", 1.35), ratio_line(seconds, "SVI", "SVI zuko", 0.60)]
    difference = loss_difference(flow, rows)
    print(*(line for line, _ in lines), sep="\n")
    print(f"loss of fit's path against Trace_ELBO: relative difference {difference:.1e}, bar 1e-06")
    return 0 if all("met" in line for line, _ in lines) and difference <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
