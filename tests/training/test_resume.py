import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pyro_dgm.data import two_moons
from pyro_dgm.errors import CheckpointError, OutputError
from pyro_dgm.training import fit, latest_checkpoint, load_weights
from tests.training.families import FAMILIES, flow, numbers, rows, vae
from tests.training.toys import Mean, same

OPTIONS = {"steps": 9, "batch_size": 16, "seed": 3, "progress": False}


class Noisy(Dataset):
    """Rows with noise that is drawn from the global generator when they are read."""

    def __len__(self):
        return 50

    def __getitem__(self, i):
        return rows()[i] + torch.randn(2, dtype=torch.double)


DATA = {
    "rows": rows,
    "fresh rows": two_moons,
    "a loader": lambda: DataLoader(TensorDataset(rows()), batch_size=16, shuffle=True),
    "a loader that draws": lambda: DataLoader(Noisy(), batch_size=16, shuffle=True),
    "a data set that draws": Noisy,
}


def stopped_at(steps):
    """A callback that ends the run as a signal would, between two steps."""
    return lambda state: state.stop("interrupted") if state.step == steps else None


def broken_and_resumed(make, data, folder, breaks=(4, 6), **options):
    """Train with breaks, each time in a fresh objective, as a new process would."""
    for at in (*breaks, 10**9):
        objective = make()
        torch.manual_seed(99)
        history = fit(
            objective, data(), checkpoint=folder, resume=True, callbacks=[stopped_at(at)], **OPTIONS | options
        )
    return objective, history


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(family, data, tmp_path):
    make = FAMILIES[family]
    whole = make()
    expected = fit(whole, data(), **OPTIONS)
    resumed, history = broken_and_resumed(make, data, tmp_path)
    assert same(numbers(resumed), numbers(whole))
    assert history.num_steps == 9
    for name in expected.columns:
        if name != "seconds":
            assert np.array_equal(history[name], expected[name], equal_nan=True)


@pytest.mark.parametrize("schedule", [None, "cosine", "one-cycle"])
@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("optimizer", [None, lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9)])
def test_schedule_average_best_weights_and_momentum_are_resumed(schedule, average, optimizer, tmp_path):
    options = {
        "schedule": schedule,
        "average": average,
        "optimizer": optimizer,
        "validation": torch.zeros(6, 2).double(),  # the best weights are the first
        "validate_every": 2,
        "patience": 50,
    }
    whole = vae()
    expected = fit(whole, rows(), **OPTIONS | options)
    resumed, history = broken_and_resumed(vae, rows, tmp_path, **options)
    assert same(numbers(resumed), numbers(whole))
    assert (history.best_step, history.best_loss) == (expected.best_step, expected.best_loss)


def test_early_stopping_counts_on_across_a_break(tmp_path):
    options = {"validation": torch.zeros(4, 2).double(), "validate_every": 2, "patience": 3}
    _, history = broken_and_resumed(Mean, rows, tmp_path, steps=99, **options)
    assert (history.stopped, history.num_steps) == ("early stopping", 6)
    _, again = broken_and_resumed(Mean, rows, tmp_path, steps=99, **options)
    assert (again.stopped, again.num_steps) == ("early stopping", 6)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, second = flow(), flow(seed=1)
    fit(first, rows(), checkpoint=tmp_path, **OPTIONS)
    history = fit(second, rows(), checkpoint=tmp_path, resume=True, **OPTIONS)
    assert same(numbers(first), numbers(second))
    assert (history.stopped, history.num_steps, len(history)) == ("done", 9, 9)


def test_a_finished_run_can_be_prolonged_with_a_warning(tmp_path):
    whole, resumed = flow(), flow()
    fit(whole, rows(), **OPTIONS)
    fit(resumed, rows(), checkpoint=tmp_path, **OPTIONS | {"steps": 5})
    with pytest.warns(UserWarning, match="steps was 5 and is 9"):
        fit(resumed, rows(), checkpoint=tmp_path, resume=True, **OPTIONS)
    assert same(numbers(resumed), numbers(whole))  # without a schedule the end does not matter


def test_any_checkpoint_gives_the_model_its_weights(tmp_path):
    trained, fresh = vae(), vae(seed=5)
    fit(trained, rows(), checkpoint=tmp_path, **OPTIONS)
    load_weights(latest_checkpoint(tmp_path), fresh.model)
    assert same(numbers(fresh), numbers(trained))


def test_the_last_few_checkpoints_are_kept_and_the_best(tmp_path):
    kept, best = flow(), flow(seed=5)
    history = fit(
        kept, rows(), checkpoint=tmp_path, every=2, keep=3, validation=rows(7), validate_every=2, **OPTIONS
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best", "step-0000000006", "step-0000000008", "step-0000000009"]
    load_weights(tmp_path / "best", best.model)
    assert history.best_step is not None
    assert same(numbers(best), numbers(kept))


def test_without_resume_an_earlier_run_is_not_overwritten(tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path, **OPTIONS)
    before = flow()
    with pytest.raises(OutputError, match="resume=True"):
        fit(before, rows(), checkpoint=tmp_path, **OPTIONS)
    assert same(numbers(before), numbers(flow()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed was 3 and is 4"),
        ({"batch_size": 8}, "batch_size was 16 and is 8"),
        ({"average": 0.9}, "average was None and is 0.9"),
        ({"optimizer": torch.optim.SGD}, "optimizer was None and is 'SGD'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(change, message, tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path, **OPTIONS)
    other = flow()
    with pytest.raises(CheckpointError, match=message):
        fit(other, rows(), checkpoint=tmp_path, resume=True, **OPTIONS | change)
    assert same(numbers(other), numbers(flow()))


def test_other_data_are_refused_unless_forced(tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path, **OPTIONS)
    other = rows()
    other[3, 1] += 1e-12
    with pytest.raises(CheckpointError, match="data was '50 rows, sha256"):
        fit(flow(), other, checkpoint=tmp_path, resume=True, **OPTIONS)
    assert fit(flow(), other, checkpoint=tmp_path, resume="force", **OPTIONS).num_steps == 9


def test_another_architecture_is_refused_and_changes_nothing(tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path, **OPTIONS)
    other = flow(dtype=torch.float32)
    with pytest.raises(CheckpointError, match=r"torch\.float32 in the module"):
        fit(other, rows().float(), checkpoint=tmp_path, resume="force", **OPTIONS)
    assert same(numbers(other), numbers(flow(dtype=torch.float32)))


def test_resume_needs_a_folder():
    with pytest.raises(ValueError, match="need checkpoint="):
        fit(flow(), rows(), resume=True, **OPTIONS)


def test_a_flip_of_any_byte_of_a_checkpoint_is_refused_and_changes_nothing(tmp_path):
    fit(flow(), rows(), checkpoint=tmp_path, **OPTIONS)
    for file in sorted(latest_checkpoint(tmp_path).iterdir()):
        content = file.read_bytes()
        for position in range(0, len(content), len(content) // 6):
            damaged = bytearray(content)
            damaged[position] ^= 1
            file.write_bytes(damaged)
            other = flow(seed=1)
            with pytest.raises(CheckpointError, match=r"damaged|refused|format|missing"):
                fit(other, rows(), checkpoint=tmp_path, resume=True, **OPTIONS)
            assert same(numbers(other), numbers(flow(seed=1)))
        file.write_bytes(content)


def test_another_number_of_processes_goes_on_with_a_warning(tmp_path):
    from pyro_dgm.training import read_checkpoint
    from pyro_dgm.training.checkpoint import write_run
    from pyro_dgm.training.state_tree import flatten

    fit(flow(), rows(), checkpoint=tmp_path, **OPTIONS | {"steps": 4})
    run, model = latest_checkpoint(tmp_path), flow().model
    manifest, state = read_checkpoint(run, model)
    state["random"] = state["random"] * 2  # as two processes write it
    plain, tensors = flatten(state)
    load_weights(run, model)
    parts = {"weights": model.state_dict(), "state": tensors}
    write_run(run, parts, config=manifest.config | {"processes": 2}, extra={"state": plain})
    again = flow(seed=1)
    with pytest.warns(UserWarning, match="processes was 2 and is 1"):
        history = fit(again, rows(), checkpoint=tmp_path, resume=True, **OPTIONS)
    assert (history.stopped, history.num_steps) == ("done", 9)
