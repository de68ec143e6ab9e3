"""Every tutorial runs top to bottom in fast mode and ends with its own assertion."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.py"))


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
