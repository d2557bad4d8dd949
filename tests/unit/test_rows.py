"""Rows: what is pooled, what is kept apart, what is ranked, what stands beside it."""

import copy
import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
import scipy.stats

from ebbench.board import export, labels, table
from ebbench.board.currency import Today
from ebbench.board.stats import interval
from ebbench.contract import Metric, Published
from ebbench.record import schema

GOLDEN = Path(__file__).parents[1] / "golden" / "result-v3.json"
DOCUMENT = Path(__file__).parents[2] / "docs" / "table.md"
FIXED_KEYS = {
    "task",
    "task_version",
    "protocol",
    "source",
    "model",
    "sampler",
    "budget",
    "seeds",
    "metrics",
    "published",
    "tier",
}
METRICS = (
    Metric(name="quality", unit="share", better="higher", doc=""),
    Metric(name="modes", unit="modes", better="higher", doc="", primary=True),
    Metric(name="kl", unit="nats", better="lower", doc="", primary=True),
)


def make(model="meg", seed=0, kl=0.05, modes=1000.0, **changes):
    """A result like the golden one; a key of `changes` reaches a field as "task__source"."""
    raw = copy.deepcopy(json.loads(GOLDEN.read_text(encoding="utf-8")))
    raw |= {"seed": seed, "metrics": {"kl": kl, "modes": modes}, "overrides": {}, "verification": None}
    raw["model"]["name"] = model
    raw["run_id"] = f"{model}-{seed}"
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = raw
        for name in parents:
            place = place[name]
        place[last] = value
    return schema.build(raw)


@pytest.fixture(autouse=True)
def made_here(monkeypatch):
    """Every result without a verification is one of this machine."""
    monkeypatch.setattr("ebbench.board.tiers.made.is_marked", lambda digest: True)


class Now(Today):
    """A checkout that would make every result again."""

    def state(self, result):
        return "current", ""


def rows(*results, **more):
    return table.rows(results, "stackedmnist", **{"metrics": METRICS, "today": Now(), **more})


def test_results_that_differ_in_their_seed_share_a_row():
    values = {0: 0.05, 2: 0.07, 1: 0.045}
    (row,) = rows(*(make(seed=seed, kl=kl) for seed, kl in values.items()))
    cell = row.metrics["kl"]
    assert row.seeds == [0, 1, 2]
    assert cell.values == [0.05, 0.045, 0.07]
    low, high = scipy.stats.t.interval(0.95, 2, loc=0.055, scale=scipy.stats.sem(cell.values))
    assert (cell.interval.low, cell.interval.high) == pytest.approx((low, high))
    assert list(row.metrics) == ["modes", "kl"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task__source", "digits"),
        ("task__version", 2),
        ("task__protocol", "published"),
        ("task__options", {"stacks": 4}),
        ("provenance__data_hashes", {"mine.csv": "0" * 64}),
        ("model__variant", "small"),
        ("overrides", {"width": 8}),
        ("sampler__name", "generator"),
        ("sampler", None),
        ("budget", "paper"),
    ],
)
def test_rows_are_never_mixed(field, value):
    found = rows(make(seed=0), make(seed=1, **{field: value}))
    assert [row.seeds for row in found] in ([[0], [1]], [[1], [0]])


def test_a_base_of_another_version_is_another_version():
    base = {"name": "gan", "code_hash": "0" * 64, "config": {"steps": 5}, "hash": "1" * 64}
    cost = {"steps": 5, "seconds": 1.0}
    old = make(seed=0, created="2026-01-01T00:00:00Z", training__base=base | cost)
    for change in ({"code_hash": "2" * 64}, {"config": {"steps": 6}}):
        new = make(seed=1, created="2026-01-02T00:00:00Z", training__base=base | cost | change)
        (row,) = rows(old, new)
        assert row.seeds == [1] and "left out: 1 result of an older version" in row.notes[0]
    # What it had cost is no part of the version.
    new = make(seed=1, training__base=base | {"steps": 5, "seconds": 9.0})
    assert rows(old, new)[0].seeds == [0, 1]


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        ({}, True),
        ({"stacks": 3, "source": "mnist"}, True),
        ({"source": "digits"}, False),
        ({"width": 64}, True),
        ({"width": 8}, False),
        ({"mala.steps": 5}, True),
        ({"mala.steps": 6}, False),
        ({"mala.unheard": 5}, False),
    ],
)
def test_a_published_row_stands_beside_what_it_holds_for(options, holds):
    published = Published(
        label="", metrics={"kl": (0.03, None)}, source="", confidence="verbatim", model="meg", options=options
    )
    made = make(config={"width": 64}, sampler={"name": "mala", "knobs": {"steps": 5}})
    (row,) = rows(made, published=(published,))
    assert ("kl" in row.published) is holds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task__source", "digits"),
        ("task__version", 2),
        ("task__protocol", "published"),
        ("task__options", {"stacks": 4}),
        ("provenance__data_hashes", {"mine.csv": "0" * 64}),
        ("budget", "paper"),
    ],
)
def test_groups_are_ranked_apart(field, value):
    found = rows(make(kl=0.1), make(model="other", kl=0.9, **{field: value}))
    assert [row.rank for row in found] == [1, 1]
    assert found[0].group() != found[1].group()


def test_an_option_that_only_chose_the_data_makes_no_row():
    auto = make(seed=0, task__options={"stacks": 3, "source": "auto"})
    named = make(seed=1, task__options={"stacks": 3, "source": "mnist"})
    (row,) = rows(auto, named)
    assert row.options == {"stacks": 3}


def test_the_newest_task_version_comes_first():
    found = rows(make(), make(task__version=2))
    assert [row.task_version for row in found] == [2, 1]


def test_other_tasks_are_left_out():
    assert rows(make(task__name="cifar10")) == []


def test_the_next_primary_metric_decides_where_the_first_ties():
    found = rows(
        make(model="few", modes=900.0, kl=0.01),
        make(model="uneven", modes=1000.0, kl=0.5),
        make(model="even", modes=1000.0, kl=0.02),
    )
    assert [(row.model, row.rank) for row in found] == [("even", 1), ("uneven", 2), ("few", 3)]


def test_rows_that_cannot_be_told_apart_share_a_rank():
    kls = {"a": [0.05, 0.06, 0.07], "b": [0.06, 0.05, 0.071], "c": [0.5, 0.6, 0.55]}
    found = rows(*(make(model=name, seed=i, kl=kl) for name in kls for i, kl in enumerate(kls[name])))
    assert [(row.model, row.rank) for row in found] == [("a", 1), ("b", 1), ("c", 3)]


def test_one_seed_beside_rows_of_several_has_no_rank_and_parts_no_tie():
    kls = {"a": [0.05, 0.06, 0.07], "one": [0.061], "b": [0.06, 0.05, 0.08], "c": [0.5, 0.6, 0.55]}
    found = rows(*(make(model=name, seed=i, kl=kl) for name in kls for i, kl in enumerate(kls[name])))
    assert [(row.model, row.rank) for row in found] == [("a", 1), ("b", 1), ("c", 3), ("one", None)]
    assert found[-1].notes == ["not ranked: only one seed, while other rows have up to 3"]
    assert not found[-1].invalid


def test_controls_come_last_and_have_no_rank():
    found = rows(
        make(model="real-data", kl=0.02, model__kind="control"),
        make(model="noise", kl=9.0, model__kind="control"),
        make(model="meg", kl=0.05),
    )
    assert [(row.model, row.kind, row.rank) for row in found] == [
        ("meg", "model", 1),
        ("real-data", "control", None),
        ("noise", "control", None),
    ]


def test_without_the_task_s_metrics_nothing_is_ranked():
    (row,) = rows(make(), metrics=())
    assert row.rank is None
    assert list(row.metrics) == ["kl", "modes"]


def test_a_row_without_the_deciding_metric_is_not_ranked():
    found = rows(make(model="a", metrics={"quality": 0.5}), make(model="b"))
    assert [(row.model, row.rank) for row in found] == [("b", 1), ("a", None)]


def test_a_metric_that_one_row_alone_has_ranks_nobody():
    # "modes" comes first, but only a claim and a control have it; then one row of two has it.
    claimed = [make(model="c", verification={"tier": "claimed", "checked": "2026-01-01T00:00:00Z"})]
    control = [make(model="k", model__kind="control")]
    both = [make(model=name, metrics={"kl": kl}) for name, kl in (("a", 0.2), ("b", 0.1))]
    for more in ([], claimed, control, [*claimed, *control]):
        found = rows(*both, *more)
        assert {row.model: row.rank for row in found if row.rank} == {"b": 1, "a": 2}, more
    found = rows(*both, make(model="d", kl=0.05))
    assert {row.model: row.rank for row in found} == {"d": 1, "b": 2, "a": 3}
    # A row that lacks what the others are ranked by says so.
    (lacks,) = [
        row for row in rows(make(model="a"), make(model="b", metrics={"quality": 1.0})) if not row.rank
    ]
    assert lacks.notes == ["not ranked: it has no modes"]


def test_two_groups_of_the_same_name_say_whose_data_they_have():
    mine = make(model="b", provenance__data_hashes={"mine.csv": "0" * 64})
    titles = [title for title, _ in labels.groups(rows(make(), mine))]
    assert len(set(titles)) == 2 and all("data " in title for title in titles)
    assert "data " not in next(labels.groups(rows(make(), make(model="b"))))[0]


def test_a_metric_that_a_seed_lacks_is_null():
    (row,) = rows(make(seed=0), make(seed=1, metrics={"modes": 5.0}))
    assert row.metrics["kl"].values == [0.05, None]
    assert row.metrics["kl"].interval.n == 1


def test_the_newer_of_two_results_of_a_seed_counts():
    (row,) = rows(
        make(kl=0.1, created="2026-01-01T00:00:00Z"),
        make(kl=0.2, created="2026-03-01T00:00:00Z"),
        make(kl=0.3, created="2026-02-01T00:00:00Z"),
    )
    assert row.metrics["kl"].values == [0.2]
    assert row.notes == ["left out: 2 results replaced by a newer one of the same seed"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("model__code_hash", "new"), ("config", {"width": 25}), ("sampler__knobs", {"steps": 7})],
)
def test_seeds_of_an_older_version_of_the_model_are_left_out(field, value):
    old = [make(seed=seed, created="2026-01-01T00:00:00Z") for seed in range(3)]
    new = make(seed=0, kl=0.01, created="2026-02-01T00:00:00Z", **{field: value})
    (row,) = rows(*old, new)
    assert row.seeds == [0]
    assert row.metrics["kl"].values == [0.01]
    assert row.notes == ["left out: 3 results of an older version of the model's code or settings"]


def paper(value, model="meg", sampler="", protocol="", **options):
    metrics = {"kl": (value, None)}
    return Published(
        label="x",
        metrics=metrics,
        source=f"p{value}",
        confidence="verbatim",
        model=model,
        sampler=sampler,
        protocol=protocol,
        options=options,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1.0),
        ({"sampler__name": "generator"}, 2.0),
        ({"sampler": None}, 1.0),
        ({"task__options": {"stacks": 4}}, 3.0),
        ({"model__variant": "small"}, 4.0),
        ({"model": "other"}, None),
        ({"model__variant": "other"}, None),
        ({"task__options": {}}, None),
        ({"task__protocol": "published", "task__options": {"stacks": 4}}, 6.0),
    ],
)
def test_published_rows_match_model_variant_sampler_protocol_and_options(changes, expected):
    known = [
        paper(1.0, stacks=3),
        paper(2.0, sampler="generator", stacks=3),
        paper(6.0, protocol="published", stacks=4),
        paper(3.0, stacks=4),
        paper(4.0, model="meg:small", stacks=3),
        paper(5.0, model="", stacks=3),
    ]
    (row,) = rows(make(**changes), published=known)
    found = {name: reference.value for name, reference in row.published.items()}
    assert found == ({} if expected is None else {"kl": expected})


def test_the_json_row_is_as_documented():
    (row,) = rows(make(seed=0), make(seed=1, kl=0.07), published=[paper(0.0313, stacks=3)])
    found = json.loads(json.dumps(row.as_json(), allow_nan=False))
    assert found.keys() >= FIXED_KEYS
    assert found["seeds"] == [0, 1]
    assert found["metrics"]["kl"].keys() == {"mean", "low", "high", "values"}
    assert found["metrics"]["kl"]["values"] == [0.05, 0.07]
    assert found["published"] == {
        "kl": {"value": 0.0313, "plus_minus": None, "source": "p0.0313", "confidence": "verbatim"}
    }
    text = DOCUMENT.read_text(encoding="utf-8")
    for key in found:
        assert f"`{key}`" in text


def test_one_seed_has_null_bounds():
    (row,) = rows(make())
    assert row.as_json()["metrics"]["kl"] == {"mean": 0.05, "low": None, "high": None, "values": [0.05]}


def test_a_row_that_fails_a_gate_is_shown_and_not_ranked():
    kl = Metric(name="kl", unit="nats", better="lower", doc="", primary=True)
    gate = Metric(name="modes", unit="count", better="higher", doc="", gate=True)
    results = [
        make(seed=0, kl=0.01, modes=1),
        make(seed=1, kl=0.01, modes=0.5),
        make(model="other", seed=0, kl=0.5, modes=1),
    ]
    good, bad = rows(*results, metrics=[kl, gate])
    assert (good.model, good.rank, good.invalid) == ("other", 1, False)
    assert (bad.rank, bad.invalid) == (None, True)
    assert "modes is below 1 for seed 1" in bad.notes[0]


def test_no_text_of_a_row_breaks_a_format():
    (row,) = rows(make())
    hostile = dataclasses.replace(
        row, options={"law": "a\n\\input{secrets}\x1b[31m"}, model='=HYPERLINK("x")', notes=["a\nb"]
    )
    latex = export.as_latex([hostile], METRICS)
    assert all(line.startswith("%") for line in latex.splitlines() if "secrets" in line or "b." in line)
    for write in (export.as_latex, export.as_markdown, export.as_csv):
        assert "\x1b" not in write([hostile], METRICS)
    (line,) = csv.DictReader(io.StringIO(export.as_csv([hostile], METRICS)))
    assert line["model"] == '\'=HYPERLINK("x")' and float(line["kl_mean"]) == 0.05
    negative = dataclasses.replace(row, metrics={"kl": table.Cell(interval([-1.0]), [-1.0])})
    (line,) = csv.DictReader(io.StringIO(export.as_csv([negative], METRICS)))
    assert line["kl_mean"] == "-1.0", "a number is no formula"


def test_rows_that_differ_in_the_declared_score_alone_say_it():
    found = rows(
        make(score="energy"), make(score="gradient_norm", kl=0.07), make(model="other", score="energy")
    )
    names = {labels.cells(row, found, METRICS)[2] for row in found}
    assert names == {"meg by energy", "meg by gradient_norm", "other"}
