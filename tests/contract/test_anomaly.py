"""The two anomaly tasks: their splits, their scores, and what a wrong request is told."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebbench.data.store import Store
from ebbench.errors import UsageError
from ebbench.plugins import loader
from ebbench.record import resultfiles

CPU = torch.device("cpu")


class FakeScoring:
    """What a task sees of the engine: one score, "energy", given as a function of the examples."""

    declared = "energy"

    class evaluations:
        series = {f"energy.{name}": [0.0] * 5 + [0.5] * 10 + [1.0] for name in ("f1", "auprc")}

    def __init__(self, energy) -> None:
        self.energy = energy

    def scores(self, x: torch.Tensor) -> dict[str, np.ndarray]:
        return {"energy": np.asarray(self.energy(x), np.float64)}


@cache
def kdd_task(folder: Path, protocol: str, seed: int) -> Any:
    cls = loader.load("task", "kdd99").cls
    (part,) = cls(cls.Options(), protocol, Store(folder)).parts(seed).values()
    return part


@cache
def digits_task(folder: Path, protocol: str, digit: int, seed: int) -> Any:
    cls = loader.load("task", "mnist-anomaly").cls
    (part,) = cls(cls.Options(digit=digit), protocol, Store(folder)).parts(seed).values()
    return part


# --- KDD99


@pytest.mark.medium
def test_published_kdd99_is_the_authors_code(kdd99: Path, kdd99_records):
    """Written out after their code: sample, drop, one-hot over all, and no scaling."""
    task = kdd_task(kdd99, "published", 3)
    drawn = kdd99_records.sample(frac=0.5, random_state=42)
    left = kdd99_records.loc[~kdd99_records.index.isin(drawn.index)]
    data = task.data(CPU)
    assert len(data) == int((drawn["label"] != "normal.").sum()) and data.spec.shape == (121,)
    assert data[torch.arange(len(data))].max() > 1e6, "not scaled"
    assert task.data_key() == kdd_task(kdd99, "published", 4).data_key(), "one split for all seeds"
    scored = task.score(None, FakeScoring(lambda x: x[:, 0]))
    assert scored.details["tested_on"] == len(left)
    positives = int((left["label"] == "normal.").sum())
    # They cut the normal ones to a fifth of the test set; there are too few for that.
    assert positives < (len(left) - positives) * 0.25
    assert scored.metrics["prevalence"] == positives / len(left) == pytest.approx(0.1969, abs=0.001)
    assert scored.metrics["ceiling"] == pytest.approx(0.992, abs=0.001)


@pytest.mark.medium
def test_clean_kdd99_is_scaled_by_what_is_trained_on(kdd99: Path):
    task = kdd_task(kdd99, "clean", 0)
    data = task.data(CPU)
    train = data[torch.arange(len(data))]
    low, high = train.min(0).values, train.max(0).values
    assert (low == 0).all() and ((high - 1).abs() < 1e-5).logical_or(high == 0).all()
    # The vocabulary is that of the training attacks: every column of a block is met, but for the one of
    # is_host_login, which has one value and is a constant brought to 0.
    assert int((train[:, 34:].sum(0) == 0).sum()) == 1 and train.shape[1] < 121
    other = kdd_task(kdd99, "clean", 1)
    assert task.data_key() != other.data_key()
    assert len(other.data(CPU)) == pytest.approx(len(data), rel=0.01)


def test_kdd99_takes_the_last_ten_looks(kdd99: Path):
    random = np.random.default_rng(0)
    clean = kdd_task(kdd99, "clean", 0).score(None, FakeScoring(lambda x: random.random(len(x))))
    assert clean.metrics["f1_last10"] == pytest.approx(0.55), "nine of .5 and the last, 1"
    published = kdd_task(kdd99, "published", 0).score(None, FakeScoring(lambda x: random.random(len(x))))
    assert published.metrics["f1_last10"] == pytest.approx(0.5), "the last state was never looked at"
    assert clean.metrics["f1"] == pytest.approx(0.197, abs=0.005)
    assert clean.metrics["auroc"] == pytest.approx(0.5, abs=0.005)


def test_what_is_tested_is_handed_to_no_training(kdd99: Path, mnist: Path):
    for task in (kdd_task(kdd99, "clean", 0), digits_task(mnist, "clean", 1, 0)):
        data = task.data(CPU)
        trained_on = {row.numpy().tobytes() for row in data[torch.arange(len(data))]}
        fresh = data.fresh(300, torch.Generator().manual_seed(0))
        assert fresh.shape == (300, *data.spec.shape) and fresh.dtype == torch.float32
        assert {row.numpy().tobytes() for row in fresh} <= trained_on


# --- MNIST with a digit held out


def test_the_published_split_leaks_four_fifths_and_the_clean_one_nothing(mnist: Path):
    for digit in (1, 8):
        assert digits_task(mnist, "published", digit, 0).leak() == pytest.approx(0.80, abs=0.01)
        assert digits_task(mnist, "clean", digit, 0).leak() == 0.0


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_what_is_trained_on_and_tested(mnist: Path, protocol: str):
    task = digits_task(mnist, protocol, 7, 0)
    data = task.data(CPU)
    scored = task.score(None, FakeScoring(lambda x: x.flatten(1).mean(1)))
    # MNIST has 7,293 sevens; a fifth of the other 62,707 is tested with them.
    assert len(data) == 50_165 and scored.details["tested_on"] == 12_542 + 7_293
    assert scored.metrics["prevalence"] == pytest.approx(7_293 / 19_835)
    assert scored.metrics["auprc_7"] == scored.metrics["auprc"]
    images = data[torch.arange(100)]
    assert images.shape == (100, 1, 28, 28) and float(images.min()) == -1.0 and float(images.max()) == 1.0


def test_all_digits_are_ten_parts_and_their_mean(mnist: Path):
    cls = loader.load("task", "mnist-anomaly").cls
    task = cls(cls.Options(), "clean", Store(mnist))
    parts = task.parts(0)
    assert list(parts) == [f"digit {digit}" for digit in range(10)]
    assert parts["digit 3"].data_key() == digits_task(mnist, "clean", 3, 0).data_key()
    of_papers = cls(cls.Options(digit="papers"), "clean", Store(mnist)).parts(0)
    assert list(of_papers) == [f"digit {digit}" for digit in (1, 4, 5, 7, 9)]
    assert of_papers["digit 4"].data_key() == parts["digit 4"].data_key()
    energy = FakeScoring(lambda x: x.flatten(1).mean(1))
    scores = {name: parts[name].score(None, energy) for name in ("digit 0", "digit 1")}
    both = task.combine(scores).metrics
    assert both["auprc"] == (both["auprc_0"] + both["auprc_1"]) / 2
    assert both["auprc_0"] == scores["digit 0"].metrics["auprc"] != both["auprc_1"]


@pytest.mark.parametrize("digit", [10, -1])
def test_a_digit_that_is_none_is_refused(digit: int):
    cls = loader.load("task", "mnist-anomaly").cls
    with pytest.raises(UsageError, match=f"digit={digit}") as error:
        cls(cls.Options(digit=digit), "clean", Store(offline=True))
    assert "0 to 9" in error.value.expected


@pytest.mark.medium
def test_one_digit_from_the_command_line(cli, mnist: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("EBBENCH_DATA", str(mnist))
    words = ("run", "--task", "mnist-anomaly", "--budget", "smoke", "--quiet")
    said = cli(*words, "--model", "pca", "--set", "digit=1")
    assert said.code == 0, said.err
    (path,) = (tmp_path / "results").rglob("*.json")
    made = resultfiles.read(path)
    assert made.score == "energy" and made.parts == [] and "digit1" in made.run_id
    assert made.training.evaluations.step == [0]
    assert 0.0 < made.metrics["auprc_1"] < 0.3, "ones are simple: PCA gives them back better than the rest"
    table = json.loads(cli("table", "--task", "mnist-anomaly", "--format", "json").out)
    assert table[0]["options"] == {"digit": 1}
    assert cli(*words, "--model", "pca", "--set", "digit=10").code == 2


def test_an_altered_kdd99_file_is_named_and_not_used(cli, kdd99: Path, tmp_path: Path):
    folder = tmp_path / "data" / "kdd99"
    folder.mkdir(parents=True)
    whole = (kdd99 / "kdd99" / "kddcup.data_10_percent.gz").read_bytes()
    (folder / "kddcup.data_10_percent.gz").write_bytes(whole[:-1000])
    words = ("run", "--task", "kdd99", "--model", "pca", "--budget", "smoke")
    said = cli(*words, "--data-dir", str(tmp_path / "data"))
    assert said.code == 2 and "kddcup.data_10_percent.gz" in said.err and "expected" in said.err
    assert (folder / "kddcup.data_10_percent.gz").stat().st_size == len(whole) - 1000, "left as it was"
