"""What ``fit`` adds to a step: ``python -m benchmarks.fit_overhead``.

For a RealNVP flow and a perceptron VAE at batch 256, one thread, CPU time, in one interleaved run: three
hundred steps of ``fit`` with history, progress bar, finite check and clipping, over as many of a plain
loop over the same loss module with the same optimiser (fused Adam), clipping and finite check. The bar is
1.05. ``--write`` puts the table into ``benchmarks/results/fit_overhead.md``; the exit code is 1 if a bar
is missed.
"""

from __future__ import annotations

import contextlib
import io
import math
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pyro
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from benchmarks.interleaved import interleaved, ratio_line
from pyro_dgm.flows import RealNVP
from pyro_dgm.guides import AmortizedNormal
from pyro_dgm.models import VAE, NormalizingFlow
from pyro_dgm.objectives import ELBO, Batch
from pyro_dgm.training import fit

ROWS, BATCH, EPOCHS, CLIP, BAR = 25_600, 256, 3, 10.0, 1.05
RESULT = Path(__file__).parent / "results" / "fit_overhead.md"


class Encoder(nn.Module):
    """A perceptron to location and log-variance."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 32))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return both."""
        return self.net(x).chunk(2, -1)


def flow() -> ELBO:
    """The loss module of a RealNVP."""
    torch.manual_seed(0)
    return ELBO(NormalizingFlow(RealNVP(2, num_layers=8, hidden_dims=(64, 64))))


def vae() -> ELBO:
    """The loss module of a VAE of perceptrons."""
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 64))
    return ELBO(VAE(decoder, 16, guide=AmortizedNormal(Encoder())))


def plain(loss_module: ELBO, rows: Tensor) -> Callable[[], object]:
    """A loop of some epochs as an expert writes it around the same loss module."""
    parameters = list(loss_module.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def train() -> None:
        with pyro.validation_enabled(False):
            for index in (i for _ in range(EPOCHS) for i in torch.randperm(ROWS).split(BATCH)):
                optimizer.zero_grad()
                loss = loss_module(Batch(rows[index], None, index, ROWS))
                value = loss.item()
                loss.backward()
                norm = clip_grad_norm_(parameters, CLIP)
                if not (math.isfinite(value) and math.isfinite(norm.item())):
                    raise FloatingPointError("the loss is not finite")
                optimizer.step()

    return train


def through_fit(loss_module: ELBO, rows: Tensor) -> Callable[[], object]:
    """The same epochs of ``fit``, with everything that is on by default."""

    def train() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            fit(loss_module, rows, epochs=EPOCHS, batch_size=BATCH, lr=1e-3, clip=CLIP, progress=True)

    return train


def main() -> int:
    """Run the benchmark and print its table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = {"RealNVP flow": (flow, torch.randn(ROWS, 2)), "MLP VAE": (vae, torch.rand(ROWS, 64).round())}
    table = [
        "| loss module | plain loop, ms a step | `fit`, ms a step | ratio (quartiles) | bar |",
        "|---|---|---|---|---|",
    ]
    met = True
    for name, (make, rows) in cases.items():
        work = {"plain": plain(make(), rows), "fit": through_fit(make(), rows)}
        seconds = interleaved(work, rounds=15, repeats=1)
        line, ratio = ratio_line(seconds, "fit", "plain", BAR)
        print(f"{name}: {line}")
        ratios = [x / y for x, y in zip(seconds["fit"], seconds["plain"], strict=True)]
        low, _, high = statistics.quantiles(ratios)
        a, b = (1e3 * statistics.median(seconds[key]) * BATCH / (ROWS * EPOCHS) for key in ("plain", "fit"))
        table.append(f"| {name} | {a:.3f} | {b:.3f} | {ratio:.3f} ({low:.3f} to {high:.3f}) | {BAR} |")
        met &= ratio <= BAR
    versions = f"torch {torch.__version__}, pyro {pyro.__version__}, Python {platform.python_version()}"
    text = "\n".join(
        [
            f"# Overhead of fit\n\nCPU time, one thread, batch {BATCH}; {versions}. Made by "
            "`python -m benchmarks.fit_overhead --write`.\n",
            *table,
            "",
        ]
    )
    print(text)
    if "--write" in sys.argv:
        RESULT.write_text(text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
