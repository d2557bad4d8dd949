"""The data store: files that a user imports, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import stored
from ebbench.cli import data as data_cli
from ebbench.data import checking, importing, registry
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, StorageError, UsageError
from stored import PACKED, PLAIN, fill

# Fixtures.
toy = stored.toy
mirror = stored.mirror


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
        assert "one of the data sets toy, packed" in str(error.value)
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
        with pytest.raises(UsageError, match="impossible path"):
            Store().import_path(bad)


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


def test_a_wrong_file_is_told_the_data_sets_and_not_each_file(tmp_path: Path) -> None:
    (tmp_path / "wrong.gz").write_bytes(b"hi")
    said = str(CliRunner().invoke(data_cli.app, ["import", str(tmp_path / "wrong.gz")]).exception)
    assert "wrong.gz is a known data file: 2 bytes" in said and "of the data sets toy, packed" in said
    assert "first.gz" not in said
