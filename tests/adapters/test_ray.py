"""The documented Ray script trains on two workers what one process trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyro_dgm.flows import RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.objectives import ELBO
from pyro_dgm.training import fit, load_weights

pytest.importorskip("ray.train", reason="pip install pyro-dgm[adapters], or: make adapters-check")
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "adapters" / "ray_example.py"
STEPS = 100


def rows() -> torch.Tensor:
    return 2 + 0.5 * torch.randn(500, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def objective() -> ELBO:
    torch.manual_seed(0)
    return ELBO(NormalizingFlow(RealNVP(2, num_layers=4, hidden_dims=(32,)))).double()


@pytest.mark.slow
def test_two_workers_of_ray_train_what_one_process_does(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "300"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("'workers': 2") == 2, done.stdout[-2000:]
    alone, of_fit, of_loop = objective(), objective(), objective()
    fit(alone, rows(), steps=STEPS, batch_size=100, lr=1e-2, progress=False)
    load_weights(tmp_path / "fit", of_fit.model)
    load_weights(tmp_path / "loop", of_loop.model)
    for one, two in zip(alone.parameters(), of_fit.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-8)
    optimizer = torch.optim.Adam((plain := objective()).parameters(), lr=1e-2)
    for step in range(STEPS):
        batch = rows()[torch.randperm(500, generator=torch.Generator().manual_seed(step))[:100]]
        optimizer.zero_grad()
        plain(batch).backward()
        optimizer.step()
    for one, two in zip(plain.parameters(), of_loop.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-8)
