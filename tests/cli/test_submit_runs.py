"""`ebbench submit FOLDER` takes what a run was given, and asks the model for nothing."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import toys
from ebbench.record import resultfiles

# A task of two trainings that asks for images, for other samples and for scores.
TILES = """
import copy
from dataclasses import dataclass

import torch

from ebbench import DataSpec, Metric, Score, Task


@dataclass
class Tiles:
    values: torch.Tensor
    spec: DataSpec

    @property
    def device(self):
        return self.values.device

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


class TilesTask(Task):
    version = 1
    protocols = {"clean": "As it should be."}
    needs = "sample"
    metrics = (
        Metric(name="brightness", unit="", better="lower", doc="Mean of the pixels.", primary=True),
        Metric(name="energy", unit="", better="neither", doc="Mean energy."),
    )
    which = 0

    def __init__(self, options, protocol, store):
        super().__init__(options, protocol, store)
        self.source, self.data_hashes = "tiles", {"tiles": "0" * 64}

    def parts(self, seed):
        found = {}
        for which in (1, 2):
            found[f"part {which}"] = part = copy.copy(self)
            part.which = which
        return found

    def data_key(self):
        return {"which": self.which}

    def spec(self):
        return DataSpec(name="tiles", shape=(1, 2, 2), low=0.0, high=1.0)

    def data(self, device):
        values = torch.rand(64, 1, 2, 2, generator=torch.Generator().manual_seed(self.which))
        return Tiles(values.to(device), self.spec())

    def score(self, model, scoring):
        seen = scoring.images(20, lambda x: {"mean": x.float().mean((1, 2, 3)).numpy()}, chunk=8)
        more = scoring.samples(12, lambda x: {"x": x.numpy()}, name="more", chunk=5)
        energy = scoring.scores(self.data("cpu").values, only=("energy",))["energy"]
        return Score(
            {"brightness": float(seen["mean"].mean() + len(more["x"])), "energy": float(energy.mean())}
        )

    def combine(self, scores):
        names = ("brightness", "energy")
        return Score({name: sum(one.metrics[name] for one in scores.values()) / 2 for name in names})
"""

# It notes each question in the file "calls", and answers no more than the file "most" says.
COUNTED = """
def asked(self):
    from pathlib import Path

    folder = Path({folder!r})
    before = len((folder / "calls").read_text()) if (folder / "calls").exists() else 0
    (folder / "calls").write_text("x" * (before + 1))
    assert before < int((folder / "most").read_text()), "it is asked again"


def train(self, data, run):
    self.net = torch.nn.Linear(1, 1)
    for x in run.batches(data, size=4, steps=1):
        pass


def sample(self, n):
    self.asked()
    return torch.rand(n, *self.data.shape)


def energy(self, x):
    self.asked()
    return x.flatten(1).square().sum(1)
"""


@pytest.fixture
def counted(plugins: Path, tmp_path: Path) -> Path:
    """The folder of a model that counts what it is asked."""
    toys.write_task(plugins, TILES, "tiles")
    (tmp_path / "most").write_text("1000")
    return toys.write_one_method(tmp_path, COUNTED.format(folder=str(tmp_path)), "mine")


def packed(bundle: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The one result of a bundle, and its arrays."""
    with zipfile.ZipFile(bundle) as archive:
        (result,) = [name for name in archive.namelist() if name.startswith("results/")]
        (arrays,) = [name for name in archive.namelist() if name.startswith("artefacts/")]
        with np.load(io.BytesIO(archive.read(arrays))) as found:
            return json.loads(archive.read(result)), dict(found)


@pytest.mark.medium
@pytest.mark.parametrize("task", ["dots", "tiles"])
def test_a_submission_takes_the_arrays_of_the_run(cli, counted: Path, tmp_path: Path, task: str):
    said = cli(
        "run", "--task", task, "--model", "./mine", "--budget", "smoke", "--results", "made", "--quiet"
    )
    assert said.code == 0, said.err
    calls = (tmp_path / "calls").read_text()
    (tmp_path / "most").write_text("0")
    said = cli("submit", "./mine", "--results", "made", "--quiet")
    assert said.code == 0, said.err
    assert "1 taken as they were scored, 0 scored again" in said.out
    assert calls and (tmp_path / "calls").read_text() == calls
    (made,), _ = resultfiles.load_all(tmp_path / "made")
    result, arrays = packed(tmp_path / "mine.zip")
    assert result["metrics"] == made.metrics, "to the last bit"
    whole = made.model_dump(mode="json")
    for field in ("run_id", "created", "training", "scoring", "provenance", "details", "config"):
        assert result[field] == whole[field]

    # They are what the model gives when it is asked again.
    (tmp_path / "most").write_text("1000")
    for given in (tmp_path / "home" / "runs").glob("*/given"):
        shutil.rmtree(given)
    shutil.rmtree(next((tmp_path / "home" / "runs").glob("*/samples"), tmp_path / "none"), True)
    said = cli("submit", "./mine", "--results", "made")
    assert said.code == 0, said.err
    assert "0 taken as they were scored, 1 scored again" in said.out
    assert "the run store lacks its scored arrays" in said.err
    assert len((tmp_path / "calls").read_text()) > len(calls)
    again, drawn = packed(tmp_path / "mine.zip")
    assert again["metrics"] == result["metrics"] and drawn.keys() == arrays.keys()
    for name, values in arrays.items():
        assert values.dtype == drawn[name].dtype and np.array_equal(values, drawn[name]), name
    parts = {name.partition("/")[0] for name in arrays if "/" in name}
    assert parts == ({"part 1", "part 2"} if task == "tiles" else set())


@pytest.mark.medium
def test_what_is_too_much_or_damaged_is_scored_again(
    cli, counted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = ["run", "--task", "tiles", "--model", "./mine", "--budget", "smoke", "--results", "made", "--quiet"]
    assert cli(*run).code == 0
    damaged = next((tmp_path / "home" / "runs").glob("*/samples/*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert "1 scored again" in cli("submit", "./mine", "--results", "made", "--quiet").out
    monkeypatch.setattr("ebbench.running.given.MOST", 10)
    assert cli(*run, "--force").code == 0
    assert list((tmp_path / "home" / "runs").glob("*/given/*")) == []
    assert "1 scored again" in cli("submit", "./mine", "--results", "made", "--quiet").out


def test_the_runs_of_other_code_are_not_submitted_as_this(cli, counted: Path, tmp_path: Path):
    run = ["run", "--task", "dots", "--model", "./mine", "--budget", "smoke", "--results", "made", "--quiet"]
    assert cli(*run).code == 0
    module = tmp_path / "mine" / "model.py"
    module.write_text(module.read_text() + "\n\nMORE = 1\n")
    said = cli("submit", "./mine", "--results", "made", "--quiet")
    assert said.code == 2 and "no longer the one of the result" in said.err


def test_what_an_interrupted_scoring_was_given_is_kept_whole(cli, counted: Path, tmp_path: Path):
    run = ["run", "--task", "tiles", "--model", "./mine", "--budget", "smoke", "--results", "made", "--quiet"]
    # It ends among the samples of the second part, after two of their three chunks.
    (tmp_path / "most").write_text("12")
    assert cli(*run).code == 2
    assert len(list((tmp_path / "home").rglob("given/*.npz"))) == 1
    (tmp_path / "most").write_text("1000")
    assert cli(*run).code == 0
    assert len((tmp_path / "calls").read_text()) == 16, "twice seven, the one that failed, a quick score"
    said = cli("submit", "./mine", "--results", "made", "--quiet")
    assert said.code == 0 and "0 scored again" in said.out, said.err
    result, arrays = packed(tmp_path / "mine.zip")
    (made,), _ = resultfiles.load_all(tmp_path / "made")
    assert result["metrics"] == made.metrics
    assert {name: len(values) for name, values in arrays.items()} == {
        f"part {which}/{name}": n
        for which in (1, 2)
        for name, n in (("samples.samples", 20), ("samples.more", 12), ("scores.0.energy", 64))
    }
