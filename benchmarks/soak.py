"""The batteries that take hours: run the tests marked ``soak``, and write down what came out.

    python -m benchmarks.soak                          all of them
    python -m benchmarks.soak tests/faults tests/contract

Each test file runs in a process of its own; its lines in ``benchmarks/results/soak.txt`` are replaced, those
of files that were not run stay.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "soak.txt"
HEAD = "What `python -m benchmarks.soak` saw: tests marked soak, by file"


def files_with_soak(paths: list[str]) -> list[Path]:
    """The test files below the paths that have tests marked so."""
    found = {
        f for path in paths for f in ([Path(path)] if path.endswith(".py") else Path(path).rglob("test_*.py"))
    }
    return sorted(file for file in found if "mark.soak" in file.read_text(encoding="utf-8"))


def run(file: Path) -> list[str]:
    """Run the soak tests of a file; return the lines that say what came out."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", str(file), "-m", "soak", "--timeout", "0", "-q"]
        command += ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}"]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    lines = [f"{file}: {passed} of {counts['tests']} passed in {float(suite.get('time', 0)):.0f} s"]
    for case in suite.iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        said = "; ".join(f"{p.get('name')}: {p.get('value')}" for p in case.iter("property"))
        if failed or said:
            lines.append(f"  {'FAILED ' if failed else ''}{case.get('name')}{f' ({said})' if said else ''}")
    return lines


def merged(old: str, new: dict[str, list[str]], about: str) -> str:
    """The text with the lines of some files replaced."""
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in old.splitlines():
        if line.startswith("tests/"):
            name = line.split(":")[0]
            blocks[name] = [line]
        elif line.startswith("  ") and name:
            blocks[name].append(line)
    blocks |= new
    body = [line for name in sorted(blocks) for line in blocks[name]]
    return "\n".join([HEAD, about, "", *body, ""])


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=["tests"])
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    about = f"Python {platform.python_version()}, torch {version('torch')}, pyro {version('pyro-ppl')}"
    for file in files_with_soak(arguments.paths):
        lines = run(file)
        print("\n".join(lines), flush=True)
        old = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
        arguments.out.write_text(merged(old, {str(file): lines}, about), encoding="utf-8")


if __name__ == "__main__":
    main()
