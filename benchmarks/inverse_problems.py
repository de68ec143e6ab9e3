"""Digits half hidden, and digits blurred: the posterior of a VAE's latent, its error and its coverage.

python -m benchmarks.inverse_problems
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

from pyro_dgm.data import digits
from pyro_dgm.distributions.likelihoods import Bernoulli
from pyro_dgm.guides import AmortizedNormal, AutoFlow
from pyro_dgm.inference import map_estimate, nuts
from pyro_dgm.models import VAE, InverseProblem
from pyro_dgm.nets import ConvEncoder, MLPDecoder
from pyro_dgm.training import fit

LATENT_DIM, NOISE, ROWS_SEEN = 8, 0.1, 4
BY_FLOW = 2  # images whose posterior a flow guide is fitted to as well


def trained_vae(steps: int) -> VAE:
    shape = torch.Size((1, 8, 8))
    guide = AmortizedNormal(ConvEncoder(shape, LATENT_DIM, width=8, norm=None))
    decoder = MLPDecoder(LATENT_DIM, shape, (64, 64), output="logits")
    vae = VAE(decoder, LATENT_DIM, likelihood=Bernoulli(event_dim=3), guide=guide)
    fit(vae, digits(binarize="dynamic"), steps=steps, schedule="cosine", progress=False)
    return vae


def upper_half(x: Tensor) -> Tensor:
    return x[..., :ROWS_SEEN, :]


def blurred(x: Tensor) -> Tensor:
    """Averages over 3 x 3 pixels, of which every second remains: sixteen numbers of sixty-four."""
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    return torch.nn.functional.avg_pool2d(padded.flatten(0, -4), 3, 2).unflatten(0, x.shape[:-3])


@dataclass(frozen=True)
class Task:
    """What is seen, and which pixels are to be recovered."""

    operator: Callable[[Tensor], Tensor]
    sought: Tensor
    words: str


HIDDEN = torch.zeros(8, 8, dtype=torch.bool)
HIDDEN[ROWS_SEEN:] = True
TASKS = {
    "inpainting": Task(upper_half, HIDDEN, "upper half seen; of the lower half"),
    "deblurring": Task(blurred, torch.ones(8, 8, dtype=torch.bool), "means over 3 x 3, every second; of all"),
}


def shown(task: Task, y: Tensor) -> Tensor:
    """The observation as an image of 8 x 8."""
    if task.operator is upper_half:
        return torch.cat((y, torch.full_like(y, 0.5)), -2)
    return torch.nn.functional.interpolate(y, scale_factor=2)


def picture(task: Task, truth: Tensor, y: Tensor, draws: Tensor, path: Path) -> None:
    """A row each: the image, what is seen of it, the posterior's mean, its spread, and three of its draws."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = {
        "image": truth,
        "seen": shown(task, y),
        "posterior mean": draws.mean(0),
        "posterior sd, x 3": 3 * draws.std(0),
        "three draws": draws[len(draws) // 3],
        "": draws[2 * len(draws) // 3],
        " ": draws[-1],
    }
    figure, axes = pyplot.subplots(len(rows), 10, figsize=(10, 1.05 * len(rows)))
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images[:10], strict=True):
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)


def by_flow(problem: InverseProblem, y: Tensor, steps: int = 400) -> Tensor:
    """Images drawn from AutoFlow's posterior of one observation, ``(1000, 1, 1, 8, 8)``."""
    guide = AutoFlow(problem, stick_the_landing=True)
    schedule = pyro.optim.CosineAnnealingLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": 5e-3}, "T_max": steps}
    )
    svi = SVI(problem, guide, schedule, Trace_ELBO(8, vectorize_particles=True, max_plate_nesting=1))
    for _ in range(steps):
        svi.step(y)
        schedule.step()
    with torch.no_grad():
        return problem.generate(guide.sample_sites(1000)["z"])


def rms(error: Tensor) -> Tensor:
    return error.square().mean().sqrt()


def solve(name: str, vae: VAE, images: int, samples: int, out: Path) -> str:
    """One row of the table; and the picture."""
    task = TASKS[name]
    problem = InverseProblem(vae, task.operator, NOISE)
    with torch.no_grad():
        truth = problem.generate(problem.prior().sample((images,)))
        y = problem.observation(truth).sample()
        prior_draws = problem.generate(problem.prior().sample((20_000,)))
    # One chain over all images at once: their posteriors are independent, and so are their coordinates.
    run = nuts(problem, y, num_samples=samples, warmup_steps=samples // 2, seed=0)
    with torch.no_grad():
        draws = problem.generate(run.samples["z"].reshape(-1, images, LATENT_DIM))
    counted = (prior_draws.std(0)[0] > 0.05) & task.sought

    def of(x: Tensor) -> Tensor:
        return x[..., 0, counted]

    low, high = draws.quantile(torch.tensor([0.05, 0.95]), 0)
    covered = of((truth >= low) & (truth <= high)).float().mean()
    error = rms(of(draws.mean(0) - truth))
    factor = rms(of(prior_draws.mean(0) - truth)) / error
    most_probable = rms(of(map_estimate(problem, y, num_starts=8, seed=0).x - truth)) / error
    flow = torch.stack([by_flow(problem, y[i : i + 1])[:, 0] for i in range(BY_FLOW)], 1)
    few = draws[:, :BY_FLOW]
    apart = rms(of(flow.mean(0) - few.mean(0))) / rms(of(few.std(0)))
    wide = rms(of(flow.std(0))) / rms(of(few.std(0)))
    picture(task, truth, y, draws, out / f"{name}.png")
    cells = [
        f"{name}: {task.words}",
        f"{int(counted.sum())}",
        f"{100 * covered:.1f} %",
        f"{error:.3f}",
        f"{factor:.2f}",
        f"{most_probable:.2f}",
        f"{apart:.2f} sd; {wide:.2f}",
        f"{run.effective_samples:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    vae = trained_vae(options.steps)
    lines = [
        f"{options.images} digits of 8 x 8 pixels drawn from a VAE (q = {LATENT_DIM}), seen with noise "
        f"{NOISE}; {options.samples} samples of NUTS. Pixels: those of prior sd above 0.05. Error: root mean "
        "square of the posterior mean. Then how many times larger that of the mean image is, and that of the "
        "most probable latent from 8 starts. AutoFlow: its mean from that of NUTS, and the ratio of their "
        f"sds, over {BY_FLOW} images. torch {torch.__version__}, pyro {pyro.__version__}.",
        "",
        "| task | pixels | 90 % intervals cover | error | mean image | MAP | AutoFlow, NUTS | least ESS |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in TASKS:
        lines.append(solve(name, vae, options.images, options.samples, options.out))
        print(lines[-1], flush=True)
        (options.out / "inverse_problems.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
