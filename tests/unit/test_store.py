"""The data store: look-up, verification, import. Nothing here uses a network; test_downloading.py has it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbench.cli import data as data_cli
from ebbench.data import checking, importing, registry
from ebbench.data import store as store_module
from ebbench.data.checking import check
from ebbench.data.downloading import Failed
from ebbench.data.registry import DATASETS, Content, DataFile, Dataset
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, StorageError, UsageError

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
    monkeypatch.setattr(registry, "DATASETS", {"toy": entry})
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.delenv("EBBENCH_OFFLINE", raising=False)

    def no_network(address: str, *_: object) -> None:
        raise Failed(f"no network in tests: {address}")

    monkeypatch.setattr(store_module, "download", no_network)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network that serves the toy files; the list of addresses that were asked for."""
    asked: list[str] = []

    def serve(address: str, target: Path, *_: object) -> None:
        asked.append(address)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(PACKED[address.rsplit("/", 1)[1]])

    monkeypatch.setattr(store_module, "download", serve)
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


def test_a_download_is_kept_and_not_repeated(mirror: list[str]) -> None:
    first = Store().paths("toy")
    assert {path.name for path in first.values()} == set(PLAIN)
    assert len(mirror) == 2
    assert Store(offline=True).paths("toy") == first
    assert len(mirror) == 2
    assert sorted(path.name for path in (Store().cache / "toy").iterdir()) == sorted(PLAIN)


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


def test_what_has_no_end_or_leads_nowhere_is_not_read(tmp_path: Path) -> None:
    mine = fill(tmp_path / "mine")
    os.mkfifo(mine / "pipe")
    (mine / "zeros").symlink_to("/dev/zero")
    (mine / "broken").symlink_to("nowhere")
    (mine / "circle").symlink_to(".")
    (mine / "loop").symlink_to("loop")
    assert len(Store().import_path(mine)) == 2
    for name, said in (("pipe", "a named pipe"), ("zeros", "a device"), ("broken", "a link to nothing")):
        with pytest.raises(DataError, match="nothing to import") as error:
            Store().import_path(mine / name)
        assert said in error.value.where
    for bad in (mine / "loop", mine / "a\0b", mine / ("n" * 300), Path("~nobody_is_called_so/x")):
        with pytest.raises(UsageError, match="cannot be"):
            Store().import_path(bad)


@pytest.mark.parametrize("where", ["data_dir", "EBBENCH_DATA", "cache"])
@pytest.mark.parametrize(
    ("name", "said"), [("pipe", "a named pipe"), ("/dev/zero", "a device"), ("nowhere", "a link to nothing")]
)
def test_a_data_file_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str], where: str, name: str, said: str
) -> None:
    folder = fill(Store().cache / "toy" if where == "cache" else tmp_path / "data")
    (folder / "first.gz").unlink()
    if name == "pipe":
        os.mkfifo(folder / "first.gz")
    else:
        (folder / "first.gz").symlink_to(name)
    if where == "EBBENCH_DATA":
        monkeypatch.setenv("EBBENCH_DATA", str(folder))
    store = Store(folder if where == "data_dir" else None)
    assert [said in one.found for one in store.survey("toy")] == [True, False]
    if where == "cache":
        assert store.path("toy", "first.gz").read_bytes() == PACKED["first.gz"]
        assert os.path.lexists(folder / "first.gz.bad") and len(mirror) == 1
        return
    with pytest.raises(DataError, match=said):
        store.path("toy", "first.gz")


def test_a_folder_in_the_place_of_a_file_is_passed_over(tmp_path: Path) -> None:
    # As tools do that unpack an archive into a folder of its name.
    folder = tmp_path / "toy" / "first"
    folder.mkdir(parents=True)
    (tmp_path / "first").write_bytes(PLAIN["first.gz"])
    assert Store(tmp_path).path("toy", "first.gz") == tmp_path / "first"


def test_a_place_that_cannot_be_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="no folder") as error:
        Store(tmp_path / "file")
    assert "--data-dir" in error.value.where and "a file" in error.value.where
    for bad in ("~nobody_is_called_so/x", "n" * 300, "a\0b"):
        with pytest.raises(UsageError, match="--data-dir"):
            Store(Path(bad))
    monkeypatch.setenv("EBBENCH_DATA", "~nobody_is_called_so/x")
    with pytest.raises(UsageError, match="EBBENCH_DATA"):
        Store()
    monkeypatch.delenv("EBBENCH_DATA")
    monkeypatch.setenv("EBBENCH_HOME", "~nobody_is_called_so/x")
    with pytest.raises(StorageError, match="EBBENCH_HOME"):
        Store()
    assert Store(fill(tmp_path / "data")).path("toy", "first.gz").is_file()


def test_a_given_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    store = Store(Path("data"))
    monkeypatch.chdir("/")
    assert store.path("toy", "first.gz") == tmp_path / "data" / "first.gz"


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, folder: Path) -> None:
    """The user may not enter `folder`. (A test may run as root, whom no permission stops.)"""
    real = getattr(Path, method)

    def refused(self: Path, *args: object, **words: object) -> object:
        if folder in self.parents:
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **words)

    monkeypatch.setattr(Path, method, refused)


@pytest.mark.parametrize("method", ["stat", "open"])
def test_a_folder_without_permission_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    folder = fill(tmp_path / "data")
    refuse(monkeypatch, method, folder)
    for attempt in (
        lambda: Store(folder).path("toy", "first.gz"),
        lambda: Store(folder).survey("toy"),
        lambda: Store().import_path(folder),
        lambda: Store().import_path(folder / "first.gz"),
    ):
        with pytest.raises((StorageError, UsageError), match="Permission denied") as error:
            attempt()
        assert str(folder) in error.value.where


def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "data" / "open")
    scandir = os.scandir

    def refused(path: str) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (tmp_path / "data" / "shut").mkdir()
    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(StorageError, match="shut: Permission denied"):
        Store().import_path(tmp_path / "data")


@pytest.mark.parametrize("change", ["grows", "shrinks", "altered", "gone"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_changes_while_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, packed: bool
) -> None:
    path = tmp_path / "first.gz"
    # Packed anew, it is unpacked on the way.
    good = gzip.compress(PLAIN["first.gz"], compresslevel=1, mtime=5) if packed else PLAIN["first.gz"]
    path.write_bytes(good)
    recognise = importing._recognise

    def change_then(candidate: Path) -> object:
        known = recognise(candidate)
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes({"grows": good * 3, "shrinks": good[:-9], "altered": good[:-3] + b"abc"}[change])
        return known

    monkeypatch.setattr(importing, "_recognise", change_then)
    with pytest.raises((DataError, StorageError)) as error:
        Store().import_path(path)
    assert str(path) in error.value.where
    assert not any(one.is_file() for one in Store().cache.rglob("*"))


def test_an_import_on_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "mine")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ebbench.data.cache.os.replace", full)
    with pytest.raises(StorageError, match="No space left") as error:
        Store().import_path(tmp_path / "mine")
    assert "EBBENCH_HOME" in error.value.fix
    assert list((Store().cache / "toy").iterdir()) == []


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "bomb.gz", []
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    path.write_bytes(path.read_bytes()[: 2 * len(PLAIN["first.gz"])])
    monkeypatch.setattr(importing, "BLOCK", 1000)
    real = gzip.GzipFile.read

    def count(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        block = real(self, size)
        read.append(len(block))
        return block

    monkeypatch.setattr(gzip.GzipFile, "read", count)
    with pytest.raises(DataError, match="known data file"):
        Store().import_path(path)
    assert 0 < sum(read) <= len(PLAIN["first.gz"]) + 1000


def test_a_huge_file_is_not_hashed_to_its_end(tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(DataError, match="larger than any of them"):
        Store().import_path(tmp_path / "huge")
    assert checking.measure(tmp_path / "huge", limit=10)[0] == 11


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read and hashed, in order; the process remembers none yet."""
    seen: list[Path] = []
    real = checking.measure

    def measure(path: Path, limit: int) -> tuple[int, str]:
        seen.append(path)
        return real(path, limit)

    monkeypatch.setattr(checking, "measure", measure)
    monkeypatch.setattr(checking, "_good", {})
    return seen


def test_a_file_is_read_once_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    folder = fill(tmp_path / "data")
    monkeypatch.setattr(checking, "_is_settled", lambda stamp: True)
    for _ in range(3):
        assert all(one.state == "ok" for one in Store(folder).survey("toy"))
        Store(folder).paths("toy")
    assert reads == [folder / "first.gz", folder / "second.gz"]
    Store(folder).verify("toy")
    assert len(reads) == 4


def test_a_file_that_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    folder = fill(tmp_path / "data")
    monkeypatch.setattr(checking, "_is_settled", lambda stamp: True)
    path = Store(folder).path("toy", "first.gz")
    before = path.stat()
    altered = PACKED["first.gz"][:50] + b"!" + PACKED["first.gz"][51:]
    # Of the same size, and with its time set back: the time of the new attributes tells.
    path.write_bytes(altered)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="altered"):
        Store(folder).path("toy", "first.gz")
    path.write_bytes(PACKED["first.gz"])
    assert Store(folder).path("toy", "first.gz") == path and len(reads) == 3


def test_a_file_that_was_written_just_now_is_not_trusted(tmp_path: Path, reads: list[Path]) -> None:
    # Within one tick of the file system's clock it could change and look the same.
    folder = fill(tmp_path / "data")
    Store(folder).path("toy", "first.gz")
    Store(folder).path("toy", "first.gz")
    assert len(reads) == 2
    old = (0, 0, 0, 1_000_000_000, 1_000_000_000)
    assert checking._is_settled(old) and not checking._is_settled((0, 0, 0, 0, 1 << 62))


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
    monkeypatch.setattr(registry, "DATASETS", {"alone": alone, **registry.DATASETS})
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
    assert isinstance(run(data_cli.app, ["fetch", "toy", "nonsense"]).exception, UsageError)
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
    monkeypatch.setattr(registry, "DATASETS", DATASETS)
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
                if file.plain is not None:
                    assert content(gzip.decompress(packed.read_bytes())) == file.plain


def test_the_table_of_data_sets_is_whole() -> None:
    assert {"mnist", "kdd99", "cifar10", "inception"} <= set(DATASETS)
    for entry in DATASETS.values():
        assert entry.title and entry.source and entry.files
        assert len({file.name for file in entry.files}) == len(entry.files)
        # SVHN is published with an http address alone; what comes is held to its SHA-256 either way.
        assert all(address.startswith("https://") for address in entry.mirrors) or entry.name == "svhn"
        # An address without the file's name serves one file.
        assert all("{file}" in address for address in entry.mirrors) or len(entry.files) == 1
        for one in (form for file in entry.files for form in file.forms.values()):
            assert one.size > 0 and len(bytes.fromhex(one.sha256)) == 32


def test_the_store_is_light() -> None:
    heavy = ("torch", "numpy", "pandas", "pooch", "requests", "rich")
    code = f"import sys, ebbench.data.store; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
