"""Race the flows of pyro_dgm against its peers' and against plain PyTorch: ``python -m benchmarks.flows``.

One thread, CPU time, the same hidden sizes, layers and bins for all. Pieces of work run in turn, many short
runs, in another order in each round, so that a busy machine disturbs all of them alike; a ratio is the median
over the rounds of the ratio within a round. Argument validation is off for all. Train steps are
printed with torch's default Adam for all, and as they come out of the box: our ``fit`` takes fused Adam, the
peers' examples the default. Exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyro
import torch

from benchmarks.flows.through_fit import FIT_BAR, fit_against_plain_loop
from benchmarks.flows.work import PEERS, WORKS, Work, contenders, prepared
from benchmarks.interleaved import interleaved

RESULTS = Path(__file__).parents[1] / "results"


def run(work: Work, rounds: int) -> dict[str, Any]:
    """Time one piece of work and return what was measured."""
    flows = contenders(work.family, work.dim)
    pieces = {name: prepared(work, flow, fused=False) for name, flow in flows.items()}
    if work.fused_bar is not None:
        pieces["ours, fused Adam"] = prepared(work, contenders(work.family, work.dim)["ours"], fused=True)
    if work.family == "planar" or work.what == "train on draws":
        pieces = {name: piece for name, piece in pieces.items() if _runs(piece)}
    seconds = interleaved(pieces, rounds=rounds, seconds=0.01)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best = min((name for name in medians if name in PEERS), key=medians.__getitem__)
    bars = {"ours": work.bar, "ours, fused Adam": work.fused_bar}
    ratios = {
        name: _quartiles([a / b for a, b in zip(seconds[name], seconds[best], strict=True)])
        for name in bars
        if name in seconds
    }
    return {
        "work": str(work),
        "best_peer": best,
        "milliseconds": {name: _quartiles([1e3 * s for s in values]) for name, values in seconds.items()},
        "parameters": {name: flow.num_parameters for name, flow in flows.items()},
        "ratios": {name: {"quartiles": q, "bar": bars[name]} for name, q in ratios.items()},
    }


def _runs(piece: Any) -> bool:
    try:
        piece()
    except NotImplementedError:
        return False
    return True


def _quartiles(values: list[float]) -> list[float]:
    return [round(v, 4) for v in statistics.quantiles(values, n=4)]


def as_rows(result: dict[str, Any]) -> list[str]:
    """The lines of the table for one piece of work."""
    times = ", ".join(f"{name} {q[1]:.2f}" for name, q in result["milliseconds"].items())
    rows = []
    for name, ratio in result["ratios"].items():
        low, mid, high = ratio["quartiles"]
        verdict = "met" if mid <= ratio["bar"] else "MISSED"
        adam = " (out of the box)" if "fused" in name else ""
        rows.append(
            f"| {result['work']}{adam} | {result['best_peer']} | {mid:.2f} ({low:.2f} to {high:.2f}) "
            f"| {ratio['bar']:.2f} | {verdict} | {times} |"
        )
    return rows


def environment() -> dict[str, str]:
    """The versions that the figures belong to."""
    packages = ("torch", "pyro-ppl", "zuko", "nflows", "normflows")
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
    }
    return {name: version(name) for name in packages} | machine | {"load": f"{os.getloadavg()[1]:.1f}"}


def fit_line(ratio: list[float]) -> str:
    """The line of the table for a step through ``fit``."""
    return f"A step through fit against the same flow in a plain loop: {ratio[1]:.2f}, bar {FIT_BAR:.2f}"


def write(
    out: Path, results: list[dict[str, Any]], ratio: list[float] | None, header: list[str], *, afresh: bool
) -> None:
    """Write table and JSON; a run of some of the work replaces the lines of that work."""
    earlier = (
        {} if afresh or not (out / "flows.json").exists() else json.loads((out / "flows.json").read_text())
    )
    by_work = {r["work"]: r for r in [*earlier.get("results", []), *results]}
    results = [by_work[str(work)] for work in WORKS if str(work) in by_work]
    ratio = ratio or earlier.get("fit_against_plain_loop")
    content = {"environment": environment(), "results": results, "fit_against_plain_loop": ratio}
    (out / "flows.json").write_text(json.dumps(content, indent=1) + "\n")
    counts = {r["work"].split(",")[0] + r["work"].split(",")[1]: r["parameters"] for r in results}
    lines = ["# CPU time of flows, one thread", "", *header, *(row for r in results for row in as_rows(r))]
    lines += ["", "" if ratio is None else fit_line(ratio), "", "Parameters:", ""]
    lines += [f"- {name}: {numbers}" for name, numbers in counts.items()]
    lines += ["", f"Versions: {environment()}", ""]
    (out / "flows.md").write_text("\n".join(lines))


def main() -> int:
    """Run the race and write table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument(
        "--only", default="", help="run the work whose name holds this, and replace its lines"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for flows.md and flows.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    header = [
        "| work | best peer | ours / best peer (quartiles) | bar | | CPU milliseconds, medians |",
        "|---|---|---:|---:|---|---|",
    ]
    print(*header, sep="\n")
    results = []
    for work in [work for work in WORKS if arguments.only in str(work)]:
        results.append(run(work, arguments.rounds))
        print(*as_rows(results[-1]), sep="\n", flush=True)
        write(arguments.out, results, None, header, afresh=not arguments.only)
    ratio = _quartiles(fit_against_plain_loop(arguments.rounds)) if arguments.only in "fit" else None
    if ratio is not None:
        print(fit_line(ratio))
    write(arguments.out, results, ratio, header, afresh=not arguments.only)
    missed = [r for r in results for q in r["ratios"].values() if q["quartiles"][1] > q["bar"]]
    return int(bool(missed) or (ratio is not None and ratio[1] > FIT_BAR))


if __name__ == "__main__":
    sys.exit(main())
