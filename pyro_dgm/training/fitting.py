"""``fit``: one call that trains any objective on any data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from pyro_dgm.arguments import explains_options
from pyro_dgm.heap import keep_freed_memory
from pyro_dgm.training.batches import as_source
from pyro_dgm.training.budget import Budget, positive_int
from pyro_dgm.training.callbacks import Callback, FitState
from pyro_dgm.training.description import check_weights, describe, model_of
from pyro_dgm.training.fit_options import (
    averaging,
    check_rows,
    checked_seed,
    rows_of,
    some_rows,
    with_validation,
)
from pyro_dgm.training.hindsight import look_ahead, look_at_draws, look_at_steps, look_back
from pyro_dgm.training.history import History
from pyro_dgm.training.isolation import derived_seed, isolated, own_random_state
from pyro_dgm.training.learners import DEFAULT_CLIP, DEFAULT_LR, learner_of
from pyro_dgm.training.loop import Loop
from pyro_dgm.training.objective import as_objective, devices_of, initialise, steps_itself, tensor_like
from pyro_dgm.training.optimizers import OptimizerLike
from pyro_dgm.training.placing import compiled, place
from pyro_dgm.training.progress import Progress
from pyro_dgm.training.ranks import start_processes
from pyro_dgm.training.resumable import Resumable
from pyro_dgm.training.saver import Resume, Saver
from pyro_dgm.training.schedules import Schedule, as_schedule
from pyro_dgm.training.sharding import check_sharding, sharded
from pyro_dgm.training.shared import shared
from pyro_dgm.training.signals import asked_to_stop, leave_if_terminated

__all__ = ["fit"]


@explains_options
def fit(
    objective: Any,
    data: Any,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    max_time: float | None = None,
    batch_size: int = 256,
    lr: float = DEFAULT_LR,
    optimizer: OptimizerLike | None = None,
    schedule: str | Schedule | None = None,
    clip: float | None = DEFAULT_CLIP,
    seed: int = 0,
    validation: Any = None,
    validate_every: int | None = None,
    patience: int | None = None,
    keep_best: bool = True,
    average: float | None = None,
    callbacks: Sequence[Callback | Callable[[FitState], object]] = (),
    log_every: int = 1,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: Resume = False,
    every: int | None = None,
    keep: int = 2,
    accumulate: int = 1,
    precision: str = "full",
    compile: bool | str = False,
    device: str | torch.device | None = None,
    row_noise: bool = False,
    shard: bool = False,
) -> History:
    """Train an objective on data.

    The run is a function of its arguments, the initial weights and the number of threads: the same gives the
    same weights, to the bit. It draws from random states of its own; the caller's are left as they were, and
    so are Pyro's parameter store, handlers and validation. Arguments and supports are validated in the first
    step alone. A step whose loss or gradient is not finite is not made. Ctrl-C ends the run and keeps what
    was learned so far.

    With ``checkpoint`` the run is saved at intervals. Killed at any moment and called again with ``resume``,
    it ends with the weights that it would have had without the break, to the bit. Ctrl-C and SIGTERM then
    finish the step and save; after SIGTERM the process exits with 143.

    The same call trains on many processes, where ``torchrun`` or ``accelerate launch`` has started them: each
    gets its part of every batch, and the update is that of the whole batch.

    Args:
        objective: What to train: a model with a ``guide`` or a pair ``(model, guide)``, which train by
            :class:`~pyro_dgm.objectives.ELBO`; a loss module whose ``forward(batch)`` is a scalar; or an
            object with ``step(batch)``, such as :class:`~pyro_dgm.objectives.Adversarial`.
        data: Rows ``(n, *event)`` as tensor, array, list or DataFrame; a pair ``(rows, context)``;
            :class:`~pyro_dgm.data.MaskedRows`; an :class:`~pyro_dgm.data.ImageData`; a torch ``Dataset`` or
            ``DataLoader``; or a distribution, or other object whose ``sample(n)`` gives fresh rows each step.
        steps: Number of updates. Without any limit it is 2000.
        epochs: The same, counted in passes over all rows.
        max_time: Wall-clock seconds after which no further step begins.
        batch_size: Rows of each batch; all rows if there are fewer. A ``DataLoader`` has its own.
        lr: Learning rate of the default optimiser, fused Adam.
        optimizer: Another optimiser of the objective's parameters, a torch optimiser class, which is given
            ``lr``, or a function that makes one of a list of parameters.
        schedule: ``"cosine"``, ``"warm-up-cosine"``, ``"one-cycle"``, ``"constant-then-linear"``, or a
            function from the fraction of training done, in [0, 1], to a factor of the learning rate, such as
            :func:`warm_up`.
        clip: Largest global norm of the gradient, beyond which it is scaled down to it; None for no clipping.
        seed: Seed of the order of the rows and of all random numbers.
        validation: Held-out rows, or a pair with their context, on which the loss is measured at intervals.
        validate_every: Number of steps between these; by default an epoch, or a twentieth of the steps.
        patience: Number of validations without a new best after which training stops early.
        keep_best: Whether to end with the weights of the best validation loss, where there is validation.
        average: Decay of a running average of the weights, such as 0.999, which is validated and kept; None
            for none. Objectives that step themselves have their own.
        callbacks: :class:`Callback` objects, or functions that are called after each step.
        log_every: Number of steps between rows of the history.
        progress: Whether to show a progress bar.
        checkpoint: Folder for the checkpoints of this run; None for none.
        resume: Whether to go on from the last checkpoint there, if there is one; ``"force"`` does so although
            data or options differ.
        every: Number of steps between checkpoints; by default half a minute or more passes between them.
        keep: Number of checkpoints to keep, besides the one with the best validation loss.
        accumulate: Number of parts into which each batch is split, one after the other, to save memory; the
            update is that of the whole batch.
        precision: ``"full"``, or ``"bf16"``: the products in networks in half precision, all else in full.
        compile: Whether to compile the networks with ``torch.compile``, or the name of its backend.
        device: Where to train: ``"auto"`` for the accelerator if there is one, a device, or None for where
            the networks are. They stay there.
        row_noise: Draw noise from (seed, step, row) instead of one stream: it is then the same on one process
            or many, and with or without ``accumulate``.
        shard: On many processes, let each hold only its part of the weights, gradients and moments while
            training; for models too large otherwise. At the end all have the whole weights.

    Returns:
        The :class:`History` of the run.

    Raises:
        TypeError: If objective, data or an option is nothing that can be used.
        ValueError: If a number is out of range, or nothing in the objective trains.
        DataError: If the data are empty or not finite.
        TrainingDiverged: If a loss or gradient is not finite; parameters are then the last finite ones.
        ProcessesDiffer: If processes that train together have different models, data or options.
        CheckpointError: If the checkpoint to resume from is damaged, or of another run.
        OutOfMemory: If a step does not fit into the memory; parameters are then those before it.
        OutputError: If checkpoints cannot be written, or ``checkpoint`` holds another run's.
        RuntimeError: If another thread is training.

    Example:
        >>> import torch
        >>> from pyro_dgm.flows import RealNVP
        >>> from pyro_dgm.models import NormalizingFlow
        >>> history = fit(NormalizingFlow(RealNVP(2)), 3 * torch.randn(100, 2), epochs=20, progress=False)
        >>> bool(history.losses[-1] < history.losses[0])
        True
    """
    keep_freed_memory()
    objective, schedule = as_objective(objective), as_schedule(schedule)
    seed, batch_size = checked_seed(seed), positive_int("batch_size", batch_size)
    ranks = start_processes()  # each process has a device of its own then
    place(objective, device)
    like = tensor_like(objective, data)
    source = as_source(data, batch_size, seed, like)
    check_rows(source, row_noise)
    budget = Budget.of(steps, epochs, max_time, source.steps_per_epoch)
    called = averaging(callbacks, average, objective)
    if shard:
        check_sharding(objective, optimizer, called)
    called = with_validation(
        called,
        validation,
        validate_every,
        patience,
        keep_best,
        source=source,
        budget=budget,
        batch_size=batch_size,
        like=like,
    )
    if checkpoint is None and (resume or every is not None):
        raise ValueError("resume and every need checkpoint=, the folder with the checkpoints.")

    devices, state = devices_of(objective), FitState(objective, History(), first=ranks.first)
    own_seed = seed if ranks.first else derived_seed(seed, 3, ranks.rank)
    with (
        _in_training_mode(objective),
        isolated(own_seed, devices),
        asked_to_stop(checkpoint is not None) as asked,
        compiled(objective, compile),
    ):
        with own_random_state(seed, devices):
            initialise(objective, source)
        facts = (
            describe(
                objective,
                source,
                optimizer,
                callbacks=called,
                schedule=schedule,
                seed=seed,
                batch_size=batch_size,
                lr=lr,
                clip=clip,
                average=average,
                steps=budget.steps,
                accumulate=accumulate,
                precision=precision,
                row_noise=row_noise,
                processes=ranks.size,
                shard=shard,
            )
            if ranks.many or checkpoint is not None
            else {}
        )
        check_weights(objective, ranks, facts)
        with sharded(objective, ranks, shard):
            learner = learner_of(
                objective,
                optimizer,
                lr=lr,
                clip=clip,
                accumulate=accumulate,
                precision=precision,
                noise_seed=seed if row_noise else None,
                ranks=ranks,
                shard=shard,
            )
            data_source, source, saver = source, shared(source, ranks), None
            if checkpoint is not None:
                saver = Saver(
                    checkpoint,
                    model_of(objective),
                    Resumable(learner, source, called, devices, ranks),
                    facts,
                    every=None if every is None else positive_int("every", every),
                    keep=positive_int("keep", keep),
                    resume=resume,
                )
            loop = Loop(
                learner,
                source,
                budget,
                schedule=schedule,
                callbacks=called,
                aside=partial(own_random_state, derived_seed(seed, 1, 1), devices),
                log_every=positive_int("log_every", log_every),
                saver=saver,
                asked=asked,
                after_first=partial(check_weights, objective, ranks),
                agree=ranks.agree,
            )
            look_ahead(objective, rows_of(data_source))
            loop.run(state, Progress(budget.steps, progress and ranks.first))
    look_back(objective, rows_of(data_source), state.history)
    if ranks.first and not shard:
        with own_random_state(derived_seed(seed, 4), devices):
            some = partial(some_rows, data_source, 200)
            look_at_steps(objective, some)
            look_at_draws(objective, some, state.history)
    leave_if_terminated(state.history.stopped)
    return state.history


@contextmanager
def _in_training_mode(objective: Any) -> Iterator[None]:
    """Hold a loss module in training mode; each part gets its own mode back. Other objectives mind theirs."""
    parts = (
        list(objective.modules()) if isinstance(objective, nn.Module) and not steps_itself(objective) else []
    )
    modes = [part.training for part in parts]
    if parts:
        objective.train()
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
