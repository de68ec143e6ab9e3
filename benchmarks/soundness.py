"""Is every flow a density, after training, on every kind of data? ``python -m benchmarks.soundness``.

Every flow trains from its default settings, by ``fit`` with its own, on planar targets of known density, and
1000 steps on data that nobody has scaled: moons of noise 0.01, moons in units of 100, a constant column, and
tails of a Student t with two degrees of freedom. A loss, gradient, density or draw that is not finite is an
error. Measured are the mass of exp(log_prob), the distance of J_ML from the entropy, the log-determinant
against autograd, and both round trips for inputs of scale 3. Beside those in single precision stands what
cannot be avoided: the error of the exact map (in double precision) when only the value in between is rounded.
For those in double precision it is what the Jacobian makes of one rounding of the value in between.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import StudentT

from benchmarks.every_flow import FLOWS, at_rest
from pyro_dgm.data import Target2D, checkerboard, eight_gaussians, two_moons, uniform_square
from pyro_dgm.diagnostics.change_of_variables import batched_jacobian
from pyro_dgm.diagnostics.quadrature import integrate_density
from pyro_dgm.flows import Flow
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.training import fit
from pyro_dgm.transforms import Bijection

RESULTS = Path(__file__).parent / "results"
SOLVED = ("OTFlow", "CNF", "FFJORD")  # exact up to the steps of their solver
INTEGRALS = ("UNAF", *SOLVED)  # whose densities take long


class Rows(NamedTuple):
    """Something to train on: how to draw it, its entropy in nats if it has one, and for how many steps."""

    draw: Callable[[int], Tensor]
    entropy: float | None
    steps: int


def known(target: Target2D, scale: float = 1.0, steps: int = 300) -> Rows:
    """A planar target, in other units."""
    return Rows(lambda n: scale * target.sample(n), target.entropy + 2 * math.log(scale), steps)


def beside_a_constant(n: int) -> Tensor:
    """Normal numbers and a column that is always 3."""
    return torch.stack((torch.randn(n), torch.full((n,), 3.0)), 1)


T2_ENTROPY = 1.5 * (torch.digamma(torch.tensor(1.5)) - torch.digamma(torch.tensor(1.0))).item() + math.log(
    math.sqrt(2) * math.exp(math.lgamma(1.0) + math.lgamma(0.5) - math.lgamma(1.5))
)
DATA: dict[str, Rows] = {
    "moons": known(two_moons(0.05)),
    "wide moons": known(two_moons(0.2)),
    "uniform square": known(uniform_square()),
    "eight Gaussians": known(eight_gaussians()),
    "checkerboard": known(checkerboard()),
    "moons of noise 0.01": known(two_moons(0.01), 1.0, 1000),
    "moons times 100": known(two_moons(0.05), 100.0, 1000),
    "a constant column": Rows(beside_a_constant, None, 1000),
    "Student t, 2 degrees": Rows(lambda n: StudentT(2.0).sample(torch.Size([n, 2])), 2 * T2_ENTROPY, 1000),
}


def trained(make: Callable[[], Flow], rows: Rows, seed: int) -> Flow:
    """A flow from default settings, trained by the default settings of ``fit``."""
    torch.manual_seed(seed)
    flow, x = make(), rows.draw(10_000)
    history = fit(NormalizingFlow(flow), x, steps=rows.steps, seed=seed, progress=False)
    if history.num_steps != rows.steps or not torch.tensor(history.losses).isfinite().all():
        raise RuntimeError(f"training ended after {history.num_steps} steps: {history.stopped}")
    return at_rest(flow, x)


def worst(value: Tensor, again: Tensor) -> float:
    """The largest error relative to max(1, |value|)."""
    error = ((again - value).abs() / value.abs().clamp_min(1)).max()
    return error.item() if error.isfinite() else math.inf


@torch.no_grad()
def round_trips(flow: Flow, x: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """The largest relative errors of latents and of data for inputs ``x``; ``dtype`` rounds between."""
    t = flow.transform()
    return worst(x, t.inv(t(x).to(dtype).to(x))), worst(x, t(t.inv(x).to(dtype).to(x)))


def against_rounding(t: Bijection, x: Tensor) -> float:
    """The largest error of a round trip, of those above 1e-10, over what one rounding in between makes.

    That is, with latents ``x`` and data ``y``, ``eps |dx/dy| max(1, |y|)`` for latents, to first order, and
    the same with the two exchanged for data; zero if no error is above 1e-10.
    """
    largest, eps = 0.0, torch.finfo(x.dtype).eps
    for back in (False, True):
        with torch.no_grad():
            between = t.inv(x) if back else t(x)
            again = t(between) if back else t.inv(between)
        jacobian = batched_jacobian(t, between if back else x)[1]  # of data with respect to latents
        to_start = jacobian if back else torch.linalg.inv(jacobian)
        rounding = eps * (to_start.abs() @ between.abs().clamp_min(1).unsqueeze(-1)).squeeze(-1)
        error = (again - x).abs().nan_to_num(nan=math.inf)
        above = error > 1e-10 * x.abs().clamp_min(1)
        if above.any():
            largest = max(largest, (error / rounding)[above].max().item())
    return largest


def measured(flow: Flow, rows: Rows, max_points: int) -> dict[str, float]:
    """What mathematics demands of a density, of one flow."""
    double, x = copy.deepcopy(flow).double(), 3 * torch.randn(1000, 2)
    with torch.no_grad():
        test, t = rows.draw(20_000), double.transform()
        surprise = -flow().log_prob(test).double()
        drawn = flow().sample((4000,))
        if not (surprise.isfinite().all() and drawn.isfinite().all()):
            raise RuntimeError("a density or a draw is not finite")
        mass = integrate_density(lambda y: double().log_prob(y), drawn, tolerance=3e-4, max_points=max_points)
    single, exact = round_trips(flow, x, x.dtype), round_trips(double, x.double(), torch.double)
    rounded = round_trips(double, x.double(), torch.float)
    points = torch.randn(50, 2, dtype=torch.double) * torch.tensor([1.0, 3.0]).double().repeat(25)[:, None]
    jacobian = batched_jacobian(t, points)[1]
    gap = (t.call_and_ladj(points)[1] - torch.linalg.slogdet(jacobian).logabsdet).abs().max().item()
    return {
        "j_ml": surprise.mean().item(),
        "error": surprise.std().item() / math.sqrt(len(surprise)),
        "mass": mass.mass,
        "mass_error": mass.error,
        "log_det": gap,
        "latent_32": single[0],
        "data_32": single[1],
        "both_64": max(exact),
        "over_rounding": 0.0 if max(exact) <= 1e-10 else against_rounding(t, x.double()),
        "latent_rounded": rounded[0],
        "data_rounded": rounded[1],
    }


def missed(run: dict[str, Any]) -> list[str]:
    """The bars that a run misses, in words."""
    if "failure" in run:
        return [run["failure"]]
    solved = run["flow"] in SOLVED
    gap = math.inf if run["entropy"] is None else run["j_ml"] - run["entropy"]
    bars = {
        "J_ML below H(X)": gap < -3 * run["error"],
        "mass": abs(run["mass"] - 1) > 1e-3 + run["mass_error"],
        "log-det": not solved and run["log_det"] > 1e-5,
        "round trip, double": run["both_64"] > (1e-3 if solved else 1e-10)
        and (solved or run.get("over_rounding", math.inf) > 30),
        "round trip, single": any(
            run[f"{side}_32"] > (1e-3 if solved else 1e-5) + 30 * run[f"{side}_rounded"]
            for side in ("latent", "data")
        ),
    }
    return [bar for bar, is_missed in bars.items() if is_missed]


def _times(runs: list[dict[str, Any]]) -> str:
    """How many times one rounding in between the largest error above 1e-10 is."""
    found = [run["over_rounding"] for run in runs if run.get("over_rounding")]
    return f"{max(found):.1f} times" if found else ""


def table(runs: list[dict[str, Any]]) -> str:
    """A line a flow with the worst over the data, then every bar that is missed."""
    lines = [
        "| flow | runs | not finite | least (J_ML - H) / SE | largest abs(mass - 1) | log-det "
        "| float64: above 1e-10 | largest | of one rounding "
        "| float32: above 1e-5 | largest | by one rounding |",
        "|---" * 12 + "|",
    ]
    for name in {run["flow"]: 0 for run in runs}:
        done = [run for run in runs if run["flow"] == name and "failure" not in run]
        failures = sum(run["flow"] == name for run in runs) - len(done)
        if not done:
            lines.append(f"| {name} | {failures} | {failures} |" + " |" * 9)
            continue
        gaps = [(r["j_ml"] - r["entropy"]) / r["error"] for r in done if r["entropy"] is not None]
        z = min(gaps, default=math.nan)
        off = max(abs(r["mass"] - 1) for r in done)
        figures = f"{max(r['log_det'] for r in done):.0e} | {sum(r['both_64'] > 1e-10 for r in done)} | "
        figures += f"{max(r['both_64'] for r in done):.0e} | {_times(done)}"
        single = [(r[f"{side}_32"], r[f"{side}_rounded"]) for r in done for side in ("latent", "data")]
        above = sum(max(r["latent_32"], r["data_32"]) > 1e-5 for r in done)
        figures += f" | {above} | {max(single)[0]:.0e} | {max(single)[1]:.0e}"
        lines.append(f"| {name} | {len(done) + failures} | {failures} | {z:.1f} | {off:.1e} | {figures} |")
    lines += ["", "Bars missed (round trips: by more than 30 times what one rounding in between makes):", ""]
    for run in runs:
        for bar in missed(run):
            figures = {k: f"{v:.3g}" for k, v in run.items() if isinstance(v, float) and k != "seconds"}
            lines.append(f"- {run['flow']}, {run['data']}: {bar}; {figures}".replace("'", ""))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flows", nargs="*", default=list(FLOWS))
    parser.add_argument("--data", nargs="*", default=list(DATA))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-points", type=int, default=150_000, help="of each integration")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="folder for table and JSON; runs there stay"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = arguments.out / "soundness.json"
    runs: list[dict[str, Any]] = json.loads(kept.read_text())["runs"] if kept.exists() else []
    versions = {name: version(name) for name in ("torch", "pyro-ppl")} | {"machine": platform.machine()}
    for data, name in [(data, name) for data in arguments.data for name in arguments.flows]:
        if any((r["flow"], r["data"], r["seed"]) == (name, data, arguments.seed) for r in runs):
            continue
        rows, start = DATA[data], time.process_time()
        run: dict[str, Any] = {"flow": name, "data": data, "seed": arguments.seed, "entropy": rows.entropy}
        try:
            points = arguments.max_points // (4 if name in INTEGRALS else 1)
            run |= measured(trained(FLOWS[name], rows, arguments.seed), rows, points)
        except Exception as error:  # a failure is a finding
            run["failure"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        run["seconds"] = round(time.process_time() - start, 1)
        print(run, missed(run), flush=True)
        runs.append(run)
        head = (
            f"Every flow from default settings after training, `python -m benchmarks.soundness`; {versions}"
        )
        note = "J_ML in nats; log-det and mass in double precision; errors relative to max(1, abs(value))."
        (arguments.out / "soundness.md").write_text(f"{head}\n\n{note}\n\n{table(runs)}\n")
        kept.write_text(json.dumps({"environment": versions, "runs": runs}, indent=1) + "\n")
    print(table(runs))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
