"""The quick tour from end to end, and what its page and numbers promise."""

import csv
import re
import signal
from html.parser import HTMLParser

import pytest
import torch

from pyro_dgm import recipes
from pyro_dgm.cli import main
from pyro_dgm.errors import OutputError, TrainingDiverged
from pyro_dgm.recipes import trial as trial_module
from pyro_dgm.report.tour import tour
from pyro_dgm.report.tour_result import STOPS
from pyro_dgm.training import Every, fit


@pytest.fixture(scope="module")
def visited(tmp_path_factory):
    """A quick tour: its folder, its exit code and what it printed."""
    out = tmp_path_factory.mktemp("tour")
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *args, **_: lines.append(" ".join(map(str, args))))
        code = main(["tour", "--quick", "--out", str(out)])
    return out, code, "\n".join(lines)


@pytest.fixture(scope="module")
def numbers(visited):
    with (visited[0] / "results.csv").open() as file:
        return list(csv.DictReader(file))


def value(numbers, model, quantity):
    (row,) = [row for row in numbers if row["model"] == model and row["quantity"].startswith(quantity)]
    return float(row["value"])


def test_tour_ends_well_and_says_where_its_page_is(visited):
    out, code, text = visited
    assert code == 0
    assert f"page:    {out / 'report.html'}" in text
    assert text.isascii()
    tables = text[text.index("Exact densities") : text.index("numbers with a limit")]
    assert max(map(len, tables.splitlines())) <= 100


def test_every_number_has_a_limit_and_a_model_that_was_visited(numbers):
    assert {row["model"] for row in numbers} == {stop.recipe for stop in STOPS}
    assert all(row["limit"] for row in numbers)
    assert all(row["unit"] or row["quantity"] for row in numbers)


def test_no_likelihood_shares_a_table_row_with_another_kind(numbers):
    kinds = {"J_ML": {"real-nvp", "ot-flow"}, "-ELBO": {"vae"}, "-IWAE": {"vae"}}
    for quantity, models in kinds.items():
        assert {row["model"] for row in numbers if row["quantity"].startswith(quantity)} == models


def test_numbers_keep_what_mathematics_demands_even_of_poor_models(numbers):
    for model in ("real-nvp", "ot-flow"):
        assert value(numbers, model, "J_ML") > 0.2892
        assert value(numbers, model, "mass") == pytest.approx(1.0, abs=1e-3)
    assert value(numbers, "real-nvp", "inverse error") < 1e-5
    assert value(numbers, "vae", "-IWAE") <= value(numbers, "vae", "-ELBO")
    assert all(row["holds"] != "False" for row in numbers if not row["quantity"].startswith("energy"))


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_page_is_whole_in_itself(visited):
    html = (visited[0] / "report.html").read_text(encoding="utf-8")
    tags = Page(html).tags
    pictures = [attrs["src"] for tag, attrs in tags if tag == "img"]
    assert len(pictures) >= 20
    assert all(src.startswith("data:image/png;base64,") for src in pictures)
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe"}
    addresses = set(re.findall(r"https?://[^\s\"<]+", re.sub(r"data:image/png;base64,[^\"]*", "", html)))
    assert addresses == {attrs["href"] for tag, attrs in tags if tag == "a" and "://" in attrs["href"]}


def test_page_shows_every_model_and_the_binarization(visited):
    html = (visited[0] / "report.html").read_text(encoding="utf-8")
    for stop in STOPS:
        assert f"{stop.recipe} on {stop.data}" in html
    assert "binarized at threshold 0.5" in html
    assert "H(X) = 0.2892" in html


def test_every_model_of_the_tour_can_be_loaded(visited):
    for stop in STOPS:
        run = recipes.load_run(visited[0] / stop.recipe)
        assert run.model.sample(2, seed=0).isfinite().all()


def test_second_tour_may_go_to_the_same_folder_but_not_to_another(visited, tmp_path):
    tour(visited[0], quick=True, stops=[], say=lambda line: None)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        tour(tmp_path, quick=True, stops=[])


def interrupt_at(step):
    """A fit in which Ctrl-C is pressed after so many steps."""

    def interrupted(*args, **kwargs):
        press = Every(step, lambda state: signal.raise_signal(signal.SIGINT))
        return fit(*args, **kwargs, callbacks=[press])

    return interrupted


def in_turn(*fits):
    """The first call is that of the first function, and so on."""
    waiting = iter(fits)

    def next_fit(*args, **kwargs):
        return next(waiting)(*args, **kwargs)

    return next_fit


@pytest.fixture
def heard():
    """Let Ctrl-C interrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_interrupt_while_training_keeps_what_was_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trial_module, "fit", in_turn(fit, interrupt_at(3)))
    assert main(["tour", "--quick", "--out", str(tmp_path)]) == 130
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert "ot-flow interrupted after 3 updates; saved in" in shown.out
    assert "the page shows real-nvp" in shown.out
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "real-nvp on moons" in html
    assert "The tour was interrupted" in html
    assert recipes.load_run(tmp_path / "ot-flow").name == "ot-flow"


def test_model_that_fails_does_not_end_the_tour(tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise TrainingDiverged("loss is nan", step=3, loss=float("nan"))

    monkeypatch.setattr(trial_module, "fit", in_turn(fails, fit))
    result = tour(tmp_path, quick=True, stops=[STOPS[0], STOPS[3]], say=lambda line: None, progress=False)
    assert result.failed == {"real-nvp": "loss is nan"}
    assert [trial.name for trial, _ in result.visited] == ["dcgan"]
    assert "real-nvp could not be trained: loss is nan" in (tmp_path / "report.html").read_text()


def test_tour_puts_the_number_of_threads_back(tmp_path):
    torch.set_num_threads(2)
    try:
        tour(tmp_path, quick=True, stops=[])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
