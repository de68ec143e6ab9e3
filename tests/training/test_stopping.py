import threading

import pytest
import torch
from pyro import poutine
from pyro.poutine.runtime import _PYRO_STACK

from pyro_dgm.training import Callback, Every, fit
from tests.training.toys import Game, Losses, Mean, rows, same, small_flow, weights


def interrupt(state):
    if state.step == 3:
        raise KeyboardInterrupt


def test_an_interrupt_returns_what_was_learned_so_far():
    first, second = small_flow(), small_flow()
    history = fit(first, rows(), steps=10, callbacks=[interrupt], progress=False)
    fit(second, rows(), steps=3, progress=False)
    assert (history.stopped, history.num_steps, len(history)) == ("interrupted", 3, 3)
    assert same(weights(first), weights(second))


def test_an_interrupt_inside_a_model_leaves_no_handler_behind():
    class Interrupted(Mean):
        def forward(self, batch):
            if len(self.batches) == 2:
                poutine.trace().__enter__()
                raise KeyboardInterrupt
            return super().forward(batch)

    assert fit(Interrupted(), rows(), progress=False).num_steps == 2
    assert _PYRO_STACK == []


def test_an_interrupt_before_the_loop_is_raised():
    class Data:
        def __array__(self, *args, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Mean(), Data(), progress=False)


def test_time_ends_a_run():
    history = fit(Mean(), rows(), max_time=0.05, progress=False)
    assert history.stopped == "max_time"
    assert history.num_steps >= 1


def test_a_callback_can_end_a_run():
    history = fit(Mean(), rows(), steps=10, callbacks=[Every(4, lambda s: s.stop("enough"))], progress=False)
    assert (history.stopped, history.num_steps) == ("enough", 4)


def test_a_callback_is_called_at_the_start_at_its_steps_and_at_the_end():
    class Spy(Callback):
        every = 3

        def __init__(self):
            self.calls = []

        def on_start(self, state):
            self.calls.append(("start", state.step))

        def on_step(self, state):
            self.calls.append(("step", state.step, sorted(state.values)))

        def on_end(self, state):
            self.calls.append(("end", state.step, state.history.stopped))

    spy = Spy()
    fit(Mean(), rows(), steps=7, callbacks=[spy], progress=False)
    values = ["grad_norm", "loss", "lr"]
    assert spy.calls == [("start", 0), ("step", 3, values), ("step", 6, values), ("end", 7, "done")]


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match="a callback must be"):
        fit(Mean(), rows(), callbacks=[3])


def test_epochs_are_counted_in_batches():
    assert fit(Mean(), rows(50), epochs=3, batch_size=20, progress=False).num_steps == 9


def test_the_best_validation_weights_are_kept():
    held_out = torch.zeros(4, 2).double()  # the fresh weights are best, and each step is worse
    loss = Mean()
    history = fit(loss, rows(), steps=10, validation=held_out, validate_every=2, progress=False)
    assert (history.best_step, history.best_loss) == (0, 0.0)
    assert torch.equal(loss.point.detach(), torch.zeros(2).double())


def test_the_last_weights_are_kept_on_request():
    loss = Mean()
    fit(loss, rows(), steps=10, validation=torch.zeros(4, 2).double(), keep_best=False, progress=False)
    assert not torch.equal(loss.point.detach(), torch.zeros(2).double())


def test_patience_stops_early():
    held_out = torch.zeros(4, 2).double()
    history = fit(Mean(), rows(), steps=99, validation=held_out, validate_every=2, patience=3, progress=False)
    assert (history.stopped, history.num_steps) == ("early stopping", 6)


def test_the_validation_loss_is_the_mean_over_all_held_out_rows():
    flow, held_out = small_flow(), rows(2500)
    history = fit(
        flow, rows(), steps=4, validation=held_out, validate_every=2, keep_best=False, progress=False
    )
    expected = -flow.log_prob(held_out).mean().item()
    assert history["validation_loss"][-1] == pytest.approx(expected, rel=1e-12)
    assert history["validation_loss"].shape == (4,)


def test_validation_rows_that_do_not_fit_are_found_before_training():
    flow = small_flow()
    before = weights(flow)
    with pytest.raises(ValueError, match=r"\(2,\)"):
        fit(flow, rows(), validation=rows(size=3), progress=False)
    assert same(weights(flow), before)


def test_data_without_end_cannot_validate():
    with pytest.raises(TypeError, match="finite set of rows"):
        fit(Mean(), rows(), validation=small_flow(), progress=False)


def test_several_validation_losses_are_recorded_and_choose_no_weights():
    class Evaluated(Game):
        def evaluate_loss(self, batch):
            return Losses(2.0, 3.0)

    game = Evaluated()
    history = fit(game, rows(), steps=2, validation=rows(), progress=False)
    assert history["validation_generator"].tolist() == [3.0, 3.0]
    assert history.best_loss is None
    with pytest.raises(TypeError, match="patience needs one validation loss"):
        fit(game, rows(), steps=2, validation=rows(), patience=1, progress=False)


def test_a_fit_in_another_thread_is_refused_while_one_runs():
    errors = []

    def other(state):
        def train():
            try:
                fit(Mean(), rows(), steps=1, progress=False)
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()

    fit(Mean(), rows(), steps=1, callbacks=[other], progress=False)
    assert "another thread" in errors[0]
