"""`ebbench compare`: two rows, seed by seed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import toys
from ebbench.record import resultfiles

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"


@pytest.mark.medium
def test_the_comparison_is_a_paired_t_test(cli):
    said = cli("compare", "vae", "entropic-gan", "--task", "gaussian", "--results", RESULTS, "--json")
    assert said.code == 0, said.err
    (found,) = json.loads(said.out)
    values = {}
    for model in ("vae", "entropic-gan"):
        made = [json.loads(path.read_text()) for path in (RESULTS / "gaussian" / model).glob("cpu-*.json")]
        values[model] = {r["seed"]: r["metrics"]["relative_gap"] for r in made if not r["model"]["variant"]}
    a, b = ([values[model][seed] for seed in found["seeds"]] for model in ("vae", "entropic-gan"))
    expected = stats.ttest_rel(a, b)
    assert found["p"] == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert found["verdict"] == "entropic-gan" and found["seeds"] == [0, 1, 2, 3, 4]
    other = cli("compare", "entropic-gan", "vae", "--task", "gaussian", "--results", RESULTS, "--json")
    (turned,) = json.loads(other.out)
    assert turned["difference"] == pytest.approx(-found["difference"]) and turned["verdict"] == "entropic-gan"


def test_samplers_are_named_and_a_single_seed_is_not_tested(cli, tmp_path):
    # Seed 0 of two samplers over the same trainings.
    results = tmp_path / "rows" / "stackedmnist" / "meg"
    results.mkdir(parents=True)
    for path in (Path(RESULTS) / "stackedmnist" / "meg").glob("cpu-clean-*-mnist-s0-*.json"):
        if json.loads(path.read_text())["overrides"] == {"steps": 3000}:
            shutil.copy(path, results)
    said = cli("compare", "meg@mala", "meg@isir", "--task", "stackedmnist", "--results", tmp_path / "rows")
    assert said.code == 0 and "of the means, without two common seeds: not tested" in said.out
    assert re.search(r"modes: meg@mala\S* steps=3000 1000, meg@isir steps=3000 \d+;", said.out), said.out


@pytest.mark.medium
def test_what_cannot_be_compared_is_said(cli):
    said = cli("compare", "meg", "vae", "--task", "gaussian", "--results", RESULTS)
    assert said.code == 2 and "no results of meg" in said.err and "entropic-gan" in said.err
    said = cli("compare", "nobody", "noone", "--task", "gaussian", "--results", RESULTS)
    assert said.code == 2 and "nobody and of noone" in said.err


def test_rows_of_two_budgets_are_named_with_them(cli, plugins: Path):
    run = ["run", "--task", "dots", "--model", "blob", "--quiet", "--set", "steps=2"]
    assert (
        cli(*run, "--budget", "smoke").code == cli(*run, "--budget", "cpu", "--sampler", "shifted").code == 0
    )
    said = cli("compare", "blob@generator", "blob@shifted", "--task", "dots")
    assert said.code == 2 and "no comparable runs" in said.err
    assert re.search(r"blob@generator: .*budget smoke; blob@shifted: .*budget cpu\n", said.err), said.err


def test_one_seed_in_common_is_not_the_difference(cli, plugins: Path, tmp_path: Path):
    """The difference belongs to the test: that of the means by Welch, where only one seed is in common."""
    run = ("run", "--task", "dots", "--budget", "smoke", "--quiet")
    assert cli(*run, "--model", "blob", "--seeds", "0-3").code == 0
    assert cli(*run, "--model", "blob", "--sampler", "shifted", "--seeds", "3-6").code == 0
    said = cli("compare", "blob@generator", "blob@shifted", "--task", "dots", "--json")
    (found,) = json.loads(said.out)
    made = [resultfiles.read(path) for path in (tmp_path / "results").rglob("*.json")]
    a, b = (
        [one.metrics["error"] for one in made if one.sampler.name == sampler]
        for sampler in ("generator", "shifted")
    )
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found["seeds"] == [3] and found["p"] == pytest.approx(expected.pvalue)
    assert found["difference"] == pytest.approx(np.mean(a) - np.mean(b))
    low, high = expected.confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert (
        "of the means, without two common seeds, p"
        in cli("compare", "blob@generator", "blob@shifted", "--task", "dots").out
    )


def test_samples_made_elsewhere_stand_beside_a_row(cli, plugins: Path, tmp_path: Path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-2", "--quiet")
    assert cli(*words).code == 0
    row = [resultfiles.read(path).metrics["error"] for path in (tmp_path / "results").rglob("*.json")]
    (tmp_path / "mine").mkdir()
    for number, height in enumerate((0.7, 0.75, 0.8)):
        np.savez(tmp_path / "mine" / f"{number}.npz", samples=np.full((100, 2), height, np.float32))
    said = cli("compare", "mine", "blob", "--task", "dots", "--json")
    assert said.code == 0, said.err
    (found,) = json.loads(said.out)
    mine = [0.2, 0.25, 0.3]
    assert (found["mean_a"], found["mean_b"]) == pytest.approx((0.25, sum(row) / 3))
    assert found["p"] == pytest.approx(stats.ttest_ind(mine, row, equal_var=False).pvalue, rel=1e-3)
    assert found["seeds"] == [] and found["b"].startswith("blob")
    one = cli("compare", "blob", "mine/0.npz", "--task", "dots")
    assert one.code == 0 and "mine/0.npz 0.2" in one.out and "not tested: too few seeds" in one.out
    for words, told in (
        (("mine", "mine/0.npz"), "both arguments are samples"),
        (("blob", "blob"), "compared with itself"),
        (("gone.npz", "blob"), "the samples cannot be read"),
        (("mine", "nobody"), "no results of nobody"),
    ):
        refused = cli("compare", *words, "--task", "dots")
        assert refused.code == 2 and told in refused.err, refused


# The toy task, trained and scored on seven sets of other sizes.
SETS = (
    """
from ebbench.contract import mean_score
"""
    + toys.TASK
    + """
    def parts(self, seed):
        options = [DotsTask.Options(points=200 + 10 * i) for i in range(7)]
        return {f"set{i}": DotsTask(one, self.protocol, self.store) for i, one in enumerate(options)}

    def combine(self, scores):
        return mean_score(scores)
"""
)


@pytest.mark.medium
def test_a_task_of_data_sets_is_compared_set_by_set(cli, plugins: Path, tmp_path: Path):
    toys.write_task(plugins, SETS, name="sets")
    words = ("--task", "sets", "--budget", "smoke", "--seeds", "0-1", "--quiet")
    for by in ("", "0.2", "0.4"):
        more = ("--sampler", "shifted", "--set", f"shifted.by={by}") if by else ()
        assert cli("run", "--model", "blob", *words, *more).code == 0
    said = cli("compare", "--task", "sets")
    assert said.code == 2 and "two rows" in said.err
    with (plugins / "sets" / "card.toml").open("a") as card:
        card.write('parts = "data sets"\n')
    said = cli("compare", "--task", "sets", "--json")
    assert said.code == 0, said.err
    (found,) = json.loads(said.out)
    names = ["blob@generator", "blob@shifted shifted.by=0.2", "blob@shifted shifted.by=0.4"]
    assert found["methods"] == names and found["ranks"] == [1, 2, 3]
    made = [resultfiles.read(path) for path in (tmp_path / "results").rglob("*.json")]
    plain = [one for one in made if one.sampler.name == "generator"]
    for j, name in enumerate(found["sets"]):
        values = [part.metrics["error"] for one in plain for part in one.parts if part.name == name]
        assert len(values) == 2 and found["values"][0][j] == pytest.approx(np.mean(values))
    # Of seven pairs that all point one way, two-sided.
    assert {pair["p"] for pair in found["pairs"]} == {2 * 0.5**7}
    text = cli("compare", "--task", "sets").out
    assert "average rank 1.00" in text and "better than blob@shifted shifted.by=0.2 on 7 of 7" in text
    both = cli("compare", names[0], names[2], "--task", "sets")
    assert "error: blob@generator" in both.out and "on 7 of 7" in both.out, both.err
    said = cli("compare", "blob", "--task", "sets")
    assert said.code == 2 and "only one row to compare" in said.err
    # What the board ranks nowhere is compared with nothing: a name that was withdrawn, a broken limit.
    names = tmp_path / "results" / "names.toml"
    names.write_text('[blob]\nstatus = "withdrawn"\n')
    said = cli("compare", "--task", "sets")
    assert said.code == 2 and "no two models" in said.err
    names.unlink()
    code = plugins / "sets" / "task.py"
    limited = SETS.replace("import DataSpec,", "import DataSpec, Limit,")
    limit = 'limits = (Limit(metric="error", most=0.0, why="nothing is that bad"),)'
    code.write_text(limited.replace("    needs =", f"    {limit}\n    needs ="))
    assert cli("compare", "--task", "sets").code == 2
