"""Downloads by way of pooch, from a server on this machine: no test uses a network."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest

from ebbench.data import downloading, registry
from ebbench.data.registry import Content, DataFile, Dataset
from ebbench.data.store import Store
from ebbench.errors import DataMissing, StorageError

GOOD = gzip.compress(bytes(range(256)) * 4000, mtime=0) + bytes(200_000)
CONTENT = Content(size=len(GOOD), sha256=hashlib.sha256(GOOD).hexdigest())

# What a mirror does with a request, one entry a request; the last one stands for all that follow.
Answers = list[bytes | int | str]


class Mirrors:
    """A server on 127.0.0.1; `answers["one"]` is what http://127.0.0.1:PORT/one/... gives."""

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}
        self.asked: list[str] = []
        mirrors = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirrors.asked.append(self.path)
                answers = mirrors.answers[self.path.split("/")[1]]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                whole = GOOD if isinstance(answer, str) else answer
                self.send_response(200)
                self.send_header("Content-Length", str(len(whole)))
                if answer == "packed" and "gzip" in self.headers.get("Accept-Encoding", ""):
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                # "breaks off": fewer bytes than were promised, and the connection closed.
                self.wfile.write(whole[:100_000] if answer == "breaks off" else whole)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    """Two mirrors of the data set "toy", which is one file."""
    made = Mirrors()
    entry = Dataset(
        name="toy",
        title="Toy",
        source="made here",
        files=(DataFile(name="toy.gz", packed=CONTENT),),
        mirrors=tuple(f"http://{made.host}/{name}/{{file}}" for name in ("one", "two")),
    )
    monkeypatch.setattr(registry, "DATASETS", {"toy": entry})
    for name in ("EBBENCH_DATA", "EBBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    # Pooch waits a second, and then two.
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=lambda seconds: None))
    yield made
    made.server.shutdown()
    made.server.server_close()


def in_cache() -> list[str]:
    return [path.name for path in (Store().cache / "toy").iterdir()]


def test_a_download_is_verified_and_said(mirrors: Mirrors, capsys: pytest.CaptureFixture[str]) -> None:
    mirrors.answers = {"one": [GOOD]}
    assert Store().path("toy", "toy.gz").read_bytes() == GOOD
    assert in_cache() == ["toy.gz"] and mirrors.asked == ["/one/toy.gz"]
    said = capsys.readouterr()
    assert said.err == f"downloading toy: toy.gz ({len(GOOD):,} bytes) from {mirrors.host}\n" and not said.out


def test_a_terminal_sees_how_far_it_is(
    mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrors.answers = {"one": [GOOD]}
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    Store().path("toy", "toy.gz")
    said = capsys.readouterr()
    assert "kB" in said.err and not said.out


def test_a_transfer_that_breaks_off_is_tried_again(mirrors: Mirrors) -> None:
    mirrors.answers = {"one": ["breaks off", 503, GOOD]}
    assert Store().path("toy", "toy.gz").read_bytes() == GOOD
    assert mirrors.asked == ["/one/toy.gz"] * 3 and in_cache() == ["toy.gz"]


def test_a_mirror_that_goes_on_breaking_off_is_left_for_the_next(mirrors: Mirrors) -> None:
    mirrors.answers = {"one": ["breaks off"], "two": [GOOD]}
    assert Store().path("toy", "toy.gz").read_bytes() == GOOD
    assert mirrors.asked == ["/one/toy.gz"] * (1 + downloading.RETRIES) + ["/two/toy.gz"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (b"<html>please log in</html>" * 99_999, "found more than"),
        (b"", "found 0 bytes"),
        (GOOD[:-1], f"found {len(GOOD) - 1:,} bytes"),
        (bytes(len(GOOD)), "found SHA-256"),
        (404, "404"),
        (403, "403"),
    ],
    ids=["longer", "empty", "cut short", "altered", "not found", "forbidden"],
)
def test_the_next_mirror_is_tried_after_one_that_has_no_good_copy(
    mirrors: Mirrors, wrong: bytes | int, said: str
) -> None:
    mirrors.answers = {"one": [wrong], "two": [wrong]}
    with pytest.raises(DataMissing) as error:
        Store().path("toy", "toy.gz")
    assert error.value.what.count(f"{mirrors.host}: {said}") == 2
    assert "data import" in error.value.fix and in_cache() == []
    mirrors.answers["two"] = [GOOD]
    assert Store().path("toy", "toy.gz").read_bytes() == GOOD
    # What is wrong stays wrong: nothing is asked for twice.
    assert mirrors.asked == ["/one/toy.gz", "/two/toy.gz"] * 2


def test_a_server_that_packs_on_the_way_changes_nothing(mirrors: Mirrors) -> None:
    mirrors.answers = {"one": ["packed"]}
    assert Store().path("toy", "toy.gz").read_bytes() == GOOD


def test_a_mirror_out_of_reach_is_said_at_once(
    mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/toy.gz"
        waits: list[float] = []
        monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=waits.append))
        with pytest.raises(downloading.Failed, match=r"^Failed to .*refused"):
            downloading.download(address, Store().cache / "toy" / "toy.gz", CONTENT, "toy: toy.gz")
    assert waits == [] and capsys.readouterr().err == ""


def test_a_server_that_says_nothing_is_given_up(mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT", (5.0, 0.05))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/toy.gz"
        with pytest.raises(downloading.Failed, match="timed out"):
            downloading.download(address, Store().cache / "toy" / "toy.gz", CONTENT, "toy: toy.gz")


def test_an_interruption_leaves_nothing(mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors.answers = {"one": [GOOD]}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(downloading, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Store().path("toy", "toy.gz")
    assert in_cache() == []


@pytest.mark.parametrize("call", ["write", "replace", "mkdir"])
def test_a_full_disk_is_no_mirrors_fault(
    mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    mirrors.answers = {"one": [GOOD], "two": [GOOD]}
    (Store().cache / "toy").mkdir(parents=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "write":

        class Full:
            name = "toy.gz"

            def write(self, block: bytes) -> int:
                raise OSError(28, "No space left on device")

        write = downloading.write
        monkeypatch.setattr(downloading, "write", lambda file, block: write(Full(), block))
    else:
        monkeypatch.setattr(f"ebbench.data.cache.{'os.replace' if call == 'replace' else 'Path.mkdir'}", full)
    with pytest.raises(StorageError, match="No space left") as error:
        Store().path("toy", "toy.gz")
    assert "EBBENCH_HOME" in error.value.fix and in_cache() == []
    assert len(mirrors.asked) == (0 if call == "mkdir" else 1)


def test_a_home_that_is_a_file_is_said(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="Not a directory") as error:
        Store().path("toy", "toy.gz")
    assert "EBBENCH_HOME" in error.value.fix
