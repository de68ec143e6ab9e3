"""Numbers are judged rightly: the right model passes, the wrong one is flagged."""

import csv
import io
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pyro_dgm import data, recipes
from pyro_dgm.data import two_moons
from pyro_dgm.flows import CNF, RealNVP
from pyro_dgm.models import NormalizingFlow
from pyro_dgm.recipes import Run
from pyro_dgm.report.batch_mode import batch_mode_row
from pyro_dgm.report.energy_rows import energy_rows, pixel_fit
from pyro_dgm.report.flow_rows import likelihood_rows, straightness, way_of
from pyro_dgm.report.measurement import Measurement, side_by_side, to_csv

ONE = Measurement("a", "moons", "J_ML", 0.30114, "nats", "≥ H(X)", "how", error=0.0066)


@pytest.mark.parametrize(
    ("measurement", "text"),
    [
        (ONE, "0.3011 ± 0.0066"),
        (replace(ONE, error=0.19, value=26.8989), "26.90 ± 0.19"),
        (replace(ONE, error=None, value=0.0133, low=0.0038, high=0.0242), "0.013 [0.004, 0.024]"),
        (replace(ONE, error=None, value=35344), "35 344"),
        (replace(ONE, error=None, value=3.7551e-6), "3.76e-06"),
        (replace(ONE, error=None, value=math.nan), "nan"),
    ],
)
def test_number_is_printed_as_far_as_it_is_known(measurement, text):
    assert measurement.text == text


def test_models_share_a_row_only_on_the_same_data():
    other = [replace(ONE, model="b"), replace(ONE, model="c", data="digits")]
    table = side_by_side("T", [ONE, *other])
    assert table.columns == ["quantity", "floor or limit", "a", "b", "c"]
    assert [row[2:] for row in table.rows] == [[ONE.text, ONE.text, "–"], ["–", "–", ONE.text]]


def test_notes_name_the_models_where_they_differ_among_them():
    b, c = replace(ONE, model="b"), replace(ONE, model="c", source="another way")
    assert side_by_side("T", [ONE, b]).notes == [f"{ONE.quantity}: {ONE.source}."]
    assert side_by_side("T", [ONE, b, c]).notes == [
        f"{ONE.quantity} ({ONE.model}, b): {ONE.source}.",
        f"{ONE.quantity} (c): another way.",
    ]


def test_an_origin_of_several_quantities_is_said_once():
    table = side_by_side("T", [ONE, replace(ONE, quantity="mass"), replace(ONE, quantity="KL", source="")])
    assert table.notes == [f"{ONE.quantity}; mass: {ONE.source}."]


def test_a_limit_that_is_not_known_says_so():
    assert side_by_side("T", [replace(ONE, limit="")]).rows[0][1] == "none known"


def test_limits_that_differ_name_their_model():
    table = side_by_side("T", [ONE, replace(ONE, model="b", limit="≥ 0")])
    assert table.rows[0][1] == "≥ H(X) (a); ≥ 0 (b)"


def test_csv_holds_every_field():
    (row,) = csv.DictReader(io.StringIO(to_csv([ONE])))
    assert (row["model"], float(row["value"]), row["limit"], row["low"]) == ("a", 0.30114, "≥ H(X)", "")


def test_true_density_has_no_divergence_and_a_doubled_one_is_flagged():
    moons = two_moons()
    x = moons.sample(2000, seed=3)
    good = likelihood_rows("truth", moons, moons, x)
    assert all(row.holds for row in good)
    assert abs(good[1].value) < 1e-6
    doubled = SimpleNamespace(log_prob=lambda x: moons.log_prob(x) + math.log(2))
    bad = likelihood_rows("doubled", moons, doubled, x)
    assert [row.holds for row in bad] == [False, False]
    assert bad[1].value == pytest.approx(-math.log(2), abs=1e-5)


def test_a_continuous_flow_is_measured_with_as_many_steps_as_its_likelihood_needs():
    moons, flow = two_moons(), CNF(2, hidden_dims=(8, 8), nt_train=1, nt_eval=1).eval()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.8 * torch.randn_like(p))
    x = moons.sample(2000, seed=3)
    row = likelihood_rows("cnf", moons, NormalizingFlow(flow), x)[0]
    assert flow.nt_eval == 1
    coarse = -flow().log_prob(x).mean().item()
    flow.nt_eval = 64
    fine = -flow().log_prob(x).mean().item()
    assert abs(fine - coarse) > 1e-2
    assert row.value == pytest.approx(fine, abs=2e-3)
    assert "steps in time" in row.source


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def run_of(sample, digits):
    config = recipes.get("dcgan").config(digits)
    return Run(recipes.get("dcgan"), SimpleNamespace(sample=sample), config)


def test_real_images_pass_as_samples_and_lie_at_the_floor(digits):
    def real(n, seed):
        return digits.sample(n, seed=seed)

    of_model, untrained, pixels, floor = energy_rows(run_of(real, digits), digits, num=300)
    assert of_model.holds
    assert of_model.low < 0.01
    assert floor.low < 0 < floor.high < of_model.high < pixels.low < untrained.low


def test_images_without_shapes_do_not_pass(digits):
    def shapeless(n, seed):
        return pixel_fit(digits, n, seed + 1)

    assert energy_rows(run_of(shapeless, digits), digits, num=300)[0].holds is False


def test_pixel_fit_has_the_means_of_the_data_and_its_range(digits):
    x = pixel_fit(digits, 4000, seed=0)
    assert x.min() >= 0
    assert x.max() <= 1
    middle = (digits.train.mean(0) - 0.5).abs() < 0.2  # clipping moves the means of the others
    error = digits.train.std(0) / math.sqrt(4000)
    assert ((x.mean(0) - digits.train.mean(0)).abs()[middle] < 0.01 + 4 * error[middle]).all()


@pytest.mark.parametrize(("keeps_statistics", "holds"), [(True, True), (False, False)])
def test_network_that_mixes_rows_in_evaluation_mode_is_flagged(keeps_statistics, holds):
    norm = nn.BatchNorm1d(8, track_running_stats=keeps_statistics)
    row = batch_mode_row("m", "d", nn.Sequential(nn.Linear(2, 8), norm, nn.Linear(8, 3)), 2)
    assert row.holds is holds


def test_half_circle_is_as_crooked_as_it_should_be():
    angle = torch.linspace(0, math.pi, 2001, dtype=torch.double)
    way = torch.stack([angle.cos(), angle.sin()], -1).unsqueeze(1)
    assert straightness(way) == pytest.approx(math.pi / 2 - 1, abs=1e-6)


@pytest.mark.parametrize("name", ["real-nvp", "ot-flow"])
def test_way_leads_from_the_latent_to_the_data(name):
    model = recipes.get(name).build(two_moons()).model.eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    z = torch.randn(5, 2)
    way = way_of(model, z)
    torch.testing.assert_close(way[0], z)
    torch.testing.assert_close(model.encode(way[-1]), z, atol=2e-2, rtol=0)


def test_way_of_a_fresh_flow_stays_where_it_is():
    z = torch.randn(5, 2)
    assert torch.equal(way_of(NormalizingFlow(RealNVP(2)), z), z.expand(7, 5, 2))
