"""A grid's file, its product and its random part; the shares that its report counts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from ebbench.board import stats
from ebbench.errors import StorageError, UsageError
from ebbench.grids import runs
from ebbench.grids.report import Report
from ebbench.grids.runs import Row, read_rows, write_rows
from ebbench.grids.spec import Grid, read_grid, samples_of

PLAN = Path(__file__).resolve().parents[2] / "results" / "plans" / "grids" / "mnist.toml"
DOTS = """
name = "dots"
task = "dots"
budget = "smoke"
threshold = 0.1
[[methods]]
name = "Blob"
model = "blob"
axes = { steps = [1, 2, 3], lr = [0.1, 0.2] }
[[methods]]
name = "Still"
model = "blob:still"
sample = 2
axes = { lr = [0.1, 0.2, 0.3] }
"""


@pytest.fixture(scope="module")
def published() -> Grid:
    return read_grid(PLAN)


# --- the published grid


def test_the_published_grid_has_its_sizes(published: Grid):
    assert {method.name: method.size for method in published.methods} == {
        "EBGAN": 512,
        "EBGAN-PT": 512,
        "GAN": 6144,
    }
    assert samples_of(published, []) == {"EBGAN": 48, "EBGAN-PT": 48, "GAN": 96}
    assert samples_of(published, ["all"]) == dict.fromkeys(("EBGAN", "EBGAN-PT", "GAN"))
    assert samples_of(published, ["4", "GAN=all"]) == {"EBGAN": 4, "EBGAN-PT": 4, "GAN": None}


def test_a_product_holds_each_setting_once(published: Grid):
    for method in published.methods:
        met = {tuple(map(str, method.at(index).values())) for index in range(method.size)}
        assert len(met) == method.size
    # The last axis moves fastest.
    gan = published.methods[2]
    assert [gan.at(index)["lr"] for index in range(4)] == [0.01, 0.001, 0.0001, 0.01]
    assert gan.at(0)["generator_layers.depth"] == 1 and gan.at(6143)["generator_layers.depth"] == 4


def test_a_random_part_is_the_same_every_time_and_repeats_nothing(published: Grid):
    method = published.methods[2]
    part = method.chosen(96, 0)
    assert part == method.chosen(96, 0) and len(set(part)) == 96
    assert part != method.chosen(96, 1)
    assert part[:20] == method.chosen(20, 0), "more of them include the fewer"
    assert sorted(method.chosen(None, 0)) == list(range(6144)) == sorted(method.chosen(9999, 0))
    # Each quarter of the product is met about as often.
    counts = np.bincount([index // 1536 for seed in range(40) for index in method.chosen(96, seed)])
    assert counts.min() > 860 and counts.max() < 1060


def test_a_setting_is_what_it_says(published: Grid):
    settings = published.settings(samples_of(published, ["6"]), seed=3)
    assert len(settings) == 18
    # The methods take turns.
    assert {setting.method for setting in settings[:3]} == {"EBGAN", "EBGAN-PT", "GAN"}
    for setting in settings:
        config = setting.job.spec.config
        depth, width = (setting.axes[f"generator_layers.{part}"] for part in ("depth", "width"))
        assert config.generator_layers == (width,) * depth and config.dropout == setting.axes["dropout"]
        assert (
            config.steps
            == published.settings({"EBGAN": 1, "EBGAN-PT": 1, "GAN": 1}, 0)[0].job.spec.config.steps
        )
        if setting.method == "GAN":
            assert config.nets == "dense" and config.lr == setting.axes["lr"]
            assert config.layers == (setting.axes["layers.width"],) * setting.axes["layers.depth"]
        else:
            assert config.pulling == (0.1 if setting.method == "EBGAN-PT" else 0.0)


# --- a wrong file


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('task = "dots"', 'task = "dost"'), "did you mean 'dots'?"),
        (('budget = "smoke"', 'budget = "huge"'), "unknown budget 'huge'"),
        (('model = "blob"', 'model = "bolb"'), "did you mean 'blob'?"),
        (("steps = [1, 2, 3]", "stepps = [1, 2, 3]"), "unknown key 'stepps'"),
        (("steps = [1, 2, 3]", "steps = 3"), "a list of at least one value"),
        (("steps = [1, 2, 3]", "steps = []"), "a list of at least one value"),
        (("steps = [1, 2, 3]", "steps = [1, 2, 1]"), "has a value twice"),
        (("steps = [1, 2, 3]", 'steps = [1, "many"]'), "'steps' cannot be 'many'"),
        (("steps = [1, 2, 3]", "steps = { depth = [1], wide = [2] }"), "the keys depth and width"),
        (("steps = [1, 2, 3]", "steps = { depth = [0], width = [2] }"), "whole numbers above 0"),
        (("sample = 2", "sample = 0"), "methods.1.sample"),
        (('name = "Still"', 'name = "Blob"'), "two methods have the same name"),
        (("threshold = 0.1", "treshold = 0.1"), "treshold"),
        (("threshold = 0.1", 'metric = "eror"'), "did you mean 'error'?"),
        (("threshold = 0.1", 'heat = ["lr", "depth"]'), "unknown axis 'depth'"),
        (("threshold = 0.1", 'labels = { rate = "lr" }'), "unknown axis 'rate'"),
        (("threshold = 0.1", "set = { lr = 0.1 }"), "is both an axis and a setting of 'Blob'"),
        (("threshold = 0.1", "threshold ="), "the grid cannot be read"),
        ((DOTS, '[[runs]]\ntasks = ["dots"]\n'), "`ebbench sweep dots.toml` runs it"),
    ],
)
def test_a_wrong_file_is_said_to_be_wrong(cli, plugins: Path, tmp_path: Path, change, said: str):
    changed = DOTS.replace(*change)
    assert changed != DOTS
    (tmp_path / "dots.toml").write_text(changed)
    end = cli("grid", "dots.toml")
    assert end.code == 2 and said in end.err and "Traceback" not in end.err, end.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sample", "few"], "a number above 0, or all, or METHOD=NUMBER"),
        (["--sample", "0"], "a number above 0"),
        (["--sample", "Blop=3"], "did you mean 'Blob'?"),
        (["--time-limit", "soon"], "'soon' is not a duration"),
    ],
)
def test_a_wrong_word_is_said_to_be_wrong(cli, plugins: Path, tmp_path: Path, words: list[str], said: str):
    (tmp_path / "dots.toml").write_text(DOTS)
    end = cli("grid", "dots.toml", *words)
    assert end.code == 2 and said in end.err


def test_a_file_that_is_not_there(cli):
    end = cli("grid", "nothing.toml")
    assert end.code == 2 and "the grid cannot be read" in end.err and "docs/grid.md" in end.err


def test_a_product_without_end_is_refused(cli, plugins: Path, tmp_path: Path):
    many = list(range(1, 400))
    (tmp_path / "dots.toml").write_text(
        DOTS.replace("lr = [0.1, 0.2] }", f"lr = {[x / 1000 for x in many]} }}").replace(
            "[1, 2, 3]", str(many)
        )
    )
    end = cli("grid", "dots.toml")
    assert end.code == 2 and "has 159,201 settings" in end.err


# --- rows


def row(of: Grid, method: str, index: int, error: float | None) -> Row:
    chosen = next(one for one in of.methods if one.name == method)
    metrics = {} if error is None else {"error": error, "spread": 0.2}
    return Row(
        method=method,
        index=index,
        seed=0,
        axes=chosen.at(index),
        outcome="diverged" if error is None else "done",
        metrics=metrics,
        run=f"{method}-{index}",
        basis=of.basis(chosen),
        model_code="a",
        task_code="b",
    )


@pytest.fixture
def dots(plugins: Path, tmp_path: Path) -> Grid:
    (tmp_path / "dots.toml").write_text(DOTS)
    return read_grid(tmp_path / "dots.toml")


def some(of: Grid) -> list[Row]:
    """Four runs of Blob, one of which diverged, and one of Still."""
    blobs = [row(of, "Blob", index, error) for index, error in ((0, 0.05), (1, 0.2), (4, None), (5, 0.1))]
    return [*blobs, row(of, "Still", 0, 0.4)]


def test_rows_come_back_as_they_were_and_sorted(dots: Grid, tmp_path: Path):
    file = tmp_path / "rows" / "runs.jsonl"
    assert read_rows(file) == []
    write_rows(dots, file, some(dots)[::-1])
    assert read_rows(file) == some(dots)
    before = file.read_bytes()
    write_rows(dots, file, some(dots))
    assert file.read_bytes() == before


@pytest.mark.parametrize("line", ["{", '{"method": "Blob"}', "[]", '{"a": NaN}'])
def test_a_damaged_line_is_named(dots: Grid, tmp_path: Path, line: str):
    file = tmp_path / "runs.jsonl"
    write_rows(dots, file, some(dots))
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(StorageError, match="at line 6"):
        read_rows(file)


def test_a_report_counts_what_is_good_enough_and_what_diverged_is_not(dots: Grid, tmp_path: Path):
    report = Report(dots, some(dots), tmp_path / "out")
    # `error` is better lower: .05 and .1 are at most .1.
    assert report.reaching("Blob", 0.1) == 2 and report.reaching("Still", 0.1) == 0
    assert [one.index for one in report.best("Blob")] == [0, 5, 1]
    assert report.labels() == ["steps", "lr"] and report.places("lr") == [0.1, 0.2, 0.3]
    made = {path.name for path in report.make()}
    assert made == {"summary.md", "histograms.png", "shares.png", "by-steps.png", "by-lr.png"}
    page = (tmp_path / "out" / "summary.md").read_text()
    wilson = stats.share(2, 4)
    assert f"| Blob | 0.50 [{wilson.low:.2f}, {wilson.high:.2f}]" in page
    assert "| Blob | 6 | 4 | 1 | 0.1 | 0.05 | steps 1, lr 0.1 |" in page
    assert "Blob less Still" in page and "no difference is shown" in page
    for name in made - {"summary.md"}:
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_a_report_without_runs_says_so(dots: Grid, tmp_path: Path):
    assert [path.name for path in Report(dots, [], tmp_path).make()] == ["summary.md"]
    # All of it diverged: a page, and no pictures of nothing.
    only = Report(dots, [row(dots, "Blob", 4, None)], tmp_path).make()
    assert [path.name for path in only] == ["summary.md"]
    assert "| Blob | 6 | 1 | 1 |" in (tmp_path / "summary.md").read_text()


def test_a_metric_that_no_run_has_is_said(dots: Grid, tmp_path: Path):
    lacking = [one.model_copy(update={"metrics": {"spread": 0.2}}) for one in some(dots)]
    with pytest.raises(UsageError, match="no 'error'"):
        Report(dots, lacking, tmp_path)


def test_heat_takes_the_median_of_a_pair_of_values(dots: Grid, tmp_path: Path):
    more = [*some(dots), row(dots, "Blob", 0, 0.25)]
    table = Report(dots, more, tmp_path)._medians("Blob", "steps", "lr")
    assert table["1", "0.1"] == (pytest.approx(0.15), 2)
    assert table["3", "0.1"] == (None, 1) and table["2", "0.1"] == (None, 0)


# --- intervals of shares


@pytest.mark.parametrize(("k", "n"), [(0, 48), (1, 48), (20, 48), (48, 48), (96, 96), (3, 7)])
def test_wilson_s_interval_is_the_formula(k: int, n: int):
    z = 1.959963984540054
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = stats.share(k, n)
    assert found.mean == p and found.method == "Wilson"
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_wilson_s_interval_covers_as_it_says():
    """Over every count of a binomial, weighted by its chance: about 95 of 100 on average over shares."""
    n = 48
    ends = [stats.share(k, n) for k in range(n + 1)]
    covered = []
    for p in np.linspace(0.05, 0.95, 19):
        chance = binom.pmf(np.arange(n + 1), n, p)
        covered.append(sum(c for c, one in zip(chance, ends, strict=True) if one.low <= p <= one.high))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01) and min(covered) > 0.91


def test_newcombe_s_interval_is_the_printed_one():
    """Newcombe (1998), Table II, example (a): 56 of 70 against 48 of 80, method 10."""
    found = stats.share_difference((56, 70), (48, 80))
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    turned = stats.share_difference((48, 80), (56, 70))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_a_share_of_nothing_is_refused(k: int, n: int):
    with pytest.raises(UsageError):
        stats.share(k, n)


def test_rows_are_a_grid_s_own(dots: Grid):
    assert runs.results_of(dots).name == "dots" and runs.results_of(dots).parent.name == "grids"
