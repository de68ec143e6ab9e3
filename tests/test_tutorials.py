"""Every tutorial runs top to bottom in fast mode and ends with its own assertion."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


RENDERED = sorted((ROOT / "docs" / "tutorials").glob("*.json"))
spec = importlib.util.spec_from_file_location("tutorial_pages", ROOT / "docs" / "tutorial_pages.py")
PAGES = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = PAGES  # dataclasses look there
spec.loader.exec_module(PAGES)


def test_text_may_change_and_code_may_not():
    source = "# %% [markdown]\n# One.\n\n# %%\nx = 1\n"
    assert PAGES.checksum(source) == PAGES.checksum(source.replace("One", "Two"))
    assert PAGES.checksum(source) != PAGES.checksum(source.replace("1", "2"))


@pytest.mark.parametrize("path", RENDERED, ids=[path.stem for path in RENDERED])
def test_a_page_of_the_site_shows_the_script_as_it_is(path):
    record, tutorial = json.loads(path.read_text()), ROOT / "tutorials" / f"{path.stem}.py"
    again = f"run: python scripts/render_tutorials.py {tutorial.stem}"
    assert record["code_sha256"] == PAGES.checksum(tutorial.read_text()), again
    pictures = [p for cell in record["cells"].values() for p in cell["pictures"]]
    assert pictures, "the tutorial promises pictures"
    assert all((ROOT / "docs" / "pictures" / "tutorials" / p).exists() for p in pictures), again


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_the_tutorial_runs_and_its_number_holds(tutorial, tmp_path):
    environment = {
        **os.environ,
        "PYRO_DGM_FAST": "1",
        "PYRO_DGM_OUT": str(tmp_path / "pictures"),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(tutorial)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    pictures = list((tmp_path / "pictures").glob("*.png"))
    assert pictures, "the tutorial promises pictures"
    assert all(np.ptp(imread(picture)[..., :3]) > 0.5 for picture in pictures), "a picture is blank"
