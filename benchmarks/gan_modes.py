"""Do adversarial recipes find every mode? ``python -m benchmarks.gan_modes``.

Eight Gaussians on a ring (radius 2, sd 0.1) and twenty-five on a grid (spacing 2, sd 0.1), five seeds each,
with two recipes: a Wasserstein game with gradient penalty, and a non-saturating game with a zero-centred
gradient penalty on interpolates. A run passes if each mode has at least a third of its share of 10 000 draws,
at least 90 % of all draws lie within three standard deviations (0.3) of a centre, and no alarm has rung. Then
one mode is taken away from each trained generator, and the alarm has to ring. The limit is 3 CPU-minutes.

Prints a table and writes ``benchmarks/results/gan_modes.md``, where rows of earlier runs stay until they are
run anew: ``--target``, ``--recipe`` and ``--seeds`` choose some. Exits with 1 if a run fails.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam

from pyro_dgm.models import ImplicitGenerator
from pyro_dgm.nets import MLPCritic, MLPDecoder
from pyro_dgm.objectives import Adversarial, GradientPenalty, HeldOutCoverage, Watch
from pyro_dgm.training.schedules import constant_then_linear

SD, NUM, LR = 0.1, 10_000, 1e-3
RESULTS = Path(__file__).parent / "results" / "gan_modes.md"


def ring() -> Tensor:
    """Centres of the eight Gaussians."""
    angle = torch.arange(8) * (2 * torch.pi / 8)
    return 2 * torch.stack((angle.cos(), angle.sin()), 1)


def grid() -> Tensor:
    """Centres of the twenty-five Gaussians."""
    side = 2.0 * torch.arange(-2, 3)
    return torch.cartesian_prod(side, side)


STEPS = {
    ("8 on a ring", "wgan-gp"): 5000,
    ("8 on a ring", "zero-centred"): 4000,
    ("25 on a grid", "zero-centred"): 7500,
    ("25 on a grid", "wgan-gp"): 12_000,
}
TARGETS: dict[str, Callable[[], Tensor]] = {"8 on a ring": ring, "25 on a grid": grid}
RECIPES = {
    "wgan-gp": {"loss": "wasserstein", "weight": 0.1, "target": 1.0, "every": 1, "k": 2},
    "zero-centred": {"loss": "non-saturating", "weight": 0.05, "target": 0.0, "every": 4, "k": 1},
}


def draw(centres: Tensor, n: int) -> Tensor:
    """Draw rows of the mixture."""
    return centres[torch.randint(len(centres), (n,))] + SD * torch.randn(n, 2)


def new_game(recipe: str, centres: Tensor) -> Adversarial:
    """The game of a recipe, whose watch measures the coverage of held-out rows."""
    chosen = RECIPES[recipe]
    scale = float(centres.abs().max())
    model = ImplicitGenerator(nn.Sequential(MLPDecoder(2, (2,), (128, 128, 128)), _Scale(scale)), 2)
    critic = MLPCritic((2,), (128, 128, 128))
    pair = tuple(Adam(net.parameters(), LR, betas=(0.0, 0.9), fused=True) for net in (model, critic))
    return Adversarial(
        model,
        critic,
        pair,  # type: ignore[arg-type]
        loss=str(chosen["loss"]),
        regularisers=[
            GradientPenalty(
                float(chosen["weight"]),  # type: ignore[arg-type]
                target=float(chosen["target"]),  # type: ignore[arg-type]
                every=int(chosen["every"]),  # type: ignore[call-overload]
            )
        ],
        critic_steps=int(chosen["k"]),  # type: ignore[call-overload]
        average=0.999,
        watch=Watch(held_out=draw(centres, 1000), on_divergence="ignore", patience=20),
    )


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def found(draws: Tensor, centres: Tensor) -> tuple[int, float]:
    """Number of modes with a third of their share, and the share of draws within three sd of a centre."""
    distance, nearest = torch.cdist(draws, centres).min(1)
    close = distance <= 3 * SD
    counts = nearest[close].bincount(minlength=len(centres))
    return int((counts >= len(draws) / len(centres) / 3).sum()), close.float().mean().item()


def alarm_rings(game: Adversarial, centres: Tensor) -> bool:
    """Whether the watch of a trained game notices that one mode is gone."""
    draws = game.averaged.sample(2000, seed=1)  # type: ignore[operator]
    kept = draws[torch.cdist(draws, centres).argmin(1) != 0][:1000]
    assert isinstance(game.watch.coverage, HeldOutCoverage)
    watch = Watch(held_out=game.watch.coverage, on_divergence="ignore", patience=20)
    for step in range(21):
        watch.mind_coverage(step, watch.coverage(kept))  # type: ignore[misc]
    return "mode collapse" in watch.alarms


def run(target: str, recipe: str, seed: int, steps: int) -> tuple[str, bool]:
    """Train one seed and return a row of the table, and whether it passed."""
    torch.manual_seed(seed)
    centres = TARGETS[target]()
    game = new_game(recipe, centres)
    start = time.process_time()
    coverage = 0.0
    for step in range(steps):
        for optimizer in game.optimizers:
            optimizer.param_groups[0]["lr"] = LR * constant_then_linear(step / steps)
        coverage = game.step(draw(centres, 256)).coverage or coverage
    seconds = time.process_time() - start
    modes, close = found(game.averaged.sample(NUM, seed=0), centres)  # type: ignore[operator]
    alarms, rings = ", ".join(game.watch.alarms) or "none", alarm_rings(game, centres)
    passed = modes == len(centres) and close >= 0.9 and not game.watch.alarms and rings and seconds < 180
    cells = (target, recipe, seed, f"{modes}/{len(centres)}", f"{close:.1%}", f"{coverage:.3f}", alarms)
    last = ("rings" if rings else "SILENT", f"{seconds:.0f}", "yes" if passed else "NO")
    return "| " + " | ".join(map(str, (*cells, *last))) + " |", passed


def earlier_rows(table: Path) -> dict[tuple[str, ...], str]:
    """The rows of a table by target, recipe and seed."""
    lines = table.read_text().splitlines() if table.exists() else []
    rows = [line for line in lines if line.startswith(("| 8", "| 25"))]
    return {tuple(cell.strip() for cell in line.split("|")[1:4]): line for line in rows}


def main() -> int:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description="Mode coverage of adversarial recipes.")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--recipe", choices=RECIPES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = [
        f"`python -m benchmarks.gan_modes`, torch {torch.__version__}, Python {platform.python_version()}, "
        "one thread; critic updates of 256 rows: "
        + ", ".join(f"{target} {recipe} {steps}" for (target, recipe), steps in STEPS.items()),
        "",
        "| target | recipe | seed | modes | within 3 sd | coverage | alarms | one lost | CPU s | pass |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print(*head, sep="\n", flush=True)
    passed = []
    for (target, recipe), steps in STEPS.items():
        if options.target not in (None, target) or options.recipe not in (None, recipe):
            continue
        for seed in options.seeds:
            line, good = run(target, recipe, seed, steps)
            print(line, flush=True)
            passed.append(good)
            rows = earlier_rows(options.out) | {(target, recipe, str(seed)): line}
            options.out.write_text("\n".join([*head, *(rows[key] for key in sorted(rows))]) + "\n")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
