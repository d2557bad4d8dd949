"""The task over ADBench's tables against another group's numbers: on their rows it gives theirs."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from conftest import DATA
from ebbench.data.store import Store
from ebbench.plugins import loader

CPU = torch.device("cpu")


def cls() -> Any:
    return loader.load("task", "adbench").cls


def module(name: str) -> ModuleType:
    return sys.modules[cls().__module__.rpartition(".")[0] + "." + name]


def in_order(anomalous: np.ndarray, *_: object) -> Any:
    """Their split: the first half of the normal rows, as the file has them, and the rest."""
    normal = np.flatnonzero(~anomalous)
    half = round(0.5 * len(normal))
    return module("splits").Split(normal[:half], np.concatenate([normal[half:], np.flatnonzero(anomalous)]))


def auroc(detector: str, table: str) -> float:
    """The AUROC of a detector that knows no seed, under `one-class`."""
    task = cls()(cls().Options(sets=table), "one-class", Store(DATA, offline=True)).parts(0)[table]
    found = loader.load("model", detector).cls
    model = found(task.spec(), found.Config())
    model.device = CPU
    model.train(task.data(CPU), None)

    class Scoring:
        declared = "energy"

        def scores(self, x: torch.Tensor) -> dict[str, np.ndarray]:
            return {"energy": np.asarray(model.energy(x), np.float64)}

    measured: float = task.score(model, Scoring()).metrics["auroc"]
    return measured


@pytest.mark.skipif(not (DATA / "adbench").is_dir(), reason="needs ADBench's files in EBBENCH_DATA")
@pytest.mark.parametrize(("detector", "method"), [("knn", "KNN"), ("lof", "LOF")])
def test_half_of_the_normal_rows_in_the_file_s_order_gives_the_published_numbers(
    detector: str, method: str, monkeypatch: pytest.MonkeyPatch
):
    cls()
    monkeypatch.setattr(module("task"), "split_of", in_order)
    # Tables that they took whole: from 1,000 rows to 50,000.
    for table in ("cardio", "Cardiotocography", "fault", "letter", "vowels", "yeast", "musk", "thyroid"):
        # Printed to four digits; rows are float32 here and float64 there.
        assert auroc(detector, table) == pytest.approx(module("published").halves()[method][table], abs=2e-4)


def test_the_table_has_every_data_set_and_the_rows_for_the_board_are_its_means():
    cls()
    task, published = module("task"), module("published")
    halves = published.halves()
    for values in halves.values():
        assert set(values) == {*task.ALL, *task.TUNING}
        assert all(0 < value <= 1 for value in values.values())
    rows = [row for row in published.PUBLISHED if row.protocol == "one-class"]
    assert len(rows) == len(halves) and all(row.options == {"sets": "all"} for row in rows)
    for (method, values), row in zip(halves.items(), rows, strict=True):
        assert row.label.startswith(method)
        mean = sum(values[table] for table in task.ALL) / len(task.ALL)
        assert row.metrics["auroc"][0] == pytest.approx(mean, abs=5e-5)
