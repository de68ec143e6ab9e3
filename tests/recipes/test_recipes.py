"""Every recipe builds, trains, is saved as plain data and comes back as it was."""

import json

import pytest
import torch

from pyro_dgm import data, recipes
from pyro_dgm.errors import CheckpointError, DataError, UnknownNameError

DATA = {
    "real-nvp": data.two_moons,
    "ot-flow": data.two_moons,
    "vae": lambda: data.digits(binarize="threshold"),
    "dcgan": data.digits,
    "wgan-gp": data.digits,
}


@pytest.fixture(params=DATA.items(), ids=DATA.keys())
def trial(request):
    name, load = request.param
    return recipes.train(recipes.get(name), load(), steps=6, progress=False)


def test_every_recipe_has_a_case():
    assert set(recipes.names()) == set(DATA)


def test_recipe_trains_the_model_that_it_gives(trial):
    fresh = trial.recipe.build(trial.data, seed=0).model
    before = dict(fresh.named_parameters())
    assert any(not torch.equal(p, before[name]) for name, p in trial.model.named_parameters())
    assert trial.history.num_steps == 6
    assert trial.model.sample(3).shape == (3, *trial.data.event_shape)


def test_saved_run_comes_back_with_the_same_samples(trial, tmp_path):
    back = recipes.load_run(trial.save(tmp_path / "run"))
    assert torch.equal(back.model.sample(5, seed=7), trial.model.sample(5, seed=7))
    assert back.config == trial.config


def test_config_is_plain_json(trial):
    assert json.loads(json.dumps(trial.config)) == trial.config


def test_same_seed_builds_the_same_weights_and_leaves_the_global_generator():
    recipe, moons = recipes.get("real-nvp"), data.two_moons()
    state = torch.get_rng_state()
    one, two, other = (recipe.build(moons, seed=seed).model for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    first = next(one.parameters())
    assert torch.equal(first, next(two.parameters()))
    assert not torch.equal(first, next(other.parameters()))


def test_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'real-nvp'"):
        recipes.get("realnvp")


def test_unknown_option_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'num_layers'"):
        recipes.get("real-nvp").build(data.two_moons(), num_layer=3)


@pytest.mark.parametrize(
    ("recipe", "name", "match"),
    [
        ("ot-flow", "digits", "for vectors.*Recipes for images: vae, dcgan, wgan-gp"),
        ("dcgan", "moons", "for images.*Recipes for vectors: real-nvp, ot-flow"),
    ],
)
def test_data_of_the_wrong_kind_are_refused_with_what_fits(recipe, name, match):
    with pytest.raises(DataError, match=match):
        recipes.get(recipe).build(data.load(name))
    with pytest.raises(DataError, match=match):
        recipes.get(recipe).options_of_data(name)


def test_vae_refuses_grey_images_and_says_how_to_load_them():
    with pytest.raises(DataError, match="binarize='threshold'"):
        recipes.get("vae").build(data.digits())


def test_kind_of_every_data_set_is_known_without_its_files():
    kinds = {name: recipes.kind_of_data(name) for name in data.names()}
    for name in ("moons", "uniform-square", "8gaussians", "checkerboard", "digits"):
        assert {1: "vector", 3: "image"}[len(data.load(name).event_shape)] == kinds[name]
    assert kinds["mnist"] == kinds["fashion-mnist"] == "image"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"recipe": "no-such", "event_shape": [2], "options": {}},
        {"recipe": "real-nvp", "event_shape": "xy", "options": {}},
        {"recipe": "real-nvp", "event_shape": [2], "options": {"num_layers": -1}},
        {"recipe": "real-nvp", "event_shape": [2], "options": {"conditionr": 1}},
        {"recipe": "dcgan", "event_shape": [1, 7, 7], "options": {}},
    ],
)
def test_damaged_description_is_a_checkpoint_error(config):
    with pytest.raises(CheckpointError, match="cannot be built"):
        recipes.build_model(config)


def test_run_without_data_says_so():
    with pytest.raises(CheckpointError, match="which data set"):
        recipes.load_data({"data": {"name": "../../etc"}})
