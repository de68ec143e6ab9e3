"""What needs a package that is not installed says the command that installs it."""

import sys

import pytest
import torch

from pyro_dgm.metrics.pot import import_pot
from pyro_dgm.training import TensorBoardLog, fit
from tests.training.toys import Mean, rows

CALLS = {
    "ot": (import_pot, 'pip install "pyro-dgm[metrics]"'),
    "tensorboard": (
        lambda: fit(Mean(), rows(), steps=1, callbacks=[TensorBoardLog("/tmp")], progress=False),
        'pip install "pyro-dgm[tensorboard]"',
    ),
    "pandas": (lambda: fit(Mean(), rows(), steps=1, progress=False).to_frame(), "pip install pandas"),
}


@pytest.mark.parametrize("package", CALLS)
def test_the_message_has_the_command(package, monkeypatch):
    call, command = CALLS[package]
    for name in [
        n for n in sys.modules if n.split(".")[0] == package or n.startswith("torch.utils.tensorboard")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError) as caught:
        call()
    assert command in str(caught.value)


def test_training_needs_none_of_them(monkeypatch):
    for package in CALLS:
        monkeypatch.setitem(sys.modules, package, None)
    assert torch.isfinite(torch.tensor(fit(Mean(), rows(), steps=2, progress=False).losses)).all()
