import csv
import math

import pytest

from pyro_dgm.errors import OutputError, UnknownNameError
from pyro_dgm.training import History, fit
from tests.training.toys import Mean, rows


@pytest.fixture
def history() -> History:
    return fit(Mean(), rows(), steps=6, validation=rows(9), validate_every=3, keep_best=False, progress=False)


def test_a_row_a_step_with_the_values_before_its_update(history):
    assert history.steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert history.losses[0] == pytest.approx(0.5 * rows().square().sum(-1).mean().item())
    assert set(history.columns) == {"loss", "grad_norm", "lr", "seconds", "validation_loss"}


def test_rows_can_be_thinned():
    history = fit(Mean(), rows(), steps=7, log_every=3, progress=False)
    assert history.steps.tolist() == [0, 3, 6]
    assert history.num_steps == 7


def test_what_was_not_measured_is_nan(history):
    measured = [not math.isnan(value) for value in history["validation_loss"]]
    assert measured == [False, False, True, False, False, True]


def test_the_terms_of_an_objective_are_columns():
    class Terms(Mean):
        def forward(self, batch):
            loss = super().forward(batch)
            self.terms = {"penalty_cost": loss.detach() / 2}
            return loss

    history = fit(Terms(), rows(), steps=2, progress=False)
    assert history["penalty_cost"] == pytest.approx(history.losses / 2)


def test_an_unknown_column_suggests_the_nearest(history):
    with pytest.raises(UnknownNameError, match="did you mean 'loss'"):
        history["los"]


def test_the_frame_holds_the_table(history):
    pytest.importorskip("pandas")
    frame = history.to_frame()
    assert frame["loss"].tolist() == history.losses.tolist()
    assert frame.index.tolist() == history.steps.tolist()


def test_the_csv_holds_the_table_to_the_bit(history, tmp_path):
    history.to_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in table] == history.losses.tolist()
    assert [row["validation_loss"] != "" for row in table] == [False, False, True, False, False, True]


def test_a_csv_that_cannot_be_written_is_an_output_error(history, tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        history.to_csv(tmp_path / "nowhere" / "history.csv")


def test_the_plot_has_a_curve_for_training_and_one_for_validation(history):
    ax = history.plot()
    assert [line.get_label() for line in ax.lines] == ["loss", "validation_loss"]
    assert len(ax.lines[1].get_xdata()) == 2


def test_it_says_how_the_run_ended(history):
    assert repr(history).startswith("<History: done after 6 steps in ")
    assert "best validation loss" in repr(history)
    assert history.seconds > 0
    assert history.cpu_seconds > 0


def test_a_notebook_shows_a_curve_and_a_table(history):
    html = history._repr_html_()
    assert "<svg" in html
    assert "<th>validation_loss</th>" in html
    assert "nan" not in html
    assert History()._repr_html_().startswith("<div>")
