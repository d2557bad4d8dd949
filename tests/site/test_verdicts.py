"""The tests that the page of comparisons words, against those of `ebbench compare`."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from ebbench.site import set_charts, verdicts
from ebbench.site.build import build

import boards
from ebbench.board import compare
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.record.resultfiles import read

ROOT = Path(__file__).resolve().parents[2]
LOW = Metric(name="fid", unit="nats", better="lower", doc="", primary=True)


def row(model: str, values: dict[int, float]) -> Row:
    return boards.row("fid", model, *values.values(), seeds=list(values))


def test_a_pair_has_the_test_and_the_direction_of_the_command():
    rows = [
        row("a", {0: 1.0, 1: 1.2, 2: 1.1}),
        None,
        row("b", {0: 3.0, 1: 3.3, 2: 3.2}),
        row("c", {7: 2.0, 8: 2.4}),
        row("d", {0: 9.0}),
    ]
    found = verdicts.of_task("T", LOW, rows)["pairs"]
    assert set(found) == {"0,2", "0,3", "0,4", "2,3", "2,4", "3,4"}
    for i, j in itertools.combinations((0, 2, 3, 4), 2):
        one, (other,) = (
            found[f"{i},{j}"],
            compare.compare([("", compare.side(rows[i]), compare.side(rows[j]))], [LOW]),
        )
        assert one["p"] == (None if other.p is None else pytest.approx(other.p, rel=1e-9))
        # Lower is better, and the values rise from a to b.
        assert one["better"] == int(other.difference > 0)
        assert one["higher"] == int(other.difference < 0)
    assert found["0,2"]["test"] == "paired t-test over 3 seeds"
    assert found["0,3"]["test"] == "Welch's test over different seeds"
    assert found["2,4"]["p"] is None and found["2,4"]["seeds"] == [3, 1]


def test_a_curve_along_training_is_the_mean_over_the_parts():
    result = read(next((ROOT / "results" / "adbench" / "vae").glob("cpu-one-class-*.json")))
    drawn = set_charts.learned(result, f"{result.score}.average_precision")
    ends = [
        [part.training.evaluations.series[f"{result.score}.average_precision"][at] for part in result.parts]
        for at in (0, -1)
    ]
    assert drawn[0] == pytest.approx(sum(ends[0]) / len(ends[0]))
    assert drawn[-1] == pytest.approx(sum(ends[1]) / len(ends[1]))
    assert set_charts.learned(result, "nothing") is None


def test_without_the_project_s_words_no_link_leads_to_them(tmp_path: Path):
    """An installed package has no docs folder, and its site no pages of them."""
    source = next((ROOT / "results" / "gaussian" / "vae").glob("*.json"))
    folder = tmp_path / "results" / "gaussian" / "vae"
    folder.mkdir(parents=True)
    (folder / source.name).write_text(json.dumps(json.loads(source.read_text()) | {"pictures": {}}))
    assert build(tmp_path / "results", tmp_path / "site", project=tmp_path / "nothing") == []
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "trust.html" not in text and "submit.html" not in text, page.name
