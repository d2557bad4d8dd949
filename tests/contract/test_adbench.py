"""The task over ADBench's tables: what is trained on, how it is scaled, what is measured, what is refused."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from conftest import DATA
from ebbench.data import adbench
from ebbench.data.store import Store
from ebbench.errors import UsageError
from ebbench.plugins import loader

CPU = torch.device("cpu")
needs_data = pytest.mark.skipif(
    not (DATA / "adbench").is_dir(), reason="needs ADBench's files in EBBENCH_DATA"
)


def cls() -> Any:
    return loader.load("task", "adbench").cls


def module(name: str) -> ModuleType:
    return sys.modules[cls().__module__.rpartition(".")[0] + "." + name]


class FakeScoring:
    """What a task sees of the engine: one score, "energy", given as a function of the examples."""

    declared = "energy"

    def __init__(self, energy) -> None:
        self.energy = energy

    def scores(self, x: torch.Tensor) -> dict[str, np.ndarray]:
        return {"energy": np.asarray(self.energy(x), np.float64)}


def make(sets: str, protocol: str = "one-class", folder: Path = DATA) -> Any:
    return cls()(cls().Options(sets=sets), protocol, Store(folder, offline=True))


@cache
def part(name: str, protocol: str, seed: int) -> Any:
    return make(name, protocol).parts(seed)[name]


def labels(n: int, anomalies: int) -> np.ndarray:
    made = np.zeros(n, bool)
    made[np.random.default_rng(n).permutation(n)[:anomalies]] = True
    return made


# --- which rows


@given(st.integers(20, 400), st.integers(1, 9), st.integers(0, 99))
def test_one_class_trains_on_half_of_the_normal_rows_and_tests_the_rest(n: int, anomalies: int, seed: int):
    anomalous = labels(n, anomalies)
    split = module("splits").one_class(anomalous, np.random.default_rng(seed))
    assert not anomalous[split.train].any()
    assert sorted([*split.train, *split.test]) == list(range(n)), "each row once"
    assert len(split.train) == (n - anomalies) // 2


@pytest.mark.parametrize(
    ("n", "anomalies", "kept"), [(50_000, 5_000, 1_000), (95_156, 30, 10), (60_000, 4, 4), (10_000, 50, 50)]
)
def test_a_large_set_is_cut_to_ten_thousand_rows(n: int, anomalies: int, kept: int):
    anomalous = labels(n, anomalies)
    split = module("splits").one_class(anomalous, np.random.default_rng(0))
    rows = np.concatenate([split.train, split.test])
    assert len(rows) == len(set(rows.tolist())) == 10_000
    assert anomalous[rows].sum() == kept and not anomalous[split.train].any()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("n", "anomalies"), [(300, 20), (4_000, 300), (20_000, 900)])
def test_the_protocol_adbench_draws_as_its_code_does(n: int, anomalies: int, seed: int):
    """Written out after data_generator.py, which draws from NumPy's global state."""
    from sklearn.model_selection import train_test_split

    anomalous = labels(n, anomalies)
    split = module("splits").as_adbench(anomalous, seed)
    state = np.random.get_state()
    np.random.seed(seed)
    rows = np.arange(n)
    if n < 1000:
        rows = rows[np.random.choice(np.arange(n), 1000, replace=True)]
    if n > 10_000:
        rows = rows[np.random.choice(np.arange(n), 10_000, replace=False)]
    train, test = train_test_split(rows, test_size=0.3, shuffle=True, stratify=anomalous[rows])
    np.random.set_state(state)
    assert (split.train == train).all() and (split.test == test).all()
    assert anomalous[split.train].mean() == pytest.approx(anomalous[split.test].mean(), abs=0.005)
    assert (n < 1000) == bool(set(train.tolist()) & set(test.tolist())), "copies of small sets are in both"


def test_a_draw_without_two_anomalies_is_drawn_again():
    anomalous = labels(95_156, 12)
    for seed in range(20):
        split = module("splits").as_adbench(anomalous, seed)
        assert anomalous[split.train].any() and anomalous[split.test].any()


# --- the rows themselves


@needs_data
def test_one_class_is_standardised_by_the_training_rows():
    name, seed = "optdigits", 3
    task = part(name, "one-class", seed)
    rows, anomalous = adbench.load(Store(DATA), name)
    split = module("task").split_of(anomalous, name, "one-class", seed)
    data = task.data(CPU)
    trained = data[torch.arange(len(data))].double().numpy()
    mean, std = rows[split.train].mean(0), rows[split.train].std(0)
    assert (std == 0).any(), "it has columns that are constant"
    expected = (rows - mean) / np.where(std > 0, std, 1.0)
    assert np.allclose(trained, expected[split.train], atol=1e-5)
    seen: list[np.ndarray] = []
    task.score(None, FakeScoring(lambda x: seen.append(x.numpy()) or np.arange(len(x))))
    assert np.allclose(seen[0], expected[split.test], atol=1e-4) and np.isfinite(seen[0]).all()


@needs_data
def test_the_protocol_adbench_is_brought_to_0_and_1_with_anomalies_among_the_training_rows():
    task = part("cardio", "adbench", 1)
    data = task.data(CPU)
    trained = data[torch.arange(len(data))]
    assert len(data) == 1281 and data.spec.shape == (21,)
    assert torch.allclose(trained.min(0).values, torch.zeros(21), atol=1e-6)
    assert torch.allclose(trained.max(0).values, torch.ones(21), atol=1e-6)
    score = task.score(None, FakeScoring(lambda x: x[:, 0]))
    assert score.details["tested_on"] == 550 and score.details["tested_rows_trained_on"] == 0.0
    assert score.metrics["prevalence"] == pytest.approx(176 / 1831, abs=0.001)
    assert part("breastw", "adbench", 1).score(None, FakeScoring(lambda x: x[:, 0])).details[
        "tested_rows_trained_on"
    ] == pytest.approx(1 - np.exp(-700 / 683), abs=0.06), "683 rows, drawn a thousand times"


@needs_data
def test_a_split_belongs_to_its_seed_and_no_protocol_shares_its_data():
    keys = {str(part("glass", protocol, seed).data_key()) for protocol in cls().protocols for seed in (0, 1)}
    assert len(keys) == 4
    assert str(part("glass", "one-class", 0).data_key()) == str(
        make("glass,wine").parts(0)["glass"].data_key()
    )
    assert part("glass", "one-class", 0).data_hashes.keys() == {"14_glass.npz"}
    assert make("glass,wine").data_hashes.keys() == {"14_glass.npz", "45_wine.npz"}


@needs_data
def test_every_set_can_be_split_under_both_protocols():
    for name in cls()(cls().Options(), "one-class", Store(DATA)).sets:
        _, anomalous = adbench.load(Store(DATA), name)
        for protocol in cls().protocols:
            split = module("task").split_of(anomalous, name, protocol, 0)
            assert anomalous[split.test].any() and not anomalous[split.test].all(), (name, protocol)
            assert len(split.train) >= 33, "some methods ask for that many neighbours or components"


# --- what is measured


@needs_data
def test_the_metrics_are_scikit_learn_s():
    task, random = part("vowels", "one-class", 0), np.random.default_rng(0)
    drawn: list[np.ndarray] = []
    scored = task.score(None, FakeScoring(lambda x: drawn.append(random.normal(size=len(x))) or drawn[0]))
    _, anomalous = adbench.load(Store(DATA), "vowels")
    truth = anomalous[module("task").split_of(anomalous, "vowels", "one-class", 0).test]
    assert scored.metrics["average_precision"] == pytest.approx(average_precision_score(truth, drawn[0]))
    assert scored.metrics["auroc"] == pytest.approx(roc_auc_score(truth, drawn[0]))
    first = np.argsort(-drawn[0])[: truth.sum()]
    assert scored.metrics["precision_at_n"] == pytest.approx(truth[first].mean())
    assert scored.metrics["prevalence"] == truth.mean() == 50 / (703 + 50)
    assert scored.details["scores"]["energy"]["auroc"] == scored.metrics["auroc"]


@needs_data
def test_a_perfect_scorer_a_constant_and_a_random_one():
    task = make("glass,wine,thyroid,vowels,WDBC")
    made: dict[str, dict[str, Any]] = {"perfect": {}, "constant": {}, "random": {}}
    random = np.random.default_rng(0)
    for name, one in task.parts(0).items():
        truth = one._arrays.anomalous
        made["perfect"][name] = one.score(None, FakeScoring(lambda x, truth=truth: truth))
        made["constant"][name] = one.score(None, FakeScoring(lambda x: np.zeros(len(x))))
        made["random"][name] = one.score(None, FakeScoring(lambda x: random.random(len(x))))
    perfect, constant, chance = (task.combine(scores).metrics for scores in made.values())
    assert perfect["average_precision"] == perfect["auroc"] == perfect["precision_at_n"] == 1.0
    (limit,) = task.limits
    assert limit.broken(perfect), "no score without labels is the labels"
    assert not limit.broken(constant) and not limit.broken(chance)
    # Ties pay for nothing: a constant is chance itself.
    for metric in ("average_precision", "precision_at_n"):
        assert constant[metric] == pytest.approx(constant["prevalence"])
    assert constant["auroc"] == 0.5
    assert chance["auroc"] == pytest.approx(0.5, abs=0.15)
    one = make("glass").combine({"glass": made["perfect"]["glass"]}).metrics
    assert "lowest_average_precision" not in one and not limit.broken(one), "one easy set may be ranked right"


@needs_data
def test_the_score_is_the_mean_over_the_sets():
    task, energy = make("glass,wine,thyroid,vowels,WDBC"), FakeScoring(lambda x: x.norm(dim=1))
    scores = {name: one.score(None, energy) for name, one in task.parts(0).items()}
    metrics = task.combine(scores).metrics
    for name in ("average_precision", "auroc", "precision_at_n", "prevalence"):
        assert metrics[name] == pytest.approx(np.mean([one.metrics[name] for one in scores.values()]))
    assert metrics["lowest_average_precision"] == min(
        one.metrics["average_precision"] for one in scores.values()
    )


@needs_data
@pytest.mark.parametrize("detector", ["knn", "lof"])
def test_adbench_s_own_numbers_come_out(detector: str):
    """Neither draws anything at random: its AUROC says whether split, scaling and metric are ADBench's."""
    from ebbench.contract import DataSpec

    published = module("published")
    model_class = loader.load("model", detector).cls
    place = list(published.DETECTORS.values()).index(detector)
    for name in ("cardio", "letter", "vowels", "wine"):
        for seed in (1, 2, 3):
            task = part(name, "adbench", seed)
            model = model_class(DataSpec(name="x", shape=task.spec().shape), model_class.Config())
            model.train(task.data(CPU), None)
            found = task.score(None, FakeScoring(model.energy)).metrics["auroc"]
            assert found == pytest.approx(published.AUROC[name][place][seed - 1], abs=0.002), (name, seed)


def test_the_published_rows_are_means_over_three_seeds(tmp_path: Path):
    rows = [row for row in cls().published if row.protocol == "adbench"]
    assert len(rows) == 9 * 7
    (wine,) = [row for row in rows if row.options == {"sets": "wine"} and row.model == "knn"]
    assert wine.metrics["auroc"][0] == pytest.approx((0.5010 + 0.3876 + 0.4606) / 3, abs=1e-4)
    for row in rows:
        task = make(row.options["sets"], folder=tmp_path)
        assert task.options.sets == row.options["sets"], "as a result would have it"


@needs_data
@pytest.mark.parametrize(
    ("name", "rows", "anomalies"), [("glass", 112, 9), ("smtp", 1000, 10), ("magic.gamma", 1000, None)]
)
def test_along_training_a_thousand_tested_rows_are_scored_and_both_classes_are_there(
    name: str, rows: int, anomalies: int | None
):
    task = part(name, "one-class", 0)
    truth, seen = task._arrays.anomalous, []
    scored = FakeScoring(lambda x: seen.append(x) or x[:, 0].numpy())
    found = task.evaluate(None, scored)
    assert found.keys() == {"energy.average_precision", "energy.auroc"}
    assert len(seen[0]) == rows
    chosen = module("splits").watched(truth)
    assert np.array_equal(seen[0].numpy(), task._arrays.test[chosen]) and len(set(chosen.tolist())) == rows
    if anomalies is None:
        assert truth[chosen].mean() == pytest.approx(truth.mean(), abs=0.001)
    else:
        assert truth[chosen].sum() == anomalies
    assert found["energy.auroc"] == pytest.approx(roc_auc_score(truth[chosen], seen[0][:, 0]))


# --- which sets


def test_forty_sets_are_ranked_on_and_the_three_for_tuning_are_not(tmp_path: Path):
    task = module("task")
    assert task.TUNING == ("Pima", "Waveform", "campaign") and len(task.ALL) == 40 and len(task.SMALL) == 10
    assert not set(task.TUNING) & set(task.ALL) and set(task.SMALL) < set(task.ALL)
    everything = make("all", folder=tmp_path)
    assert everything.sets == task.ALL and everything.options.sets == "all"
    assert len(everything.data_hashes) == 40
    assert make("small", folder=tmp_path).sets == task.SMALL


def test_a_list_of_sets_is_the_same_however_it_is_written(tmp_path: Path):
    wanted = make("breastw,wine", folder=tmp_path)
    for given_sets in ("wine,breastw", "45, 4", "4_breastw.npz,WINE,"):
        same = make(given_sets, folder=tmp_path)
        assert same.options == wanted.options and same.data_key() == wanted.data_key()
    assert wanted.spec().shape == (9,), "no data are read"


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("", "no set"),
        (",", "no set"),
        ("wine,45", "a set twice"),
        ("breasts", "unknown data set"),
        ("fraud", "cannot check"),
    ],
)
def test_sets_that_are_none_are_refused(tmp_path: Path, sets: str, said: str):
    with pytest.raises(UsageError, match=said) as error:
        make(sets, folder=tmp_path)
    assert error.value.where == "option 'sets' of task adbench" and error.value.expected


# --- through the command line


@needs_data
def test_a_run_has_a_part_a_set_and_a_set_alone_takes_its_training(cli, monkeypatch: pytest.MonkeyPatch):
    from ebbench.record import resultfiles

    monkeypatch.setenv("EBBENCH_DATA", str(DATA))
    words = ("run", "--task", "adbench", "--results", "made", "--budget", "smoke", "--model", "vae")
    said = cli(*words, "--set", "sets=glass,wine", "--set", "steps=3")
    assert said.code == 0, said.err
    (path,) = Path("made").rglob("*.json")
    result = resultfiles.read(path)
    assert [one.name for one in result.parts] == ["glass", "wine"]
    assert all({"auroc", "average_precision"} <= one.metrics.keys() for one in result.parts)
    said = cli(*words, "--set", "sets=14", "--set", "steps=3")
    assert said.code == 0 and "training vae" not in said.err, said.err
