"""The script behind the make targets says what to do where no environment can be made."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "environment.sh"


def make_environment(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), str(folder), "dev", python]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))


@pytest.fixture
def fake_python(tmp_path):
    """Write a command that answers every question about itself with ``body``, a line of shell."""

    def write(body: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def test_unknown_python_is_named(tmp_path):
    done = make_environment(tmp_path / "venv", "no-such-python")
    assert done.returncode == 1
    assert "PYTHON is 'no-such-python'" in done.stderr


def test_python_outside_the_range_is_refused_with_its_version(tmp_path, fake_python):
    old = fake_python('[ "$1" = --version ] && echo Python 3.10.1 && exit; exit 1')
    done = make_environment(tmp_path / "venv", old)
    assert done.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "Python 3.10.1" in done.stderr


def test_missing_ensurepip_names_the_package_to_install(tmp_path, fake_python):
    bare = fake_python('case "$2" in *ensurepip*) exit 1;; *print*) echo 3.12.4;; esac')
    done = make_environment(tmp_path / "venv", bare)
    assert done.returncode == 1
    assert "apt-get install python3.12-venv" in done.stderr
    assert not (tmp_path / "venv").exists()
