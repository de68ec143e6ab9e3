"""The loop: one batch, one step, one line of the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pyro

from pyro_dgm.training.batches import Source
from pyro_dgm.training.budget import Budget
from pyro_dgm.training.callbacks import Callback, FitState
from pyro_dgm.training.first_step import check_no_strangers
from pyro_dgm.training.learner import Learner
from pyro_dgm.training.progress import Progress
from pyro_dgm.training.saver import Saver
from pyro_dgm.training.schedules import Schedule
from pyro_dgm.training.shared import Shared
from pyro_dgm.training.signals import Asked
from pyro_dgm.training.streams import Loaded, worker_error

__all__ = ["Loop"]


class Loop:
    """Runs a learner over a source of batches until the budget is used up.

    Everything that decides what a step does is a function of the step alone, or is in the state that the
    saver saves: between any two steps a run can be taken up again.

    Args:
        learner: Makes the updates.
        source: Gives the batches.
        budget: When to end.
        schedule: From the fraction of training done to a factor of the learning rate, or None.
        callbacks: What to call, in their order.
        aside: Makes the context in which callbacks run, apart from training's random state.
        log_every: Number of steps between rows of the history.
        saver: Writes and takes up checkpoints, or None.
        asked: Says whether a signal has asked for the end.
        after_first: What to check once, after the first step.
        agree: Makes all processes stop at the same step, from the reason that this one has.
    """

    def __init__(
        self,
        learner: Learner,
        source: Source,
        budget: Budget,
        *,
        schedule: Schedule | None,
        callbacks: Sequence[Callback],
        aside: Callable[[], AbstractContextManager[None]],
        log_every: int,
        saver: Saver | None = None,
        asked: Asked = lambda: None,
        after_first: Callable[[], None] = lambda: None,
        agree: Callable[[str | None], str | None] = lambda reason: reason,
    ) -> None:
        self.learner, self.source, self.budget, self.schedule = learner, source, budget, schedule
        self.callbacks, self.aside, self.log_every = callbacks, aside, log_every
        self.saver, self.asked, self.after_first, self.agree = saver, asked, after_first, agree

    def run(self, state: FitState, progress: Progress) -> None:
        """Train. Ctrl-C ends the run, which then keeps what was learned so far."""
        history = state.history
        started, started_cpu = time.perf_counter(), time.process_time()
        try:
            before, before_cpu = self._begin(state)
            started, started_cpu = started - before, started_cpu - before_cpu
            self._steps(state, progress, started, started_cpu)
            if self.saver is not None:
                self.saver.save(state)
        except KeyboardInterrupt:
            state.stopping = "interrupted"
        except BaseException as error:
            history.stopped = "error"
            explained = worker_error(error, state.step)
            if isinstance(self.source, Loaded | Shared):
                self.source.abandon()
            if explained is not None:
                raise explained from error
            raise
        finally:
            self.learner.close()
            self._time(state, started, started_cpu)
            progress.close(state.step, state.values)
        history.stopped = state.stopping or "done"
        if history.stopped != "terminated":
            self._tell("on_end", state)
            if self.saver is not None:
                self.saver.save_best(state)

    def _begin(self, state: FitState) -> tuple[float, float]:
        """Take up a saved run, if there is one; return the seconds that it has taken so far."""
        saved = None if self.saver is None else self.saver.take_up(state)
        self._tell("on_start", state)
        if self.saver is not None and saved is not None:
            self.saver.run.load_rest(saved)
        return state.history.seconds, state.history.cpu_seconds

    def _steps(self, state: FitState, progress: Progress, started: float, started_cpu: float) -> None:
        first, seconds = state.step, time.perf_counter() - started
        state.stopping = state.stopping or self.budget.over(state.step, seconds)
        while state.stopping is None:
            step = state.step
            if self.schedule is not None:
                self.learner.scale_lr(self.schedule(self.budget.done(step, seconds)))
            batch = self.source.batch(step)
            state.values = self.learner.step(step, batch)
            if step == first:
                self._after_first(state)
                self.after_first()
            state.step = step + 1
            seconds = time.perf_counter() - started
            if step % self.log_every == 0:
                state.history.record(step, {**state.values, "seconds": seconds})
            if self.callbacks:
                self._tell("on_step", state)
            progress.update(step + 1, seconds, state.values)
            state.stopping = self.agree(
                self.asked() or state.stopping or self.budget.over(state.step, seconds)
            )
            if self.saver is not None:
                self._time(state, started, started_cpu)
                self.saver.save_if_due(state)

    def _time(self, state: FitState, started: float, started_cpu: float) -> None:
        history = state.history
        history.num_steps = state.step
        history.seconds = time.perf_counter() - started
        history.cpu_seconds = time.process_time() - started_cpu

    def _after_first(self, state: FitState) -> None:
        """Shapes, supports and parameters have been checked once; further checks would double the cost."""
        check_no_strangers(state.objective)
        pyro.enable_validation(False)

    def _tell(self, event: str, state: FitState) -> None:
        due = [c for c in self.callbacks if event != "on_step" or state.step % c.every == 0]
        if due:
            with self.aside():
                for callback in due:
                    getattr(callback, event)(state)
