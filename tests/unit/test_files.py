"""Paths: what a user can give, ebbench's own home, and files written whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs
import pytest

from ebbench.errors import StorageError, UsageError
from ebbench.storage import files

LONG = "a" * 300


def test_a_users_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert files.absolute("x/../y", "--results") == tmp_path / "x" / ".." / "y"
    assert files.absolute(Path("~/x"), "--results") == Path("/somewhere/x")
    assert files.absolute("/x/y", "--results") == Path("/x/y")


@pytest.mark.parametrize("path", ["~nobody_is_called_so/x", "a\0b", LONG, "loop/x", "\ud800"])
def test_a_path_that_cannot_be_is_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="^--results names an impossible path: ") as error:
        files.absolute(path, "--results")
    assert repr(path) in error.value.where and error.value.fix


def test_a_directory_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="working directory is gone"):
        files.absolute("x", "--results")
    monkeypatch.setenv("EBBENCH_HOME", "home-of-a-directory-that-is-gone")
    with pytest.raises(StorageError, match="working directory is gone"):
        files.home()


def test_the_home_is_the_environments_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("EBBENCH_HOME", "~/own")
    assert files.home() == Path("/somewhere/own")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBENCH_HOME", "home-beside-me")
    assert files.home() == tmp_path / "home-beside-me"


def test_a_relative_home_stays_where_it_was_first_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBENCH_HOME", "home-that-stays")
    first = files.home()
    # As a plug-in may do.
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert files.home() == first == tmp_path / "home-that-stays"


@pytest.mark.parametrize("home", ["~nobody_is_called_so/x", LONG, "loop/x"])
def test_a_home_that_cannot_be_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("EBBENCH_HOME", home)
    with pytest.raises(StorageError) as error:
        files.home()
    assert f"EBBENCH_HOME={home}" in str(error.value)


def test_a_user_without_a_home_is_told_to_choose_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EBBENCH_HOME")

    def none(name: str) -> Path:
        raise RuntimeError("no home directory")

    monkeypatch.setattr(platformdirs, "user_cache_path", none)
    with pytest.raises(StorageError, match="no home directory") as error:
        files.home()
    assert "set EBBENCH_HOME" in error.value.fix
    # Older versions leave the "~" as it is.
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: Path("~/.cache") / name)
    with pytest.raises(StorageError, match="home directory of this user is unknown"):
        files.home()


def test_a_look_tells_nothing_from_what_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "broken").symlink_to("nowhere")
    found = files.look(tmp_path / "file")
    assert found is not None and found.st_size == 3
    (tmp_path / "loop").symlink_to("loop")
    for nothing in ("none", "broken", "file/inside", "loop"):
        assert files.look(tmp_path / nothing) is None
    for bad in (LONG, "a\0b"):
        with pytest.raises(StorageError, match="cannot read"):
            files.look(tmp_path / bad)

    def refuse(self: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        files.look(tmp_path / "file")


def test_two_writers_share_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, seen = tmp_path / "result.json", []
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        seen.append(source.name)
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", note)
    # Two containers may have one host's name and one process number.
    monkeypatch.setattr(files.os, "getpid", lambda: 1)
    monkeypatch.setattr(files.platform, "node", lambda: "node7")
    for content in (b"one", b"two"):
        files.write_atomically(path, content)
    assert path.read_bytes() == b"two" and len(set(seen)) == 2
    assert all(name.startswith(".result.json.node7-1-") and name.endswith(".tmp") for name in seen)
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_the_longest_name_can_be_written(tmp_path: Path, name: str):
    files.write_atomically(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_an_interruption_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "result.json"
    files.write_atomically(path, b"old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [one.name for one in tmp_path.iterdir()] == ["result.json"]
    assert stat.S_ISREG(path.stat().st_mode)
