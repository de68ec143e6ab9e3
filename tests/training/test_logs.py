import csv

import pytest
import torch

from pyro_dgm.errors import OutputError
from pyro_dgm.training import CSVLog, TensorBoardLog, fit
from tests.training.families import flow, rows
from tests.training.toys import Mean

OPTIONS = {"steps": 9, "batch_size": 16, "progress": False}


def print_nothing(state):
    pass


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_csv_log_has_what_the_history_has(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(Mean(), rows(), **OPTIONS, validation=rows(9), validate_every=4, callbacks=[CSVLog(path)])
    lines = table(path)
    assert [int(line["step"]) for line in lines] == list(range(1, 10))
    assert [float(line["loss"]) for line in lines] == history.losses.tolist()
    assert [line["validation_loss"] != "" for line in lines] == [step in (4, 8) for step in range(1, 10)]
    assert float(lines[3]["validation_loss"]) == history["validation_loss"][3]


def test_the_csv_log_of_a_resumed_run_is_that_of_one_without_a_break(tmp_path):
    stop = lambda state: state.stop("interrupted") if state.step == 5 else None  # noqa: E731
    fit(flow(), rows(), **OPTIONS, callbacks=[CSVLog(tmp_path / "whole.csv"), print_nothing])
    for end in (stop, print_nothing):
        callbacks = [CSVLog(tmp_path / "run.csv"), end]
        fit(flow(), rows(), **OPTIONS, checkpoint=tmp_path / "run", resume=True, callbacks=callbacks)
        with (tmp_path / "run.csv").open("a") as file:
            file.write("77,of a step after the last checkpoint\n" if end is stop else "")
    columns = ("step", "loss", "grad_norm")
    ours, whole = (
        [[line[name] for name in columns] for line in table(tmp_path / f"{name}.csv")]
        for name in ("run", "whole")
    )
    assert ours == whole


def test_a_log_that_cannot_be_written_is_an_error_before_training(tmp_path):
    loss = Mean()
    with pytest.raises(OutputError, match="nowhere"):
        fit(loss, rows(), **OPTIONS, callbacks=[CSVLog(tmp_path / "nowhere" / "log.csv")])
    assert torch.equal(loss.point.detach(), torch.zeros(2).double())


@pytest.mark.slow
def test_tensorboard_gets_the_values(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(Mean(), rows(), **OPTIONS, callbacks=[TensorBoardLog(tmp_path, every=3)])
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [event.step for event in events] == [3, 6, 9]
    assert [event.value for event in events] == pytest.approx(history.losses[[2, 5, 8]], rel=1e-6)
