"""The StackedMNIST task: what it declares, its data, and where they come from."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebbench.contract import DataSpec, Published, Task
from ebbench.data import digits as digits_data
from ebbench.data import mnist as mnist_data
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, UsageError
from ebbench.metrics import coverage
from ebbench.plugins import loader
from stacked import CPU, make, mnist_task, real, score, task_class


def test_what_the_task_declares() -> None:
    cls = task_class()
    assert issubclass(cls, Task) and cls.version == 4 and cls.needs == "sample"
    assert list(cls.protocols) == ["clean", "published"]
    assert [metric.name for metric in cls.metrics if metric.primary] == ["modes", "kl"]
    assert {metric.name for metric in cls.metrics if metric.better == "neither"} == {
        "kl_floor",
        "kl_floor_data",
        "kl_least",
    }
    card = loader.load("task", "stackedmnist").card
    assert (
        card.name == "stackedmnist" and card.title and card.summary and card.paper and card.url and card.year
    )
    readme = (loader.load("task", "stackedmnist").folder / "README.md").read_text()
    assert all(f"`{metric.name}`" in readme for metric in cls.metrics)


def test_the_published_rows() -> None:
    rows: tuple[Published, ...] = task_class().published
    assert len({(row.label, row.options["stacks"]) for row in rows}) == len(rows) == 25
    known = {metric.name for metric in task_class().metrics}
    for row in rows:
        assert set(row.metrics) <= known and row.source and row.options["stacks"] in (3, 4)
        assert row.metrics.get("modes", (0, 0))[0] <= 10 ** row.options["stacks"]

    def ours(model: str, stacks: int) -> list[dict[str, Any]]:
        return [dict(r.metrics) for r in rows if r.model == model and r.options["stacks"] == stacks]

    assert ours("meg", 3) == [{"modes": (1000.0, None), "kl": (0.0313, None)}]
    assert ours("meg", 4) == [{"modes": (10000.0, None), "kl": (0.0480, None)}]
    assert ours("wgan-gp:meg-authors", 3) == [{"modes": (959.0, None), "kl": (0.7276, None)}]
    assert ours("wgan-gp:meg-authors", 4) == [{"modes": (9538.0, None), "kl": (0.9144, None)}]
    assert {row.confidence for row in rows if "arXiv" in row.label} == {"recalled"}
    assert {row.confidence for row in rows if row.model} == {"verbatim"}


@pytest.mark.parametrize("stacks", [0, -1, 16, True])
def test_stacks_out_of_range(stacks: int) -> None:
    with pytest.raises(UsageError, match="stacks="):
        make(stacks=stacks)


def splitmix(index: int, channel: int, stacks: int) -> int:
    """The documented hash in Python's whole numbers."""
    mask = 2**64 - 1
    x = ((index * stacks + channel + 1) * 0x9E3779B97F4A7C15 + 111) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return (x ^ x >> 31) & (2**63 - 1)


@pytest.mark.parametrize("stacks", [1, 3, 4, 6, 15])
def test_the_pool_is_the_hash_of_its_indices(stacks: int) -> None:
    task = make(stacks=stacks)
    data = task.data(CPU)
    assert len(data) == 128 * 10**stacks == task.data_key()["pool"]
    numbers = [0, 1, 77, len(data) // 3, len(data) - 1]
    index = torch.tensor(numbers)
    images, _ = digits_data.load("train")
    expected = np.stack(
        [[images[splitmix(i, c, stacks) % len(images)] for c in range(stacks)] for i in numbers]
    )
    found = data[index]
    assert found.dtype == torch.float32 and found.shape == (5, *task.spec().shape)
    np.testing.assert_allclose(found.numpy(), expected / 127.5 - 1, atol=1e-6)
    torch.testing.assert_close(data[index], found, rtol=0, atol=0)


def test_the_table_of_a_small_pool_holds_the_same_tuples() -> None:
    data = make(stacks=2).data(CPU)
    index = torch.arange(len(data))
    pool = data.hashed_tuples(index)
    assert torch.equal(data._table.long(), pool)
    # Every image, in every channel, about as often as chance has it.
    for channel in pool.T:
        counts = torch.bincount(channel, minlength=1437).double()
        expected = len(data) / 1437
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi_square - 1436) < 4 * math.sqrt(2 * 1436)
    joint = coverage.mode_ids((pool % 10).numpy())
    counts = np.bincount(joint, minlength=100)
    assert np.abs(counts - 128).max() < 6 * math.sqrt(128)


def test_values_fill_the_range_and_no_more() -> None:
    data = make(stacks=1).data(CPU)
    x = data[torch.arange(200)]
    assert x.min().item() == -1.0 and x.max().item() == 1.0


def test_fresh_draws_repeat_with_the_generator_and_are_not_the_pool() -> None:
    data = make(stacks=2).data(CPU)
    first = data.fresh(50, torch.Generator().manual_seed(1))
    assert first.shape == (50, 2, 28, 28) and first.dtype == torch.float32
    assert torch.equal(first, data.fresh(50, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, data.fresh(50, torch.Generator().manual_seed(2)))
    assert not torch.equal(first, data[torch.arange(50)])


def test_both_protocols_share_the_training_data(mnist: Path) -> None:
    clean, published = mnist_task(mnist), mnist_task(mnist, protocol="published")
    assert clean.data_key() == published.data_key() and clean.data_hashes == published.data_hashes
    assert set(clean.data_hashes) == set(mnist_data.FILES["train"])
    assert clean.data_key() != make(stacks=2).data_key()
    assert clean.spec() == DataSpec(name="stackedmnist", shape=(2, 28, 28), low=-1.0, high=1.0)


@pytest.mark.medium
def test_six_stacks_need_little_memory() -> None:
    """128 million tuples; in a process of its own, since a process's peak never falls."""
    code = """
import resource, sys, torch
sys.path.insert(0, sys.argv[1])
import stacked as t
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
t.score(t.make(stacks=1), t.real(t.make(stacks=1)))
before = peak()
task = t.make(stacks=6)
data = task.data(t.CPU)
for begin in range(0, len(data), len(data) // 50):
    data[torch.arange(begin, min(begin + 256, len(data)))]
made, scoring = t.score(task, t.real(task), most=6000)
print(len(data), scoring.asked["samples"], int(made.metrics["modes"]), made.metrics["kl"], peak() - before)
"""
    here = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pool, asked, modes, kl, grown = done.stdout.split()
    assert (int(pool), int(asked)) == (128_000_000, 26_000_000)
    assert 5940 < int(modes) <= 6000
    assert float(kl) == pytest.approx(math.log(10**6 / 6000), abs=0.05)
    assert int(grown) < 300, f"{grown} MiB"


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither MNIST nor a network."""
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.setenv("EBBENCH_OFFLINE", "1")


def test_without_mnist_the_digits_stand_in_and_one_line_says_so(
    nothing: None, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make(Store(), stacks=1)
    said = capsys.readouterr().err
    assert task.source == "digits" and task.data_hashes == digits_data.hashes()
    assert said.count("\n") == 1
    assert said.startswith("MNIST is not here and could not be downloaded: running on scikit-learn's")
    assert "source=digits" in said
    made, scoring = score(task, real(task))
    assert made.metrics["modes"] == 10 and len(scoring.pictures) == 1
    make(stacks=1, source="digits")
    assert capsys.readouterr().err == ""


def test_published_is_about_mnist(nothing: None) -> None:
    with pytest.raises(UsageError, match="published"):
        make(protocol="published")
    with pytest.raises(DataMissing):
        make(Store(), "published")


def test_mnist_demanded_or_expected_in_a_folder_is_an_error(nothing: None, tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        make(Store(), source="mnist")
    for source in ("auto", "mnist"):
        with pytest.raises(DataError) as error:
            make(Store(tmp_path), source=source)
        assert "train-images" in str(error.value) and str(tmp_path) in str(error.value)


def test_a_damaged_mnist_is_an_error_and_no_reason_for_the_digits(
    nothing: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"cut short")
    monkeypatch.setenv("EBBENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz is cut short or altered"):
        make(Store(), source="auto")


def test_auto_takes_mnist_where_it_is(mnist: Path) -> None:
    task = mnist_task(mnist)
    assert task.source == "mnist"
    assert len(task.data(CPU).images) == 60_000
