"""The intrinsic dimension of MNIST at several scales, and of data whose dimension is known.

``python -m benchmarks.intrinsic_dimension --data-root DIR`` (a few CPU-minutes)

Three draws of 10 000 random training images; two moons, whose noise makes them two-dimensional and whose
arcs are lines once the noise is narrower than the distance of neighbours; images that a network of two
latents made; and evenly spaced points, which are refused.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from pathlib import Path

import torch
from torch import Tensor

from pyro_dgm import data, nets
from pyro_dgm.diagnostics import levina_bickel, two_nn
from pyro_dgm.errors import DataError

NEIGHBOURS = (3, 5, 10, 20)


def known() -> dict[str, tuple[Tensor, str]]:
    """Data sets with the dimension that they have."""
    torch.manual_seed(0)
    moons = {f"two moons, noise {noise}": (data.two_moons(noise), "2") for noise in (0.05, 0.005)}
    arcs = data.two_moons(1e-5).sample(5000, seed=0)
    cube = torch.rand(5000, 10) @ torch.randn(10, 50)
    network = nets.ConvDecoder(2, (1, 28, 28), output="sigmoid").eval()
    with torch.no_grad():
        made = network(torch.randn(5000, 2))
    return {
        **{name: (target.sample(5000, seed=0), dim) for name, (target, dim) in moons.items()},
        "two moons, noise 0.00001": (arcs, "1, at the scale of neighbours"),
        "a cube of 10 dimensions in 50": (cube, "10"),
        "images of two latents, untrained network": (made, "2"),
    }


def row(name: str, rows: Tensor, truth: str) -> str:
    """One line of the table."""
    found = [two_nn(rows), *(levina_bickel(rows, k=k) for k in NEIGHBOURS)]
    cells = [f"{each.value:.2f} ± {each.standard_error:.2f}" for each in found]
    duplicates = found[0].num_duplicates
    return "| " + " | ".join([name, truth, *cells, str(duplicates)]) + " |"


def refused() -> str:
    """What is said of evenly spaced points."""
    t = torch.linspace(0, math.pi, 2000, dtype=torch.double)
    try:
        value = two_nn(torch.stack((t.cos(), t.sin()), 1)).value
    except DataError as error:
        return f"Evenly spaced points of an arc: {error}"
    return f"Evenly spaced points of an arc: {value}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="The intrinsic dimension of MNIST, and of known data.")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--num", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, start = data.mnist(options.data_root).train, time.process_time()
    lines = ["| data | dimension | TwoNN | " + " | ".join(f"LB, k = {k}" for k in NEIGHBOURS) + " | copies |"]
    lines.append("|" + "---|" * (len(NEIGHBOURS) + 4))
    for seed in options.seeds:
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[: options.num]
        lines.append(row(f"MNIST, {options.num} images, draw {seed}", images[chosen], ""))
        print(lines[-1], flush=True)
    for name, (rows, truth) in known().items():
        lines.append(row(name, rows, truth))
        print(lines[-1], flush=True)
    head = (
        f"`python -m benchmarks.intrinsic_dimension`, torch {torch.__version__}, Python "
        f"{platform.python_version()}, one thread, {time.process_time() - start:.0f} CPU-seconds. Value and "
        "standard error; LB: Levina and Bickel's, inverse values averaged; copies: rows left out."
    )
    text = "\n".join([head, "", *lines, "", refused(), ""])
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "intrinsic_dimension.md").write_text(text)


if __name__ == "__main__":
    main()
