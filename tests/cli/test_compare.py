"""`ebbench compare`: two rows, seed by seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"


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


def test_samplers_are_named_and_a_single_seed_is_not_tested(cli):
    said = cli("compare", "meg@mala", "meg", "--task", "stackedmnist", "--results", RESULTS)
    assert said.code == 0 and "meg@mala 1000, meg@generator 1000" in said.out and "a tie" in said.out
    said = cli("compare", "meg", "wgan-gp", "--task", "stackedmnist", "--results", RESULTS)
    four = said.out[said.out.index("stacks=4") :]
    assert "1 common seed: not tested" in four


def test_what_cannot_be_compared_is_said(cli):
    said = cli("compare", "meg", "vae", "--task", "gaussian", "--results", RESULTS)
    assert said.code == 2 and "no results of meg" in said.err and "entropic-gan" in said.err
    said = cli("compare", "nobody", "noone", "--task", "gaussian", "--results", RESULTS)
    assert said.code == 2 and "nobody and of noone" in said.err
