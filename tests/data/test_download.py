"""Downloads from a server that lies, is silent, or is not there."""

import gzip
import hashlib
import http.server
import socket
import threading
from contextlib import contextmanager
from importlib import import_module

import pytest

from pyro_dgm.data import mnist
from pyro_dgm.errors import DataError, MissingDataError

torchvision = pytest.importorskip("torchvision")
NAMES = [name for name, _ in torchvision.datasets.MNIST.resources]


def idx(kind, n):
    """A file of n images or labels, as the data set stores them."""
    if "images" in kind:
        return bytes([0, 0, 8, 3]) + b"".join(k.to_bytes(4, "big") for k in (n, 28, 28)) + bytes(n * 784)
    return bytes([0, 0, 8, 1]) + n.to_bytes(4, "big") + bytes(n)


@contextmanager
def serving(files, monkeypatch, checksums=True):
    """A server with these files, as the only source of the data set; their checksums are told to it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path.lstrip("/"))
            self.send_response(404 if content is None else 200)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"]
        )
        if checksums:
            told = [(name, hashlib.md5(files[name]).hexdigest()) for name in NAMES]
            monkeypatch.setattr(torchvision.datasets.MNIST, "resources", told)
        try:
            yield
        finally:
            server.shutdown()


def good_files():
    return {name: gzip.compress(idx(name, 3)) for name in NAMES}


def test_files_with_the_right_checksum_are_fetched_and_read(tmp_path, monkeypatch):
    with serving(good_files(), monkeypatch):
        assert mnist(tmp_path, download=True).train.shape == (3, 1, 28, 28)
    assert mnist(tmp_path).test.shape == (3, 1, 28, 28)  # and are there from now on


def test_files_of_another_checksum_are_refused_and_not_used(tmp_path, monkeypatch):
    with (
        serving(good_files(), monkeypatch, checksums=False),
        pytest.raises(MissingDataError, match="download"),
    ):
        mnist(tmp_path, download=True)
    with pytest.raises(MissingDataError):
        mnist(tmp_path)
    assert not list(tmp_path.rglob("*ubyte"))


@pytest.mark.parametrize(
    "content",
    [b"", b"no zip", gzip.compress(b"\x00\x00"), gzip.compress(idx("images", 3))[:40]],
    ids=["empty", "no zip", "no images", "cut off"],  # the bytes hold the time
)
def test_files_that_are_none_are_refused(content, tmp_path, monkeypatch):
    files = dict.fromkeys(NAMES, content)
    with serving(files, monkeypatch), pytest.raises((DataError, MissingDataError)):
        mnist(tmp_path, download=True)


def test_names_that_the_server_chooses_do_not_matter(tmp_path, monkeypatch):
    # a zip stream may carry a name; it is not used
    files = good_files()
    name = NAMES[0]
    packed = bytearray(files[name])
    packed[3] |= 8  # a name follows the header
    files[name] = bytes(packed[:10]) + b"../../outside\0" + bytes(packed[10:])
    with serving(files, monkeypatch):
        assert mnist(tmp_path / "data", download=True).train.shape == (3, 1, 28, 28)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_no_server_is_an_error_that_says_to_fetch_the_files_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(MissingDataError, match="Fetch the files elsewhere"):
        mnist(tmp_path, download=True)


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    patience = import_module("pyro_dgm.data.mnist").patience
    with socket.socket() as silent, patience(0.3):
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(
            torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"]
        )
        with pytest.raises(MissingDataError, match=r"timed out|download"):
            mnist(tmp_path, download=True)
    assert socket.getdefaulttimeout() is None
