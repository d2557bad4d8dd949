"""Claims: every one can be judged, verdicts follow from rows alone, and what is wrong in a file is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from scipy import stats

from ebbench.board.claims import Claim, Side, counted, judge, read
from ebbench.board.row import Cell, Row
from ebbench.board.stats import interval
from ebbench.contract import Metric
from ebbench.errors import PluginError
from ebbench.plugins import loader

METRICS = (
    Metric(name="kl", unit="nats", better="lower", doc="", primary=True),
    Metric(name="modes", unit="", better="higher", doc=""),
)


def row(*values: float, model: str = "meg", metric: str = "kl", **changes) -> Row:
    plain = Row(
        task="t",
        task_version=1,
        protocol="clean",
        source="mnist",
        options={"stacks": 3},
        model=model,
        variant="",
        overrides={},
        kind="model",
        title=model,
        sampler="generator",
        score="",
        budget="paper",
        seeds=list(range(len(values))),
        runs=[f"{model}-{i}" for i in range(len(values))],
        metrics={metric: Cell(interval(values), list(values))},
        published={},
        tier="made here",
        level=0.95,
    )
    return dataclasses.replace(plain, **changes)


def claim(**fields) -> Claim:
    plain = {"id": "a", "paper": "P", "source": "T", "says": "S", "confidence": "verbatim", "metric": "kl"}
    return Claim(**{**plain, "of": Side(model="meg"), **fields})


def verdict(one: Claim, *rows: Row):
    return judge("t", one, rows, METRICS, "clean")


def test_a_single_seed_is_shown_and_judges_nothing():
    cpu = row(1.25, budget="cpu")
    found = verdict(claim(value=1.0), cpu)
    assert (found.outcome, found.there, list(found.runs)) == ("not run", None, ["meg-0"])
    assert [one.value for one in found.rows] == ["1.250"] and "1.250 against the paper's 1" in found.said
    # Several seeds elsewhere judge before it.
    assert verdict(claim(value=1.0), row(1.25), row(1.0, 1.0, budget="cpu")).there == "reproduced"
    assert verdict(claim(value=1.0, needs="a GPU")).said == "it needs a GPU"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.99, 1.0, 1.01), "reproduced"),
        ((0.5, 0.51, 0.52), "exceeded"),
        ((1.5, 1.51, 1.52), "contradicted"),
        ((0.2, 1.0, 1.8), "not reproduced"),
        ((1.0, 1.0), "reproduced"),
        ((1.0,), "not run"),
    ],
)
def test_a_value_is_judged_by_the_interval(values, expected):
    found = verdict(claim(value=1.0), row(*values))
    assert found.outcome == expected and found.there is None
    turned = verdict(claim(value=1.0, metric="modes"), row(*values, metric="modes"))
    swapped = {"exceeded": "contradicted", "contradicted": "exceeded"}
    assert turned.outcome == swapped.get(expected, expected)


def test_a_paper_s_plus_minus_widens_its_value():
    rows = row(1.1, 1.11, 1.12)
    assert verdict(claim(value=1.0), rows).outcome == "contradicted"
    assert verdict(claim(value=1.0, plus_minus=0.1), rows).outcome == "reproduced"


@pytest.mark.parametrize(
    ("ours", "theirs"), [((1.0, 1.1, 1.2), (2.0, 2.2, 2.1)), ((1.0, 1.5, 2.0), (1.1, 1.2, 2.2))]
)
def test_a_comparison_is_judged_by_the_paired_test(ours, theirs):
    rows = row(*ours), row(*theirs, model="gan")
    apart = stats.ttest_rel(ours, theirs).pvalue < 0.05
    right = verdict(claim(than=Side(model="gan")), *rows)
    wrong = verdict(claim(of=Side(model="gan"), than=Side(model="meg")), *rows)
    assert right.outcome == ("reproduced" if apart else "not reproduced")
    assert wrong.outcome == ("contradicted" if apart else "not reproduced")
    assert right.runs == [*rows[0].runs, *rows[1].runs]
    assert [(one.who, one.runs) for one in right.rows] == [("meg", rows[0].runs), ("gan", rows[1].runs)]
    assert right.said.startswith(f"meg {right.rows[0].value} against gan {right.rows[1].value}")


def test_two_rows_of_one_model_are_told_apart():
    one = claim(than=Side(model="meg", options={"stacks": 4}), of=Side(model="meg", options={"stacks": 3}))
    found = verdict(one, row(1.0, 1.1), row(2.0, 2.1, options={"stacks": 4}))
    assert [shown.apart for shown in found.rows] == ["stacks 3", "stacks 4"]
    by_protocol = claim(than=Side(model="meg", protocol="published"))
    found = verdict(by_protocol, row(1.0, 1.1), row(2.0, 2.1, protocol="published"))
    assert "meg (protocol clean)" in found.said and "meg (protocol published)" in found.said


def test_two_rows_share_all_that_the_claim_does_not_name():
    one = claim(than=Side(model="gan"))
    good, other = row(1.0, 1.1), row(2.0, 2.1, model="gan")
    assert verdict(one, good, other).outcome == "reproduced"
    for changes in ({"task_version": 2}, {"source": "digits"}, {"data": "abc"}, {"options": {"stacks": 4}}):
        # A better row of the other side, of another version or other data, is compared with nothing.
        decoy = row(0.1, 0.2, model="gan", **changes)
        assert verdict(one, decoy, good, other).runs == [*good.runs, *other.runs], changes
        assert verdict(one, decoy, good).outcome == "not run", changes
    # The newest version that has both sides.
    newer = [row(5.0, 5.1, task_version=2), row(4.0, 4.1, model="gan", task_version=2)]
    assert verdict(one, good, other, *newer).outcome == "contradicted"
    assert verdict(one, good, other, newer[0]).outcome == "reproduced"


def test_a_row_of_one_seed_hides_no_row_of_several():
    full = row(1.0, 1.1, runs=["full-0", "full-1"])
    for changes in ({"options": {"stacks": 2}}, {"task_version": 2}):
        single = row(9.0, **changes)
        for rows in ([full, single], [single, full]):
            assert verdict(claim(value=1.05), *rows).runs == full.runs


@pytest.mark.parametrize(
    "changes",
    [
        {"tier": "recomputed"},
        {"invalid": True},
        {"budget": "smoke"},
        {"protocol": "published"},
        {"overrides": {"lr": 1.0}},
        {"variant": "untrained"},
        {"sampler": "mala"},
        {"source": "other"},
        {"options": {"stacks": 4}},
    ],
)
def test_another_row_says_nothing_of_a_claim(changes):
    one = claim(value=1.0, of=Side(model="meg", options={"stacks": 3}), data="mnist", needs="a GPU")
    assert verdict(one, row(1.0, 1.0)).outcome == "reproduced"
    found = verdict(one, row(1.0, 1.0, **changes))
    assert found.outcome == "not run" and found.said == "it needs a GPU"


def test_another_budget_is_said():
    found = verdict(claim(value=1.0), row(0.5, 0.5, budget="cpu"))
    assert (found.outcome, found.there, found.budget) == ("at another budget only", "exceeded", "cpu")
    both = verdict(claim(value=1.0), row(0.5, 0.5, budget="cpu"), row(1.0, 1.0))
    assert (both.outcome, both.there) == ("reproduced", None)
    assert sum(counted([found, both]).values()) == 2


def test_every_claim_of_the_project_can_be_judged():
    ids = []
    for name in loader.names("task"):
        task = loader.load("task", name)
        metrics = {metric.name: metric for metric in task.cls.metrics}
        options = {field.name for field in dataclasses.fields(task.cls.Options)}
        for one in read(task.folder):
            ids.append(one.id)
            assert metrics[one.metric].better != "neither", one.id
            for side in filter(None, (one.of, one.than)):
                model, _, variant = side.model.partition(":")
                card = loader.load("model", model).card
                assert not variant or variant in card.variants, one.id
                assert side.protocol in ("", *task.cls.protocols) and set(side.options) <= options, one.id
                assert (side.metric or one.metric) in metrics, one.id
            # A number that also stands in the table of published ones is the same there.
            known = {
                row.metrics[one.metric][0]
                for row in task.cls.published
                if row.model == one.of.model
                and row.protocol in ("", one.of.protocol)
                and one.metric in row.metrics
                and all(one.of.options.get(k, v) == v for k, v in row.options.items())
            }
            assert one.value is None or not known or one.value in known, one.id
    assert len(ids) >= 35


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[claim]", "cannot be read"),
        ('[[claim]]\nid = "a"', "claim is wrong at 'paper'"),
        ('[[claim]]\nid = "A b"', "claim is wrong at 'id'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(PluginError, match="claims.toml") as found:
        read(tmp_path)
    assert said in str(found.value)


def test_a_claim_has_one_kind():
    for fields in ({}, {"value": 1.0, "than": {"model": "gan"}}):
        with pytest.raises(ValueError, match="either a value"):
            claim(**fields)
