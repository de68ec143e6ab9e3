"""Workers of a DataLoader, and data sets, that fail."""

import gc
import os
import signal
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pyro_dgm.errors import DataError
from pyro_dgm.training import fit
from tests.training.toys import Mean, rows, same, weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed <socket:ResourceWarning"),
]
OPTIONS = {"steps": 6, "progress": False}


@pytest.fixture(autouse=True)
def half_made_connections_are_gone():
    """Torch's connection to a worker that died is closed by the garbage collector, which says so."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Rows(Dataset):
    """Fifty rows, one of which does something."""

    def __init__(self, at=None, action=None):
        self.at, self.action = at, action

    def __len__(self):
        return 50

    def __getitem__(self, i):
        if i == self.at:
            self.action()
        return rows()[i] + torch.randn(2, dtype=torch.double)


def raise_mine():
    raise KeyError("mine")


def use_the_gpu():
    raise RuntimeError(
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the "
        "'spawn' start method"
    )


def loader(dataset, workers=1):
    return DataLoader(
        dataset, batch_size=8, num_workers=workers, multiprocessing_context="fork" if workers else None
    )


@pytest.mark.parametrize("how", ["exits", "is killed"])
def test_a_worker_that_dies_is_an_error_that_says_so(how):
    ways = {"exits": lambda: os._exit(3), "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL)}
    loss, before = Mean(), []
    with pytest.raises(DataError, match=r"worker process of the DataLoader died.*step [0-3] .*num_workers=0"):
        fit(
            loss,
            loader(Rows(25, ways[how])),
            callbacks=[lambda state: before.append(weights(loss))],
            **OPTIONS,
        )
    assert same(weights(loss), before[-1] if before else weights(Mean()))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_data_set_raises_comes_through_with_its_kind(workers):
    with pytest.raises(KeyError, match="mine"):
        fit(Mean(), loader(Rows(9, raise_mine), workers), **OPTIONS)


def test_a_data_set_that_fit_reads_itself_names_the_row():
    with pytest.raises(KeyError, match="mine") as caught:
        fit(Mean(), Rows(31, raise_mine), **OPTIONS)
    assert "row 31" in caught.value.__notes__[0]


def test_the_accelerator_in_a_forked_worker_is_answered_with_spawn():
    with pytest.raises(DataError, match="multiprocessing_context='spawn'"):
        fit(Mean(), loader(Rows(9, use_the_gpu)), **OPTIONS)


def test_workers_draw_numbers_of_their_own_that_the_seed_decides():
    def drawn(seed):
        loss = Mean()
        fit(loss, loader(Rows(), workers=2), seed=seed, **OPTIONS)
        return torch.cat([batch.x for batch in loss.batches])

    first, second, other = drawn(0), drawn(0), drawn(1)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    noise = first - torch.cat([rows()[:48]])
    assert len(noise.flatten().unique()) == noise.numel()  # no two workers have the same
