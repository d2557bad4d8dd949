"""The data store: look-up, verification, download and import. No test here uses the network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbench.cli import data as data_cli
from ebbench.data import registry
from ebbench.data import store as store_module
from ebbench.data.registry import DATASETS, Content, DataFile, Dataset
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, StorageError, UsageError, check

PLAIN = {"first.gz": b"one " * 3000, "second.gz": bytes(range(256)) * 40}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in PLAIN.items()}


def content(data: bytes) -> Content:
    return Content(size=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One data set of two files, and no network."""
    files = tuple(DataFile(name=n, packed=content(PACKED[n]), plain=content(PLAIN[n])) for n in PLAIN)
    entry = Dataset(
        name="toy",
        title="Toy",
        source="made here",
        files=files,
        mirrors=("https://one.invalid/{file}", "https://two.invalid/{file}"),
        folders=("TOY/raw",),
    )
    for module in (store_module, registry):
        monkeypatch.setattr(module, "DATASETS", {"toy": entry})
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.delenv("EBBENCH_OFFLINE", raising=False)

    def no_network(address: str) -> io.BytesIO:
        raise OSError(f"no network in tests: {address}")

    monkeypatch.setattr(store_module, "_open_url", no_network)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network that serves the toy files; the list of addresses that were asked for."""
    asked: list[str] = []

    def serve(address: str) -> io.BytesIO:
        asked.append(address)
        return io.BytesIO(PACKED[address.rsplit("/", 1)[1]])

    monkeypatch.setattr(store_module, "_open_url", serve)
    return asked


def fill(folder: Path, *, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLAIN:
        (folder / (name if packed else name.removesuffix(".gz"))).write_bytes(
            (PACKED if packed else PLAIN)[name]
        )
    return folder


@pytest.mark.parametrize("inside", ["toy", ".", "TOY/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_given_is_searched_in_every_layout(tmp_path: Path, inside: str, packed: bool) -> None:
    fill(tmp_path / "data" / inside, packed=packed)
    found = Store(tmp_path / "data").paths("toy")
    for name, path in found.items():
        expected = PACKED[name] if packed else PLAIN[name]
        assert path.read_bytes() == expected
    assert list(found) == list(PLAIN)


def test_the_order_is_the_given_folder_then_the_environment_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, shared = fill(tmp_path / "given"), fill(tmp_path / "shared")
    cache = fill(Store().cache / "toy")
    assert Store().path("toy", "first.gz").parent == cache
    monkeypatch.setenv("EBBENCH_DATA", str(shared))
    assert Store().path("toy", "first.gz").parent == shared
    assert Store(given).path("toy", "first.gz").parent == given
    (shared / "first.gz").unlink()
    assert Store().path("toy", "first.gz").parent == cache


def test_the_cache_is_the_platforms_unless_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "home"))
    assert Store().cache == tmp_path / "home" / "data"
    monkeypatch.delenv("EBBENCH_HOME")
    assert "ebbench" in str(Store().cache)


@pytest.mark.parametrize("damage", ["cut", "altered", "empty"])
@pytest.mark.parametrize("where", ["data_dir", "EBBENCH_DATA"])
def test_a_bad_file_of_the_user_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str], damage: str, where: str
) -> None:
    folder = fill(tmp_path / "data")
    good = PACKED["second.gz"]
    bad = {"cut": good[:-7], "altered": good[:50] + b"!" + good[51:], "empty": b""}[damage]
    assert bad != good
    (folder / "second.gz").write_bytes(bad)
    fill(Store().cache / "toy")  # a good copy elsewhere is no reason to go on in silence
    if where == "EBBENCH_DATA":
        monkeypatch.setenv("EBBENCH_DATA", str(folder))
    store = Store(folder if where == "data_dir" else None)
    assert store.path("toy", "first.gz") == folder / "first.gz"
    with pytest.raises(DataError) as error:
        store.path("toy", "second.gz")
    assert not isinstance(error.value, DataMissing)
    said = str(error.value)
    assert "second.gz" in said and "found" in said and "expected" in said and str(folder) in said
    assert (folder / "second.gz").read_bytes() == bad and not list(folder.glob("*.bad"))
    assert mirror == []


def test_a_bad_file_in_the_cache_is_set_aside_and_fetched_again(
    mirror: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = fill(Store().cache / "toy")
    (cache / "first.gz").write_bytes(b"rubbish")
    assert Store().path("toy", "first.gz").read_bytes() == PACKED["first.gz"]
    assert (cache / "first.gz.bad").read_bytes() == b"rubbish"
    assert mirror == ["https://one.invalid/first.gz"]
    assert "first.gz.bad" in capsys.readouterr().err


def test_a_folder_that_lacks_the_data_or_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str]
) -> None:
    fill(Store().cache / "toy")
    with pytest.raises(DataError) as error:
        Store(tmp_path).paths("toy")
    assert not isinstance(error.value, DataMissing)
    assert "first.gz" in str(error.value) and "leave --data-dir out" in str(error.value)
    with pytest.raises(DataError, match="does not exist"):
        Store(tmp_path / "nowhere")
    monkeypatch.setenv("EBBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as error:
        Store()
    assert "EBBENCH_DATA" in str(error.value)
    assert mirror == []


def test_a_download_is_verified_kept_and_not_repeated(
    mirror: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = Store().paths("toy")
    assert {path.name for path in first.values()} == set(PLAIN)
    assert len(mirror) == 2 and "downloading first.gz" in capsys.readouterr().err
    assert Store(offline=True).paths("toy") == first
    assert len(mirror) == 2
    assert sorted(path.name for path in (Store().cache / "toy").iterdir()) == sorted(PLAIN)


class Breaking(io.BytesIO):
    """A connection that breaks after the first block."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(data)
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise self.error
        return super().read(10)


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), TimeoutError("timed out"), KeyboardInterrupt()]
)
def test_a_download_that_breaks_off_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(store_module, "_open_url", lambda address: Breaking(PACKED["first.gz"], error))
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataMissing):
        Store().path("toy", "first.gz")
    assert list((Store().cache / "toy").iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [b"<html>please log in</html>" * 9999, b"", PACKED["first.gz"][:-1], bytes(len(PACKED["first.gz"]))],
    ids=["longer", "empty", "cut short", "altered"],
)
def test_the_next_mirror_is_tried_after_one_that_serves_something_else(
    monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    served = {"one.invalid": wrong, "two.invalid": PACKED["first.gz"]}
    monkeypatch.setattr(store_module, "_open_url", lambda address: io.BytesIO(served[address.split("/")[2]]))
    assert Store().path("toy", "first.gz").read_bytes() == PACKED["first.gz"]
    served["two.invalid"] = wrong
    with pytest.raises(DataMissing, match="two.invalid: found") as error:
        Store().path("toy", "second.gz")
    assert "expected" in error.value.what
    assert [path.name for path in (Store().cache / "toy").iterdir()] == ["first.gz"]


def test_what_cannot_be_had_says_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataMissing) as error:
        Store().path("toy", "first.gz")
    said = str(error.value)
    assert "no network in tests" in said and "ebbench data import" in said and "cache" in said
    with pytest.raises(DataMissing, match="switched off"):
        Store(offline=True).path("toy", "first.gz")
    assert capsys.readouterr().err == ""


def test_offline_by_the_environment(monkeypatch: pytest.MonkeyPatch, mirror: list[str]) -> None:
    monkeypatch.setenv("EBBENCH_OFFLINE", "1")
    with pytest.raises(DataMissing, match="switched off"):
        Store().path("toy", "first.gz")
    assert mirror == []


def test_a_cache_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError) as error:
        Store().path("toy", "first.gz")
    assert "EBBENCH_HOME" in str(error.value)


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="unknown data set 'tyo'") as error:
        Store().paths("tyo")
    assert "did you mean 'toy'" in str(error.value)
    with pytest.raises(UsageError):
        Store().path("toy", "third.gz")


@pytest.mark.parametrize("form", ["packed", "plain", "packed anew", "renamed"])
def test_import_recognises_a_file_by_its_content(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("download(1)" if form == "renamed" else "first.gz")
    anew = gzip.compress(PLAIN["first.gz"], compresslevel=1, mtime=5)
    assert anew != PACKED["first.gz"]
    path.write_bytes({"plain": PLAIN["first.gz"], "packed anew": anew}.get(form, PACKED["first.gz"]))
    (imported,) = Store().import_path(path)
    assert (imported.dataset, imported.file, imported.origin) == ("toy", "first.gz", path)
    found = Store(offline=True).path("toy", "first.gz")
    assert found == imported.path
    assert found.read_bytes() == (PACKED if form in ("packed", "renamed") else PLAIN)["first.gz"]
    assert path.exists()


def test_import_takes_a_folder_and_passes_over_what_it_does_not_know(tmp_path: Path) -> None:
    fill(tmp_path / "mine" / "deep" / "down")
    (tmp_path / "mine" / "notes.txt").write_text("hello")
    (tmp_path / "mine" / "same-size").write_bytes(bytes(len(PACKED["first.gz"])))
    (tmp_path / "mine" / "broken.gz").write_bytes(PACKED["first.gz"][:-9])
    imported = Store().import_path(tmp_path / "mine")
    assert sorted(one.file for one in imported) == sorted(PLAIN)
    assert len(Store(offline=True).paths("toy")) == 2


def test_import_of_nothing_known(tmp_path: Path) -> None:
    cut = tmp_path / "first.gz"
    cut.write_bytes(PACKED["first.gz"][:-3])
    for path in (cut, tmp_path):
        with pytest.raises(DataError) as error:
            Store().import_path(path)
        assert "first.gz (toy)" in str(error.value)
    with pytest.raises(DataError, match="nothing to import"):
        Store().import_path(tmp_path / "nowhere")
    assert not Store().cache.exists()


def test_check_says_what_was_found_and_what_expected(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert check(path, content(b"abc")) == ""
    assert check(path, content(b"abcd")) == "found 3 bytes, expected 4"
    said = check(path, content(b"abd"))
    assert said.startswith("found SHA-256 ba7816bf") and content(b"abd").sha256 in said


def test_what_nobody_publishes_is_imported_and_not_fetched(
    mirror: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = replace(registry.DATASETS["toy"], name="alone", mirrors=())
    for module in (store_module, registry):
        monkeypatch.setattr(module, "DATASETS", {"alone": alone, **module.DATASETS})
    run = CliRunner().invoke
    fetched = run(data_cli.app, ["fetch"])
    assert fetched.exit_code == 0 and "toy: second.gz" in fetched.stdout and len(mirror) == 2
    named = run(data_cli.app, ["fetch", "alone"])
    assert isinstance(named.exception, DataMissing)
    assert "data import" in str(named.exception) and "data fetch" not in str(named.exception)


def test_the_command_line_lists_imports_verifies(tmp_path: Path) -> None:
    run = CliRunner().invoke
    fill(tmp_path / "mine", packed=False)
    assert run(data_cli.app, ["import", str(tmp_path / "mine")]).exit_code == 0
    listed = run(data_cli.app, ["list", "--json"])
    rows = json.loads(listed.stdout)
    assert [(row["dataset"], row["file"], row["state"]) for row in rows] == [
        ("toy", "first.gz", "ok"),
        ("toy", "second.gz", "ok"),
    ]
    assert run(data_cli.app, ["verify", "toy"]).exit_code == 0
    assert run(data_cli.app, ["fetch", "toy"]).exit_code == 0
    bad = Store().cache / "toy" / "second"
    bad.write_bytes(b"short")
    failed = run(data_cli.app, ["verify"])
    assert isinstance(failed.exception, DataError)
    assert "found 5 bytes" in str(failed.exception) and bad.exists()
    assert "bad" in run(data_cli.app, ["list"]).stdout
    bad.unlink()
    assert run(data_cli.app, ["verify"]).exit_code == 0
    assert isinstance(run(data_cli.app, ["verify", "toy"]).exception, DataError)


# The checksums by which MNIST's files have been known since before SHA-256 was usual.
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


def test_the_real_table_fits_the_files_at_hand(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (store_module, registry):
        monkeypatch.setattr(module, "DATASETS", DATASETS)
    found = Store(mnist).paths("mnist")
    assert set(found) == set(MD5)
    for name, path in found.items():
        if path.name == name:
            assert hashlib.md5(path.read_bytes()).hexdigest() == MD5[name]
    # The other form's size and hash: of what the packed file holds.
    for entry in DATASETS.values():
        for file in entry.files:
            packed = mnist / entry.name / file.name
            if packed.exists():
                assert content(packed.read_bytes()) == file.packed
                assert content(gzip.decompress(packed.read_bytes())) == file.plain


def test_the_store_is_light() -> None:
    code = (
        "import sys, ebbench.data.store; print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
