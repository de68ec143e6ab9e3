"""Weights spread over two processes: trained, saved and taken up again as on one."""

import pytest
import torch

from pyro_dgm.training import fit, load_weights
from tests.distributed.launching import launched
from tests.distributed.sharded_job import MODELS, SHARED, layered, numbers, train
from tests.training.families import gan, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes have left: one launch for all tests."""
    folder = tmp_path_factory.mktemp("sharded")
    done, _ = launched("torchrun", folder, "all", job="sharded_job", seconds=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
@pytest.mark.parametrize("kind", MODELS)
def test_weights_in_parts_train_as_whole_ones_do(kind, dtype, bar, folder):
    both = torch.load(folder / f"{kind}-{dtype}.pt", weights_only=True)
    for one, two in zip(numbers(train(kind, dtype)), both, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=bar)


@pytest.mark.slow
def test_a_sharded_run_is_resumed_and_its_checkpoints_are_whole(folder, tmp_path):
    expected = train("layered", torch.float64, checkpoint=tmp_path, **SHARED)
    resumed = torch.load(folder / "resumed.pt", weights_only=True)
    for one, two in zip(numbers(expected), resumed, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-9)
    saved = sorted(path.name for path in (folder / "run").iterdir())
    assert saved == sorted(path.name for path in tmp_path.iterdir())
    for name in saved:
        own, other = layered().model, layered().model
        load_weights(folder / "run" / name, own)
        load_weights(tmp_path / name, other)
        for one, two in zip(own.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_fault_of_one_process_leaves_whole_finite_weights_on_both(folder):
    assert all((folder / f"diverged-{rank}").exists() for rank in (0, 1))


def test_what_cannot_be_divided_is_refused_on_one_process_too():
    options = {"steps": 1, "progress": False, "shard": True}
    with pytest.raises(ValueError, match="Adversarial steps itself"):
        fit(gan(), rows(), **options)
    objective = layered()
    with pytest.raises(ValueError, match="made already"):
        fit(objective, rows(), optimizer=torch.optim.SGD(objective.parameters(), lr=0.1), **options)
    with pytest.raises(ValueError, match="average=None"):
        fit(objective, rows(), average=0.9, **options)
    assert fit(objective, rows(), **options).num_steps == 1
