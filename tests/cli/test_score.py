"""`ebbench score`: arrays made elsewhere, and runs of one's own folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import toys


def test_samples_are_scored_and_nothing_is_written(cli, plugins, tmp_path: Path):
    x = np.full((100, 2), 0.75, np.float32)
    np.savez(tmp_path / "x.npz", samples=x)
    said = cli("score", "--samples", "x.npz", "--task", "dots", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["metrics"] == {"error": pytest.approx(0.25), "spread": 0.0}
    said = cli("score", "--samples", "x.npz", "--task", "dots")
    assert "* error" in said.out and "0.25" in said.out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("array", "words", "told"),
    [
        (np.zeros((99, 2), np.float32), [], "'samples.samples' holds 99 samples"),
        (np.zeros((100, 3), np.float32), [], "(100, 3)"),
        (np.full((100, 2), 7, np.float32), [], "[7, 7]"),
        (np.zeros((100, 2), np.float32), ["--set", "pointss=3"], "did you mean 'points'?"),
        (np.zeros((100, 2), np.float32), ["--protocol", "cleen"], "did you mean 'clean'?"),
        (np.zeros((100, 2), np.float32), ["some-run"], "not clear what is to be scored"),
    ],
)
def test_what_does_not_fit_is_said(cli, plugins, tmp_path: Path, array, words, told):
    np.savez(tmp_path / "x.npz", samples=array)
    said = cli("score", *words, "--samples", "x.npz", "--task", "dots")
    assert (said.code, said.out) == (2, "") and told in said.err, said.err


def test_a_run_of_one_s_own_folder_is_scored_by_its_path(cli, plugins, tmp_path: Path):
    own = toys.write_model(tmp_path / "elsewhere", name="own")
    assert cli("run", "--task", "dots", "--model", own, "--budget", "smoke", "--quiet").code == 0
    ((path),) = (tmp_path / "results").rglob("*.json")
    said = cli("score", path, "--protocol", "published", "--quiet")
    assert said.code == 2 and "--model ./FOLDER" in said.err
    said = cli("score", path, "--protocol", "published", "--model", plugins / "blob", "--quiet")
    assert said.code == 2 and "holds 'blob'" in said.err
    said = cli("score", path, "--protocol", "published", "--model", own, "--quiet")
    assert said.code == 0 and "published" in said.out, said.err


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": np.zeros((100, 2), np.float32)}, "an array called 'x.npy'"),
        ({"samples": np.zeros((100, 2))}, "samples.npy is float64 (100, 2)"),
        ({"samples": np.zeros((2, 100), np.float32).T}, "(100, 2) in Fortran order"),
        ({}, "File is not a zip file"),
    ],
)
def test_a_file_of_ones_own_is_called_no_bundle(cli, plugins, tmp_path: Path, arrays, told):
    np.savez(tmp_path / "x.npz", **arrays)
    if not arrays:
        (tmp_path / "x.npz").write_bytes(b"junk")
    said = cli("score", "--samples", "x.npz", "--task", "dots")
    assert said.code == 2 and told in said.err and "numpy.savez(path, samples=" in said.err
    assert "the npz file is refused" in said.err and "bundle" not in said.err
