"""Run tutorials in full and keep what they print and draw, for the documentation.

``python scripts/render_tutorials.py [NAME ...]``; all of them by default. Of each the printed text goes cell
by cell into ``docs/tutorials/NAME.json``, with the CPU time and a checksum of its code, and the pictures go
into ``docs/pictures/tutorials``. ``make docs`` makes pages of them; a test compares the checksums.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES, PICTURES = ROOT / "docs" / "tutorials", ROOT / "docs" / "pictures" / "tutorials"
sys.path.insert(0, str(ROOT / "docs"))

from tutorial_pages import cells_of, checksum  # noqa: E402


class Printed(io.StringIO):
    """What a tutorial prints, as a terminal would show it."""

    encoding = "utf-8"


def render(name: str) -> None:
    """Run one tutorial in this process, cell by cell."""
    script = ROOT / "tutorials" / f"{name}.py"
    source = script.read_text()
    PICTURES.mkdir(parents=True, exist_ok=True)
    PAGES.mkdir(parents=True, exist_ok=True)
    drawn_in = Path(tempfile.mkdtemp())  # its own: nothing else draws there
    os.environ["PYRO_DGM_OUT"] = str(drawn_in)
    os.environ.pop("PYRO_DGM_FAST", None)
    names: dict[str, object] = {"__name__": "__main__", "__file__": str(script)}
    found: dict[str, dict[str, object]] = {}
    start = time.process_time()
    for number, cell in enumerate(cells_of(source)):
        if cell.markdown:
            continue
        before = {path: path.stat().st_mtime_ns for path in drawn_in.glob("*.png")}
        printed = Printed()
        with contextlib.redirect_stdout(printed):
            exec(compile(cell.text, str(script), "exec"), names)
        new = [p for p in drawn_in.glob("*.png") if before.get(p) != p.stat().st_mtime_ns]
        output = printed.getvalue().replace(str(drawn_in), "runs/tutorials").replace(str(ROOT), ".")
        if output or new:
            drawn = [p.name for p in sorted(new, key=lambda p: p.stat().st_mtime_ns)]
            found[str(number)] = {"output": output, "pictures": drawn}
    for picture in drawn_in.glob("*.png"):
        shutil.copy(picture, PICTURES / picture.name)
    shutil.rmtree(drawn_in)
    import torch

    record = {
        "code_sha256": checksum(source),
        "cpu_seconds": round(time.process_time() - start),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, one thread",
        "cells": found,
    }
    (PAGES / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(f"{name}: {record['cpu_seconds']} CPU-seconds", flush=True)


def main() -> int:
    """Render the tutorials that are named, each in a process of its own."""
    if sys.argv[1:2] == ["--here"]:
        render(sys.argv[2])
        return 0
    names = sys.argv[1:] or sorted(path.stem for path in (ROOT / "tutorials").glob("*.py"))
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    failed = [
        name
        for name in names
        if subprocess.run([sys.executable, __file__, "--here", name], env=environment, check=False).returncode
    ]
    if failed:
        print(f"These did not run to their end: {', '.join(failed)}.")
    return len(failed) > 0


if __name__ == "__main__":
    raise SystemExit(main())
