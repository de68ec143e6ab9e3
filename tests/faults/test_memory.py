"""A step that does not fit into the memory: said with what to change, and undone."""

import json
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from pyro_dgm.errors import OutOfMemory
from pyro_dgm.training import fit
from pyro_dgm.training.gradient_step import GradientStep
from tests.faults.processes import start
from tests.training.families import FAMILIES, gan, numbers
from tests.training.toys import Mean, rows, same, weights

BAD_STEP = 3


class Greedy(Mean):
    """Asks for more memory than there is, at one step."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def forward(self, batch):
        loss = super().forward(batch)
        if len(self.batches) == BAD_STEP + 1:
            if self.error is not None:
                raise self.error
            loss = loss + torch.empty(2**50, dtype=torch.uint8).sum()  # a petabyte, really asked for
        return loss


@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_a_step_without_memory_says_what_to_change_and_leaves_the_parameters(error):
    loss, before = Greedy(error), []
    with pytest.raises(OutOfMemory, match=rf"step {BAD_STEP}.*batch of 50 rows.*accumulate=2"):
        fit(loss, rows(), steps=9, progress=False, callbacks=[lambda state: before.append(weights(loss))])
    assert same(weights(loss), before[-1])
    assert loss.point.grad is None


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="mine") as caught:
        fit(Greedy(RuntimeError("mine")), rows(), steps=9, progress=False)
    assert not isinstance(caught.value, OutOfMemory)


class HalfDone(torch.optim.Adam):
    """Runs out of memory after it has moved the first of its parameters and averages."""

    def step(self, closure=None):
        first = self.param_groups[0]["params"][0]
        whole = self.param_groups[0]["params"]
        self.param_groups[0]["params"] = [first]
        super().step(closure)
        self.param_groups[0]["params"] = whole
        raise MemoryError


def test_an_update_that_was_done_in_half_is_undone_with_the_averages():
    net = nn.Linear(2, 2).double()
    module = type("Loss", (nn.Module,), {"forward": lambda self, batch: self.net(batch.x).square().mean()})()
    module.net = net
    learner = GradientStep(module, HalfDone(net.parameters(), lr=0.1), 0.1, None)
    before = weights(net)
    from pyro_dgm.objectives import Batch

    with pytest.raises(OutOfMemory, match="averages of the optimiser begin anew"):
        learner.step(0, Batch(rows()))
    assert same(weights(net), before)
    assert not learner.optimizer.state


def test_a_game_without_memory_is_as_it_was():
    game = gan()
    fit(game, rows(), steps=4, progress=False)
    before = weights(game.model) + weights(game.critic)

    def greedy(x):
        raise MemoryError

    game.model.generator.forward = greedy
    with pytest.raises(OutOfMemory, match="step 0"):
        fit(game, rows(), steps=4, progress=False)
    assert same(weights(game.model) + weights(game.critic), before)


def little_memory(family, result):
    """Train within 300 MB above what the process has, on batches that need more."""
    torch.set_num_threads(1)
    objective = FAMILIES[family](dtype=torch.float32)
    before = numbers(objective)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 300 * 2**20, now + 300 * 2**20))
    x = torch.linspace(0, 1, 8_000_000).view(-1, 2)
    try:
        fit(objective, x, steps=2, batch_size=4_000_000, progress=False)
    except Exception as error:
        said = {"type": type(error).__name__, "text": str(error)}
    result.write_text(json.dumps({**said, "same": same(before, numbers(objective))}))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_process_with_little_memory_says_so(family, tmp_path):
    process = start(little_memory, family, tmp_path / "said")
    process.join(timeout=120)
    said = json.loads((tmp_path / "said").read_text())
    assert said["type"] == "OutOfMemory", said
    assert "batch_size below 4000000" in said["text"]
    assert said["same"]
