"""`ebbench results pack` here, `unpack` there: the same files, or a refusal and nothing written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

RUN = ["run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-1", "--quiet"]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def packed(cli, plugins: Path, tmp_path: Path) -> Path:
    assert cli(*RUN).code == 0
    said = cli("results", "pack", "--states")
    assert said.code == 0, said.err
    assert "2 results, 2 pictures, 2 trained states" in said.out
    return tmp_path / "results.zip"


def test_what_is_packed_comes_out_elsewhere(cli, packed: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "elsewhere"))
    said = cli("results", "unpack", packed, "--results", "there")
    assert said.code == 0, said.err
    assert "2 new results, 0 here already, 2 trained states" in said.out
    assert files(tmp_path / "there") == files(tmp_path / "results")
    # The trained state serves: nothing is trained again.
    again = cli(*RUN[:-1], "--results", "again")
    assert again.code == 0 and "taken from the store" in again.err and "training blob" not in again.err
    # And once more.
    said = cli("results", "unpack", packed, "--results", "there")
    assert "0 new results, 2 here already, 0 trained states" in said.out


def test_nothing_is_overwritten(cli, packed: Path, tmp_path: Path):
    there = next((tmp_path / "results").rglob("*-s1-*.json"))
    there.write_bytes(there.read_bytes() + b"\n")
    next((tmp_path / "results").rglob("*-s0-*.json")).unlink()
    before = files(tmp_path / "results")
    said = cli("results", "unpack", packed)
    assert said.code == 2 and "other content" in said.err and "nothing was unpacked" in said.err
    assert files(tmp_path / "results") == before


def test_a_pack_that_was_changed_is_refused(cli, packed: Path, tmp_path: Path):
    with zipfile.ZipFile(packed) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    for change in ("results/dots/blob/../../../evil.json", "states/0/state.json"):
        with zipfile.ZipFile(packed, "w") as new:
            for name, content in {**entries, change: b"{}"}.items():
                new.writestr(name, content)
        said = cli("results", "unpack", packed, "--results", "there")
        assert said.code == 2 and "an entry called" in said.err
    name = next(name for name in entries if name.endswith(".json") and name.startswith("results/"))
    with zipfile.ZipFile(packed, "w") as new:
        for key, content in {**entries, name: entries[name].replace(b"0", b"1", 1)}.items():
            new.writestr(key, content)
    said = cli("results", "unpack", packed, "--results", "there")
    assert said.code == 2 and "SHA-256" in said.err
    assert not (tmp_path / "there").exists()


@pytest.mark.medium
def test_states_go_with_what_they_build_on_and_models_without_one_are_no_hindrance(
    cli, tmp_path: Path, monkeypatch
):
    words = ["run", "--task", "toy2d", "--budget", "smoke", "--set", "law=8gaussians", "--quiet"]
    built = [*words, "--model", "ddls", "--set", "base=gan", "--set", "ddls.steps=2"]
    assert cli(*built).code == 0
    # The law itself has no state.
    assert cli(*words, "--model", "exact-density").code == 0
    said = cli("results", "pack", "--states")
    assert said.code == 0 and "2 results" in said.out and "2 trained states" in said.out, said.err + said.out
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "elsewhere"))
    assert cli("results", "unpack", tmp_path / "results.zip", "--results", "there").code == 0
    again = cli(*[word for word in built if word != "--quiet"], "--results", "again")
    assert again.code == 0 and "training gan" not in again.err, again.err


def test_there_must_be_something_to_pack(cli, plugins: Path, tmp_path: Path, monkeypatch):
    said = cli("results", "pack")
    assert said.code == 2 and "no results" in said.err
    assert cli(*RUN).code == 0
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "elsewhere"))
    said = cli("results", "pack", "--states")
    assert said.code == 2 and "no trained state" in said.err and not (tmp_path / "results.zip").exists()
    (tmp_path / "results" / "broken.json").write_text("{")
    said = cli("results", "pack")
    assert said.code == 2 and "broken.json" in said.err
    assert cli("results", "unpack", "nowhere.zip").code == 2


@pytest.mark.usefixtures("maintainer")
def test_a_signed_result_is_not_packed(cli, plugins: Path, tmp_path: Path):
    np.savez(tmp_path / "0.npz", samples=np.random.default_rng(0).random((100, 2), dtype=np.float32))
    (tmp_path / "card.toml").write_text('name = "afar"\ntitle = "From afar"\n')
    words = ["--task", "dots", "--samples", "0.npz", "--card", "card.toml"]
    assert cli("submit", *words).code == 0
    assert cli("verify", "afar.zip", "--results", "board").code == 0
    said = cli("results", "pack", "--results", "board")
    assert said.code == 2 and "has the tier 'recomputed'" in said.err
    assert not (tmp_path / "results.zip").exists()
