"""The documented Lightning script trains, and what it trains is the objective itself."""

import runpy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

pytest.importorskip("lightning", reason="pip install pyro-dgm[adapters], or: make adapters-check")
EXAMPLE = Path(__file__).parents[2] / "docs" / "adapters" / "lightning_example.py"
# Lightning's own remarks: on loaders without workers, and on what will be otherwise one day.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_a_flow_a_vae_and_a_wgan_learn_where_the_data_are(example):
    for name, module in example["main"]().items():
        model = module.objective.model if name != "wgan" else module.model
        bar = 0.8 if name == "wgan" else 0.3  # a game of some hundred steps circles around its end
        assert (model.sample(2000, seed=0).mean(0) - 2).abs().max() < bar, name


def test_lightning_makes_the_steps_of_a_plain_loop(example):
    rows = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    trained = []
    for _ in range(2):
        torch.manual_seed(0)
        trained.append(example["flow"]())
    example["trainer"](max_epochs=2).fit(trained[0], DataLoader(rows, 16))
    objective, optimizer = trained[1].objective, trained[1].configure_optimizers()
    for batch in rows.split(16) * 2:
        optimizer.zero_grad()
        objective(batch).backward()
        optimizer.step()
    for one, two in zip(trained[0].parameters(), objective.parameters(), strict=True):
        assert torch.equal(one, two)
