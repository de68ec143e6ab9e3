"""Everything that decides how a training run goes on, as one state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from pyro_dgm.errors import CheckpointError, PyroDGMError
from pyro_dgm.training.batches import Source
from pyro_dgm.training.callbacks import Callback, FitState
from pyro_dgm.training.isolation import random_states, set_random_states
from pyro_dgm.training.learner import Learner
from pyro_dgm.training.ranks import Ranks

__all__ = ["Resumable"]

# Reasons to stop that a resumed run need not heed any more.
_PASSING = ("done", "max_time", "interrupted", "terminated")


class Resumable:
    """Gathers the state of a run's parts between two steps, and hands it back to them.

    Args:
        learner: Weights and optimisers.
        source: The position in the data.
        callbacks: Best and averaged weights, and whatever else callbacks keep.
        devices: The devices whose random states count.
        ranks: The processes that train together; each has random states of its own.
    """

    def __init__(
        self,
        learner: Learner,
        source: Source,
        callbacks: Sequence[Callback],
        devices: Iterable[torch.device] = (),
        ranks: Ranks | None = None,
    ) -> None:
        self.learner, self.source, self.callbacks = learner, source, callbacks
        self.devices, self.ranks = list(devices), ranks or Ranks()
        self._before: dict[str, Any] | None = None

    def state_dict(self, state: FitState) -> dict[str, Any]:
        """Return the state after ``state.step`` steps."""
        return {
            "step": state.step,
            "values": dict(state.values),
            "stopping": None if state.stopping in _PASSING else state.stopping,
            "learner": self.learner.state_dict(),
            "source": self.source.state_dict(),
            "history": state.history.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "random": self.ranks.gather(random_states(self.devices)),
        }

    def load_learner(self, saved: dict[str, Any], state: FitState) -> None:
        """Set weights, optimisers, history and step; what fails changes nothing.

        Raises:
            CheckpointError: If the state is not that of such a run.
        """
        self._before = _copied(self.learner.state_dict())
        try:
            self.learner.load_state_dict(saved["learner"])
            state.history.load_state_dict(saved["history"])
            state.step, state.stopping = int(saved["step"]), saved["stopping"]
            state.values = dict(saved["values"])
        except Exception as error:
            self._put_back()
            raise error if isinstance(error, PyroDGMError) else _unfit(error) from error

    def load_rest(self, saved: dict[str, Any]) -> None:
        """Set the position in the data, the callbacks, and at last the random states.

        What fails leaves weights and optimisers as they were before :meth:`load_learner`.

        Raises:
            CheckpointError: If the state is not that of such a run.
        """
        try:
            self.source.load_state_dict(saved["source"], int(saved["step"]))
            for callback, own in zip(self.callbacks, saved["callbacks"], strict=True):
                callback.load_state_dict(own)
            if len(saved["random"]) == self.ranks.size:
                set_random_states(saved["random"][self.ranks.rank], self.devices)
        except Exception as error:
            self._put_back()
            raise error if isinstance(error, PyroDGMError) else _unfit(error) from error
        self._before = None

    def _put_back(self) -> None:
        if self._before is not None:
            self.learner.load_state_dict(self._before)


def _unfit(error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint cannot be taken up by this run: {error}. Resume with the objective, optimiser, data "
        "and callbacks that it was saved with, or train anew into another folder."
    )


def _copied(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone()
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_copied(value) for value in tree)
    return tree
