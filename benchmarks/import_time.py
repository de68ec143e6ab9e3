"""Compare the time of ``import pyro_dgm`` with that of ``import pyro``.

Run ``python -m benchmarks.import_time``. Each round starts one fresh interpreter per import, in turn, so that
a busy machine slows all of them alike. CPU seconds of the import statement alone are compared, and medians
over the rounds are printed. The package itself imports next to nothing, so the rooms below the command line
are imported too; the bar, at most 1.2 times ``import pyro``, holds for both.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

BAR = 1.2
ROOMS = (
    "pyro_dgm.transforms, pyro_dgm.flows, pyro_dgm.models, pyro_dgm.guides, pyro_dgm.objectives, "
    "pyro_dgm.training, pyro_dgm.data, pyro_dgm.metrics, pyro_dgm.diagnostics, pyro_dgm.plotting"
)
STATEMENTS = {"pyro": "import pyro", "pyro_dgm": "import pyro_dgm", "its rooms": f"import {ROOMS}"}


def import_seconds(statement: str) -> float:
    """CPU seconds that one import statement takes in a fresh interpreter."""
    code = f"import time; start = time.process_time(); {statement}; print(time.process_time() - start)"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Measure, print a table, and fail where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    for statement in STATEMENTS.values():
        import_seconds(statement)  # fills the file cache and writes the bytecode
    seconds = [{name: import_seconds(s) for name, s in STATEMENTS.items()} for _ in range(rounds)]
    ratios = {name: median(row[name] / row["pyro"] for row in seconds) for name in STATEMENTS}
    for name, ratio in ratios.items():
        taken = median(row[name] for row in seconds)
        print(f"import {name:10} {taken:6.2f} s   {ratio:5.2f} of import pyro")
    worst = max(ratios.values())
    print(f"bar {BAR}: {'met' if worst <= BAR else 'missed'} (median over {rounds} rounds)")
    sys.exit(worst > BAR)


if __name__ == "__main__":
    main()
