"""When a training run is saved, and how it is taken up again."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from pyro_dgm.errors import CheckpointError, OutputError, UnknownNameError
from pyro_dgm.training.callbacks import FitState
from pyro_dgm.training.checkpoint import tensors_of
from pyro_dgm.training.checkpoints import Checkpoints, read_checkpoint
from pyro_dgm.training.parts import whole
from pyro_dgm.training.resumable import Resumable
from pyro_dgm.training.validation import Validation

__all__ = ["Resume", "Saver"]

Resume = bool | Literal["force"]
# What must be as it was for a run to go on, and what may change with a warning.
_FIXED = ("objective", "data", "seed", "batch_size", "optimizer", "average", "callbacks", "row_noise")
_FREE = ("lr", "clip", "schedule", "steps", "accumulate", "precision", "threads", "processes", "shard")
_SECONDS, _SHARE = 30.0, 20.0


class Saver:
    """Saves a run at intervals and at its end, and goes on where the last checkpoint was written.

    Args:
        folder: Where to.
        model: The model, whose weights any of the checkpoints gives back.
        run: Everything else that decides how the run goes on.
        config: What the run is, as plain JSON; checked when it is resumed.
        every: Number of steps between checkpoints; None is every half minute, or more seldom where saving
            would take more than a twentieth of the time.
        keep: Number of checkpoints to keep.
        resume: Whether to go on from the last checkpoint, if there is one. ``"force"`` does so although data
            or options differ.

    Raises:
        OutputError: If the folder cannot be written to, or holds another run's checkpoints while ``resume``
            is off.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        model: nn.Module,
        run: Resumable,
        config: Mapping[str, Any],
        *,
        every: int | None,
        keep: int,
        resume: Resume,
    ) -> None:
        if resume not in (True, False, "force"):
            raise UnknownNameError.of("resume", str(resume), ("True", "False", "force"))
        self.model, self.run, self.config, self.every, self.resume = model, run, dict(config), every, resume
        self.checkpoints = Checkpoints(folder, keep)
        if run.ranks.first:
            self.checkpoints.tidy()
        run.ranks.barrier()
        if not resume and self.checkpoints.latest() is not None:
            raise OutputError(
                f"{folder} holds the checkpoints of an earlier run. Say resume=True to go on with it, or "
                "choose another folder."
            )
        self._saved_step, self._saved_best = -1, -1
        self._last, self._took = time.perf_counter(), 0.0

    def take_up(self, state: FitState) -> dict[str, Any] | None:
        """Load the last checkpoint into the run, and return it; None if there is none.

        Raises:
            CheckpointError: If it is damaged, or of another run.
        """
        path = self.checkpoints.latest() if self.resume else None
        if path is None:
            return None
        manifest, saved = read_checkpoint(path, self.model)
        self._compare(manifest.config, str(path))
        self.run.load_learner(saved, state)
        self._saved_step, self._saved_best = state.step, _best(state)
        return saved

    def due(self, step: int) -> bool:
        """Whether it is time to save after so many steps; the same on all processes."""
        if self.every is not None:
            return step % self.every == 0
        late = time.perf_counter() - self._last >= max(_SECONDS, _SHARE * self._took)
        return self.run.ranks.any_of([late])[0]

    def save_if_due(self, state: FitState) -> None:
        """Save, if it is time to. A folder that cannot be written to is a warning, and training goes on."""
        if not self.due(state.step):
            return
        try:
            self.save(state)
        except OutputError as error:
            self._last = time.perf_counter()
            warnings.warn(
                f"no checkpoint was written after step {state.step}: {error} Training goes on, and the last "
                "checkpoint is whole.",
                RuntimeWarning,
                stacklevel=2,
            )

    def save(self, state: FitState) -> None:
        """Save the run as it is now, unless that has been done.

        Raises:
            OutputError: If it cannot be written.
        """
        if state.step == self._saved_step:
            return
        start = time.perf_counter()
        self._write(state)
        self._saved_step, self._last = state.step, time.perf_counter()
        self._took = self._last - start

    def _write(self, state: FitState) -> None:
        content = whole({"weights": tensors_of(self.model), "state": self.run.state_dict(state)})
        if self.run.ranks.first:
            self.checkpoints.write(state.step, content["weights"], content["state"], self.config)
        self.save_best(state)
        self.run.ranks.barrier()

    def save_best(self, state: FitState) -> None:
        """Save the best weights, if they are better than those that were saved.

        Raises:
            OutputError: If they cannot be written.
        """
        watching = [c for c in self.run.callbacks if isinstance(c, Validation) and c.keep_best]
        new = bool(watching) and _best(state) not in (self._saved_best, -1)
        if not self.run.ranks.any_of([new])[0]:
            return
        with watching[0].best_weights():
            weights = whole(tensors_of(self.model))
            if self.run.ranks.first:
                extra = {"step": state.history.best_step, "validation_loss": state.history.best_loss}
                self.checkpoints.write_best(weights, extra)
        self._saved_best = _best(state)

    def _compare(self, saved: Mapping[str, Any], path: str) -> None:
        """Refuse what would silently be another run; warn of what may be meant."""
        saved = {"shard": False, **saved}

        def differing(names: tuple[str, ...]) -> list[str]:
            return [
                f"{n} was {saved.get(n)!r} and is {self.config[n]!r}"
                for n in names
                if saved.get(n) != self.config[n]
            ]

        if self.resume != "force" and (fixed := differing(_FIXED)):
            raise CheckpointError(
                f"{path} is of another run: {'; '.join(fixed)}. Call fit as then, train into another folder, "
                "or say resume='force' to go on all the same."
            )
        if free := differing(_FREE):
            warnings.warn(
                f"the run in {path} goes on with other settings, and not as it would have without a break: "
                f"{'; '.join(free)}.",
                UserWarning,
                stacklevel=5,
            )


def _best(state: FitState) -> int:
    return -1 if state.history.best_step is None else state.history.best_step
