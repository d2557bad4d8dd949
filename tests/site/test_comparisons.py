"""A submission's page sets its rows beside every ranked row of the task, without script."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import toys
from ebbench.board.labels import spelled
from ebbench.record import resultfiles

pytestmark = pytest.mark.usefixtures("maintainer")


def lines(page: str) -> dict[str, list[str]]:
    """The cells of each line of the comparisons, by what is compared with."""
    section = page[page.index('id="comparisons"') :].split("<h2")[0]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", section.split("<tbody>")[1], re.S):
        cells = [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        found[cells[0]] = cells[1:]
    return found


@pytest.mark.medium
def test_a_submission_is_compared_with_every_ranked_row(cli, plugins: Path, tmp_path: Path):
    toys.write_model(plugins, toys.MODEL.replace("torch.sigmoid(", "0.6 * torch.sigmoid("), "dim")
    for model, seeds in (("blob", "0-2"), ("dim", "0-3"), ("blob:still", "0-2")):
        run = ["run", "--task", "dots", "--model", model, "--budget", "smoke", "--seeds", seeds]
        assert cli(*run, "--results", "board", "--quiet").code == 0
    (tmp_path / "card.toml").write_text('name = "afar"\ntitle = "From afar"\n')
    submit = ["submit", "--task", "dots", "--card", "card.toml", "--quiet"]
    for seed in range(3):
        x = 0.9 * np.random.default_rng(seed).random((100, 2), dtype=np.float32)
        np.savez(tmp_path / f"{seed}.npz", samples=x)
        submit += ["--samples", f"{seed}.npz"]
    assert cli(*submit).code == 0
    assert cli("verify", "afar.zip", "--results", "board").code == 0
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0

    page = (tmp_path / "site" / "methods" / "afar.html").read_text()
    found = lines(page)
    # A control has no rank.
    assert set(found) == {"blob@generator", "dim@generator"}
    values: dict[str, dict[int, float]] = {}
    for one in resultfiles.load_all(tmp_path / "board")[0]:
        if not one.model.variant:
            values.setdefault(one.model.name, {})[one.seed] = one.metrics["error"]
    tests = {}
    for other in ("blob", "dim"):
        ours, theirs = ([values[name][seed] for seed in range(3)] for name in ("afar", other))
        tests[other] = stats.ttest_rel(ours, theirs)
        low, high = tests[other].confidence_interval()
        _, budget, _, difference, test, *_ = found[f"{other}@generator"]
        assert budget == "smoke" and test == "paired, 3 seeds"
        assert difference == spelled(np.mean(ours) - np.mean(theirs), (high - low) / 2)
    least, most = sorted(tests, key=lambda name: tests[name].pvalue)
    adjusted = {least: min(1.0, 2 * tests[least].pvalue)}
    adjusted[most] = max(adjusted[least], tests[most].pvalue)
    for other, p in adjusted.items():
        shown, verdict = found[f"{other}@generator"][5:]
        assert shown == (f"{p:.3f}" if p >= 1e-3 else "< 0.001")
        better = "this one" if tests[other].statistic < 0 else "the other"
        assert verdict == ("a tie" if p >= 0.05 else better)
    # What was made here is on its task's page; nothing is said twice.
    assert "comparisons" not in (tmp_path / "site" / "methods" / "blob.html").read_text()


@pytest.mark.medium
def test_without_a_ranked_row_there_is_nothing_to_compare_with(cli, plugins: Path, tmp_path: Path):
    (tmp_path / "card.toml").write_text('name = "afar"\ntitle = "From afar"\n')
    np.savez(tmp_path / "0.npz", samples=np.random.default_rng(0).random((100, 2), dtype=np.float32))
    words = ["--task", "dots", "--card", "card.toml", "--samples", "0.npz", "--quiet"]
    assert cli("submit", *words).code == 0
    assert cli("verify", "afar.zip", "--results", "board").code == 0
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    assert "comparisons" not in (tmp_path / "site" / "methods" / "afar.html").read_text()
    # One seed against several is shown, and not tested.
    run = ["run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-1"]
    assert cli(*run, "--results", "board", "--quiet").code == 0
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    (line,) = lines((tmp_path / "site" / "methods" / "afar.html").read_text()).values()
    assert line[4:] == ["none, for want of seeds", "", "not tested"]
