"""What a user who guesses is told: the argument, what came, and what to say instead."""

import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pyro_dgm import flows
from pyro_dgm.errors import ArgumentTypeError, DataError, PyroDGMError, ShapeError, UnknownOptionError
from pyro_dgm.flows import MAF, Composition, Embedded, Glow, Planar, RealNVP, Whitened
from pyro_dgm.guides import AmortizedFlow, AmortizedNormal, Empty
from pyro_dgm.models import VAE, ImplicitGenerator, NormalizingFlow
from pyro_dgm.naming import NamedPyroModule
from pyro_dgm.objectives import ELBO, IWAE, Adversarial, Batch, FlowMatching
from pyro_dgm.training import fit
from pyro_dgm.transforms import AffineCoupling, Gated
from tests.training.families import Encoder, unit_normal

X = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))


def flow(**options):
    return RealNVP(2, num_layers=2, hidden_dims=(4,), **options)


def model():
    return NormalizingFlow(flow())


def vae(**options):
    return VAE(nn.Linear(2, 2), 2, likelihood=unit_normal, guide=AmortizedNormal(Encoder()), **options)


def gan():
    return ImplicitGenerator(nn.Linear(2, 2), 2)


def critic():
    return nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))


def run(*args, **options):
    return fit(*args, **{"steps": 1, "progress": False} | options)


WRONG = {
    "a size in quotes": (
        lambda: RealNVP("2"),
        "RealNVP: input_dim must be an integer, but is '2' of type str",
    ),
    "a size with a point": (lambda: RealNVP(2.0), "Did you mean input_dim=2?"),
    "a shape for a size": (lambda: RealNVP((2,)), "input_dim must be an integer"),
    "a scale that may not move": (
        lambda: RealNVP(2, max_log_scale=0),
        "max_log_scale must be positive and finite, but is 0",
    ),
    "a bound at infinity": (lambda: flows.MAF(2, max_log_scale=math.inf), "max_log_scale must be positive"),
    "a bound below zero": (
        lambda: AffineCoupling(nn.Linear(1, 2), 1, max_log_scale=-3.0),
        r"Did you mean max_log_scale=3\.0",
    ),
    "no gate": (lambda: flows.IAF(2, initial_gate=math.nan), "initial_gate must be finite, but is nan"),
    "a gate that is always shut": (lambda: Gated(max_logit=0.0), "max_logit must be positive"),
    "a number for sizes": (lambda: RealNVP(2, hidden_dims=8), r"Did you mean hidden_dims=\(8,\)"),
    "an empty layer": (lambda: RealNVP(2, hidden_dims=(0,)), "every size in hidden_dims must be at least 1"),
    "text for sizes": (lambda: RealNVP(2, hidden_dims="ab"), "hidden_dims must be a sequence of integers"),
    "no context size": (lambda: RealNVP(2, context_dim=None), "context_dim must be an integer"),
    "a part of a layer": (lambda: Planar(2, num_layers=1.5), "num_layers must be an integer"),
    "a truth for a size": (lambda: MAF(True), "input_dim must be an integer, but is True"),
    "a name that is none": (lambda: RealNVP(2, name=3), "name must be a string or None"),
    "another word": (
        lambda: RealNVP(2, layers=3),
        "RealNVP has no argument 'layers': did you mean 'num_layers'",
    ),
    "no word at all": (lambda: MAF(2, activation="relu"), "MAF has no argument 'activation'"),
    "an image without channels": (lambda: Glow(4), "event_shape must be a sequence of integers"),
    "a network for a flow": (lambda: NormalizingFlow(nn.Linear(2, 2)), "flow must be a flow such as"),
    "a distribution for a flow": (lambda: NormalizingFlow(flow()()), "flow must be a flow such as"),
    "a model for a flow": (lambda: NormalizingFlow(model()), "flow must be a flow such as"),
    "a network to whiten": (lambda: Whitened(nn.Linear(2, 2)), "flow must be a flow such as"),
    "numbers for a tensor": (lambda: Whitened(flow(), loc=[0.0, 1.0]), "loc must be a tensor or None"),
    "a number for a decoder": (lambda: VAE(3, 2), "decoder must be an nn.Module"),
    "a latent of no size": (lambda: VAE(nn.Linear(2, 2), 0), "latent_dim >= 1"),
    "a likelihood by name": (
        lambda: VAE(nn.Linear(2, 2), 2, likelihood="normal"),
        "likelihood must be a function",
    ),
    "a prior by name": (
        lambda: VAE(nn.Linear(2, 2), 2, prior="normal"),
        "prior must be an nn.Module or None",
    ),
    "a number for an encoder": (lambda: AmortizedNormal(3), "encoder must be an nn.Module"),
    "a network as a guide's flow": (lambda: AmortizedFlow(Encoder(), nn.Linear(2, 2)), "flow must be a flow"),
    "an embedded network": (
        lambda: Embedded(nn.Linear(2, 2), torch.zeros(2), torch.ones(2)),
        "flow must be a flow",
    ),
    "a flow that is asked": (lambda: flow().log_prob(X), r"Say flow\(\)\.log_prob"),
    "a flow that is drawn from": (lambda: flow().sample((3,)), r"Say flow\(\)\.sample"),
    "a flow that is inverted": (lambda: flow().inverse(X), r"flow\.transform\(context\)"),
    "rows as context": (lambda: flow()(X), "expects no context"),
    "a list as context": (lambda: flow(context_dim=2)([1.0, 2.0]), "context that is a tensor"),
    "integers as context": (lambda: flow(context_dim=2)(X.long()), "context is of dtype torch.int64"),
    "a list of rows": (lambda: model().log_prob(X.tolist()), "as_tensor"),
    "rows in double": (lambda: model().encode(X.double()), r"value\.to\(torch\.float32\)"),
    "rows too wide to encode": (lambda: model().encode(torch.zeros(3, 3)), r"events of shape \(2,\)"),
    "an array for a VAE": (lambda: vae().log_prob_bound(X.numpy()), r"data\.as_rows\(x\)"),
    "rows too wide for a VAE": (
        lambda: vae().encode(torch.zeros(3, 5)),
        r"encoder cannot take .* shape \(3, 5\)",
    ),
    "rows in double for a VAE": (lambda: vae().encode(X.double()), r"x\.to\(torch\.float32\)"),
    "a VAE of NaN": (lambda: vae().log_prob_bound(X * torch.nan), "not finite in row 0"),
    "no particles": (lambda: vae().log_prob_bound(X, 0), "num_particles must be a positive integer"),
    "grey for a Bernoulli": (
        lambda: VAE(nn.Linear(2, 2), 2, guide=AmortizedNormal(Encoder())).log_prob_bound(0.3 + 0 * X),
        "outside the support of the VAE's likelihood.*binarise or dequantise",
    ),
    "a context for nothing": (lambda: vae().sample(3, context=X[:3]), "no part of this VAE reads a context"),
    "contexts of another number": (
        lambda: NormalizingFlow(flow(context_dim=2)).sample(7, context=X[:3]),
        "7 rows need 7 contexts",
    ),
    "draws of a fraction": (lambda: vae().sample(2.5), "n must be a positive integer.*Did you mean n=2"),
    "draws in quotes": (lambda: vae().sample("3"), "n must be a positive integer"),
    "a seed in quotes": (lambda: vae().sample(3, seed="a"), "seed must be an integer or None"),
    "codes of another size": (lambda: ImplicitGenerator(nn.Linear(2, 2), 3), "the generator cannot take"),
    "a flow for an objective": (lambda: ELBO(flow()), r"ELBO\(NormalizingFlow\(flow\)\)"),
    "a game by likelihood": (lambda: ELBO(gan()), r"objectives\.Adversarial"),
    "particles of no number": (
        lambda: ELBO(vae(), num_particles=0),
        "num_particles must be a positive integer",
    ),
    "a fraction of particles": (
        lambda: IWAE(vae(), num_particles=1.5),
        "num_particles must be a positive integer",
    ),
    "another option": (
        lambda: ELBO(vae(), particles=2),
        "ELBO has no argument 'particles': did you mean 'num_particles'",
    ),
    "guide and model swapped": (lambda: run((Empty(), model()), X), "swap the two"),
    "an array for an objective": (lambda: ELBO(model())(X.numpy()), "takes a Batch or a tensor"),
    "one optimiser for two": (
        lambda: Adversarial(gan(), critic(), torch.optim.Adam(critic().parameters())),
        "optimizers must be a pair",
    ),
    "matching without a velocity": (lambda: FlowMatching(model()), "flow matching trains a velocity"),
    "matching of other rows": (
        lambda: FlowMatching(flows.CNF(2, hidden_dims=(4,)))(torch.zeros(3, 5)),
        r"events of shape \(2,\)",
    ),
    "a misspelt option of fit": (
        lambda: run(model(), X, stpes=3),
        "fit has no argument 'stpes': did you mean 'steps'",
    ),
    "the option of another library": (lambda: run(model(), X, n_epochs=3), "did you mean 'epochs'"),
    "a path for data": (lambda: run(model(), Path("x.npy")), "read the file first"),
    "a name for data": (lambda: run(model(), "moons"), r"pyro_dgm\.data\.load"),
    "one callback": (lambda: run(model(), X, callbacks=print), r"callbacks=\[print\]"),
    "a half-hearted resume": (
        lambda: run(model(), X, checkpoint="run", resume="yes"),
        "unknown resume 'yes'",
    ),
    "an unknown compiler": (lambda: run(model(), X, compile="inductr"), "did you mean 'inductor'"),
    "a wide row for a VAE": (lambda: run(vae(), torch.zeros(9, 5)), "encoder cannot take"),
    "a part without bijection": (lambda: Composition(2, [3]), "is no module"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_answered_in_our_words(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((PyroDGMError, TypeError, AttributeError), match=message):
        call()
    assert os.listdir() in ([], ["run"])


def test_errors_of_arguments_are_errors_of_python_too():
    with pytest.raises(TypeError):
        RealNVP("2")
    with pytest.raises(UnknownOptionError):
        RealNVP(2, layers=3)
    assert issubclass(UnknownOptionError, ArgumentTypeError)


def test_a_masked_entry_is_missing_and_not_the_number_below():
    rows = np.ma.masked_array(X.numpy(), mask=np.zeros((20, 2), bool))
    rows.mask[4, 1] = True
    with pytest.raises(DataError, match="row 4, column 1"):
        run(model(), rows)


def test_no_rows_have_a_bound_each():
    assert vae().log_prob_bound(X[:0]).shape == (0,)


def test_numpy_integers_are_integers():
    assert RealNVP(np.int64(2), num_layers=np.int32(2), hidden_dims=[np.int64(4)])().event_shape == (2,)


def test_annotations_of_other_peoples_classes_are_their_own():
    class Theirs(NamedPyroModule):
        def __init__(self, size: int = None):  # noqa: RUF013  as people write it
            super().__init__()
            self.size = size

    assert Theirs().size is None
    with pytest.raises(UnknownOptionError, match="did you mean 'size'"):
        Theirs(sise=3)


def test_an_error_inside_a_constructor_is_not_taken_for_a_misspelt_option():
    def conditioner(**options):
        return nn.Linear(size=3)

    with pytest.raises(TypeError, match=r"Linear\.__init__") as caught:
        RealNVP(2, conditioner=lambda *a, **k: conditioner())
    assert not isinstance(caught.value, UnknownOptionError)


def test_parts_on_two_devices_are_refused():
    two = vae()
    two.decoder.to("meta")
    with pytest.raises(ValueError, match="on several devices, cpu, meta"):
        run(two, X)


def test_a_batch_larger_than_the_data_is_all_of_them():
    seen = []
    run(model(), X, batch_size=1000, callbacks=[lambda state: seen.append(state.step)], epochs=1, steps=None)
    assert seen == [1]


def test_rows_that_need_a_gradient_get_none_and_are_not_touched():
    x = X.clone().requires_grad_()
    run(model(), x)
    assert x.grad is None
    assert torch.equal(x.detach(), X)


def test_clipping_is_on_by_default():
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.point = nn.Parameter(torch.zeros(2))

        def forward(self, batch):
            return 1e6 * self.point.sum()

    steep = Steep()
    history = run(steep, X, optimizer=torch.optim.SGD, lr=1.0)
    assert history["grad_norm"][0] > 1e6
    assert steep.point.detach().norm().item() == pytest.approx(10.0)


def test_a_notebook_without_widgets_gets_the_plain_bar(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for name in [n for n in sys.modules if n.startswith(("tqdm.auto", "tqdm.notebook"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("tqdm.autonotebook.get_ipython", lambda: None, raising=False)
    assert run(model(), X, progress=True).num_steps == 1
    assert "fit" in capsys.readouterr().err


def test_a_context_of_another_thread_is_its_own():
    found = []
    conditional = flow(context_dim=2)

    def work():
        found.append(conditional(X).batch_shape)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(20,)]


def test_shapes_are_errors_of_their_own_kind():
    with pytest.raises(ShapeError):
        ELBO(model())(Batch(torch.zeros(3, 3)))
