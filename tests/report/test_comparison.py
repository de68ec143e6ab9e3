"""Models of any family side by side: what shares a row, what is counted, what is written."""

import csv

import pytest
import torch
from torch import nn

from pyro_dgm import metrics, recipes
from pyro_dgm.cli import main
from pyro_dgm.data import RowData, digits, two_moons
from pyro_dgm.errors import DataError
from pyro_dgm.flows import RealNVP
from pyro_dgm.models import ImplicitGenerator, NormalizingFlow
from pyro_dgm.report import compare, to_html

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    binary = digits(binarize="fixed")
    trials = {
        name: recipes.train(recipes.get(name), binary, steps=3, progress=False) for name in ("vae", "dcgan")
    }
    broken = ImplicitGenerator(nn.Sequential(nn.Linear(2, 64), Nowhere(), nn.Unflatten(1, (1, 8, 8))), 2)
    models = {**trials, "broken": broken, "diverged": DataError("loss is not finite at step 7")}
    return compare(models, binary, num=60, num_particles=5)


class Nowhere(nn.Module):
    def forward(self, x):
        return x * torch.nan


def test_a_model_without_a_likelihood_has_none_in_any_row(found):
    assert {m.model for m in found.likelihoods} == {"vae"}
    assert {m.quantity for m in found.likelihoods} == {"-ELBO", "-IWAE, K = 5", "-IWAE in bits"}


def test_every_family_is_measured_by_the_same_metrics_with_their_floors(found):
    of = {name: {m.quantity for m in found.samples if m.model == name} for name in ("vae", "dcgan")}
    assert of["dcgan"] | {"latents from prior"} == of["vae"]
    assert {"energy", "mmd", "c2st-knn", "coverage", "nearest-train ratio"} <= of["dcgan"]
    energies = [m for m in found.samples if m.quantity == "energy"]
    assert all("real against real" in m.limit and m.low < m.value < m.high for m in energies)


def test_failures_are_counted_and_named(found):
    assert set(found.failed) == {"broken", "diverged"}
    page = to_html(found.page)
    assert "2 of 4 models could be measured; 2 failed." in page
    assert "loss is not finite at step 7" in page
    assert "60 samples are not finite" in page


def test_numbers_of_the_table_hold_every_measurement(found, tmp_path):
    assert found.write(tmp_path).name == "comparison.html"
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert [row["quantity"] for row in rows] == [m.quantity for m in found.measurements]


def test_an_exact_density_has_its_entropy_beside_it_and_real_rows_score_the_floor():
    moons = two_moons()
    trial = recipes.train(recipes.get("real-nvp"), moons, steps=3, progress=False)
    result = compare({"flow": trial}, moons, num=100)
    assert result.likelihoods[0].limit == f"≥ H(X) = {moons.entropy:.4f}"
    energy = next(m for m in result.samples if m.quantity == "energy")
    floor = metrics.real_floor(moons.sample(200, seed=5))
    assert energy.value > floor.high  # three updates leave a normal distribution


@pytest.mark.parametrize("dim", [1, 3])
def test_rows_of_ones_own_are_held_against_their_test_rows(dim):
    rows = RowData(torch.randn(400, dim) * 2 + 1, name="mine")
    flow, gan = NormalizingFlow(RealNVP(dim, hidden_dims=(8,))), ImplicitGenerator(nn.Linear(2, dim), 2)
    result = compare({"flow": flow, "gan": gan}, rows, num=60)
    (density,) = result.likelihoods
    assert (density.model, density.quantity) == ("flow", "-log p, exact")
    assert density.value == pytest.approx(-flow.log_prob(rows.test[:40]).mean().item(), rel=0.5)
    ratios = {m.model: m.value for m in result.samples if m.quantity == "nearest-train ratio"}
    assert set(ratios) == {"flow", "gan"}
    assert not result.failed
    assert len(result.pictures) == (3 if dim > 1 else 0)


def test_nothing_to_compare_is_said():
    with pytest.raises(DataError, match="at least one model"):
        compare({}, two_moons())


def test_command_compares_a_vae_and_a_gan_on_the_same_pixels_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shared = ["--steps", "2", "--quiet"]
    assert main(["train", "vae", *shared, "--out", "vae"]) == 0
    assert main(["train", "dcgan", *shared, "--out", "grey"]) == 0
    assert main(["train", "dcgan", *shared, "--binarize", "threshold", "--out", "binary"]) == 0
    assert main(["compare", "vae", "grey", "--num", "60"]) == 2
    assert "the same --data and --binarize" in capsys.readouterr().err
    assert main(["compare", "vae", "binary", "--num", "60", "--out", "page"]) in (0, 1)  # a limit may break
    assert "dcgan" not in capsys.readouterr().err


def test_command_compares_saved_runs_and_counts_damaged_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "real-nvp", "--steps", "3", "--quiet", "--out", "a"]) == 0
    (tmp_path / "b").mkdir()
    assert main(["compare", "a", "b", "--num", "60", "--out", "page"]) == 1
    assert "b could not be measured: CheckpointError" in capsys.readouterr().out
    assert (tmp_path / "page" / "comparison.html").stat().st_size > 10_000
