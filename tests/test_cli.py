"""The command line: what it makes, what it refuses and how it says so."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pyro_dgm import __version__, recipes
from pyro_dgm.cli import main
from pyro_dgm.recipes import trial as trial_module
from pyro_dgm.training import Every, fit

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run each command in a folder of its own, so that the default ``runs/`` lands there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def flow_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "flow"
    assert main(["train", "real-nvp", "--steps", "5", "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def image_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("vae", "wgan-gp"):
        assert main(["train", name, "--steps", "5", "--quiet", "--out", str(folder / name)]) == 0
    return folder


def error_of(capsys, *argv):
    """The one line on stderr of a command that is refused before any training."""
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert "training" not in shown.out
    (line,) = shown.err.splitlines()
    return line


BAD = {
    "unknown command": (["trian"], "error: No such command 'trian'"),
    "unknown option": (["train", "real-nvp", "--stesp", "3"], "error: No such option: --stesp"),
    "no model": (["train"], "error: Missing argument 'MODEL'"),
    "unknown model": (["train", "realnvp"], "unknown model 'realnvp': did you mean 'real-nvp'?"),
    "unknown data": (["train", "real-nvp", "--data", "mons"], "did you mean 'moons'?"),
    "vectors wanted": (["train", "ot-flow", "--data", "digits"], "ot-flow is a recipe for vectors"),
    "images wanted": (["train", "vae", "--data", "moons"], "vae is a recipe for images"),
    "no data root": (["train", "vae", "--data", "mnist"], "pass root=DIR (--data-root DIR)"),
    "empty data root": (
        ["train", "vae", "--data", "mnist", "--data-root", "nowhere"],
        "no train-images-idx3",
    ),
    "needless root": (["train", "vae", "--data-root", "."], "digits needs no files"),
    "needless download": (["train", "real-nvp", "--download"], "moons needs no files"),
    "no pixels": (["train", "real-nvp", "--binarize", "fixed"], "moons has no pixels to make binary"),
    "unknown binarization": (["train", "dcgan", "--binarize", "treshold"], "did you mean 'threshold'?"),
    "no steps": (["train", "vae", "--steps", "0"], "'--steps'"),
    "no number": (["train", "vae", "--steps", "many"], "'--steps'"),
    "no time": (["train", "vae", "--seconds", "-3"], "--seconds must be a positive number, but is -3"),
    "endless": (["train", "vae", "--seconds", "inf"], "--seconds must be a positive number, but is inf"),
    "bad seed": (["tour", "--seed", "-1"], "'--seed'"),
    "file as folder": (["train", "real-nvp", "--out", "file"], "file is a file"),
    "below a file": (["train", "real-nvp", "--out", "file/run"], "file/run"),
    "unwritable": (["train", "real-nvp", "--out", "/proc/run"], "/proc/run"),
    "other things": (["train", "real-nvp", "--out", "thesis"], "thesis holds files that are no saved run"),
    "tour into a file": (["tour", "--out", "file"], "file"),
    "tour over other things": (["tour", "--out", "thesis"], "holds 'chapter.tex'"),
    "no run to sample": (["sample", "thesis"], "there is no saved run in thesis"),
    "no run to audit": (["audit", "nowhere"], "there is no saved run in nowhere"),
}


@pytest.mark.parametrize(("argv", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_in_one_line_before_any_training(argv, message, capsys):
    Path("file").write_text("")
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("")
    line = error_of(capsys, *argv)
    assert line.startswith("error: ")
    assert message in line


def test_version_and_help_say_what_they_should(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"pyro-dgm {__version__}"
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("tour", "train", "sample", "audit", "list"))
    assert "pyro-dgm train real-nvp --data moons" in shown


def test_list_names_every_model_and_data_set(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*recipes.names(), "moons", "8gaussians", "digits", "fashion-mnist"))


def test_train_saves_a_run_at_its_default_place_and_says_what_next(capsys):
    assert main(["train", "real-nvp", "--data", "8gaussians", "--steps", "3"]) == 0
    folder = Path("runs/real-nvp-8gaussians")
    assert f"saved in {folder}" in capsys.readouterr().out
    assert recipes.load_run(folder).config["data"] == {"name": "8gaussians", "options": {}}
    assert (folder / "history.csv").read_text().count("\n") == 4


def test_train_ends_after_the_seconds_given():
    assert main(["train", "real-nvp", "--seconds", "0.001", "--quiet", "--out", "run"]) == 0
    assert Path("run/history.csv").read_text().count("\n") == 2


def test_quiet_says_nothing(capfd):
    assert main(["train", "real-nvp", "--steps", "2", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_run_may_be_replaced_but_other_files_only_by_force(capsys):
    argv = ["train", "real-nvp", "--steps", "2", "--quiet", "--out", "run"]
    assert main(argv) == main(argv) == 0
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("text")
    assert main([*argv[:-1], "thesis", "--force"]) == 0
    assert Path("thesis/chapter.tex").read_text() == "text"


def test_interrupt_saves_what_was_learned(monkeypatch, capsys):
    press = Every(4, lambda state: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(trial_module, "fit", lambda *a, **k: fit(*a, **k, callbacks=[press]))
    assert main(["train", "real-nvp", "--steps", "500", "--out", "run"]) == 130
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert "4 updates" in shown.out
    assert recipes.load_run("run").model.sample(3).isfinite().all()


def test_broken_off_run_is_resumed_to_the_same_weights(monkeypatch):
    argv = ["train", "real-nvp", "--steps", "9", "--quiet", "--out"]
    assert main([*argv, "whole"]) == 0
    press = Every(4, lambda state: signal.raise_signal(signal.SIGTERM))
    with monkeypatch.context() as patched:
        patched.setattr(trial_module, "fit", lambda *a, **k: fit(*a, **k, callbacks=[press]))
        assert main([*argv, "run"]) == 143
    assert not Path("run/manifest.json").exists()
    monkeypatch.setattr(trial_module, "fit", lambda *a, **k: fit(*a, **k, callbacks=[Every(4, str)]))
    assert main([*argv, "run", "--resume"]) == 0
    whole, resumed = (recipes.load_run(name).model.state_dict() for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_sample_is_fixed_by_its_seed(flow_run):
    for name, seed in {"a.npy": "1", "b.npy": "1", "c.npy": "2"}.items():
        assert main(["sample", str(flow_run), "--num", "7", "--out", name, "--seed", seed]) == 0
    one, same, other = (np.load(name) for name in ("a.npy", "b.npy", "c.npy"))
    assert one.shape == (7, 2)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_sample_writes_the_same_rows_as_csv_and_a_picture(flow_run):
    for name in ("x.npy", "x.csv", "x.png"):
        assert main(["sample", str(flow_run), "--num", "5", "--out", name]) == 0
    assert Path("x.csv").read_text().splitlines()[0] == "x1,x2"
    np.testing.assert_allclose(np.loadtxt("x.csv", delimiter=",", skiprows=1), np.load("x.npy"), rtol=1e-6)
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


def test_sample_of_images_lands_in_the_run_by_default(image_runs, capsys):
    assert main(["sample", str(image_runs / "vae")]) == 0
    assert (image_runs / "vae" / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert "64 samples of vae, seed 0" in capsys.readouterr().out


def test_sample_refuses_an_unknown_kind_of_file(flow_run, capsys):
    assert "must end in .png, .npy, .csv" in error_of(capsys, "sample", str(flow_run), "--out", "x.gif")


def test_audit_of_a_flow_prints_its_verdict(flow_run, capsys):
    assert main(["audit", str(flow_run)]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert "mass of exp(log_prob)" in shown
    assert "This flow is a density" in shown


@pytest.mark.slow
def test_audit_of_a_continuous_flow_notes_that_training_saw_another_likelihood(tmp_path, capsys):
    options = recipes.get("ot-flow").chosen({"nt_train": 1})
    config = {"recipe": "ot-flow", "event_shape": [2], "options": options, "data": {"name": "moons"}}
    torch.manual_seed(0)
    model = recipes.build_model(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))  # fresh weights move nothing: one step does for them
    recipes.Run(recipes.get("ot-flow"), model, config).save(tmp_path / "run")
    main(["audit", str(tmp_path / "run")])
    shown = capsys.readouterr().out
    assert "J_ML at nt = 16" in shown
    assert "steps from which that holds" in shown
    assert "note: with nt = 1 as in training J_ML is" in shown


@pytest.mark.parametrize(("name", "figure"), [("vae", "-ELBO"), ("wgan-gp", "energy distance")])
def test_audit_of_other_models_prints_what_they_can_give(image_runs, name, figure, capsys):
    assert main(["audit", str(image_runs / name)]) in (0, 1)
    shown = capsys.readouterr().out
    assert "it has no exact density to audit" in shown
    assert figure in shown


def test_damaged_run_is_refused(flow_run, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(flow_run, broken)
    weights = next(broken.glob("weights-*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "error: " in error_of(capsys, "sample", str(broken))


def test_works_without_home_display_or_utf8(flow_run):
    ours = ("MPL", "XDG", "LC_", "LANG", "DISPLAY")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env |= {"HOME": "/proc/nobody", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "COLUMNS": "30"}
    env |= {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pyro_dgm", "sample", str(flow_run), "--out", "samplés.png"]
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1000 samples of real-nvp, seed 0: sampl" in done.stdout
    assert Path("samplés.png").exists()


@pytest.mark.slow
def test_reader_that_leaves_early_is_no_error(tmp_path):
    command = f"{sys.executable} -m pyro_dgm list 2>err.txt | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() in ("0", "141")
    assert Path("err.txt").read_text() == ""


@pytest.mark.slow
def test_ctrl_c_ends_a_tour_in_another_process(tmp_path):
    command = [sys.executable, "-u", "-m", "pyro_dgm", "tour", "--quick", "--out", "tour"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        # a shell's background job ignores Ctrl-C, and so would all that it starts
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no threads here
    ) as tour:
        for line in tour.stdout:
            if line.startswith("[3/5]"):
                tour.send_signal(signal.SIGINT)
                break
        out, err = tour.communicate(timeout=200)
    assert tour.returncode == 130
    assert "Traceback" not in err
    assert "stopped by Ctrl-C: the page shows real-nvp, ot-flow" in out
    assert Path("tour/report.html").exists()


def test_command_line_leaves_the_threads_and_the_generator_alone(flow_run):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert main(["sample", str(flow_run), "--out", "x.npy"]) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
