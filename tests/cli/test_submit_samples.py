"""Samples and scores that were made elsewhere: what is taken, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import toys
from bundling import CARD, UNBOXED, edited, made_elsewhere, rewritten
from ebbench.record import resultfiles

pytestmark = pytest.mark.usefixtures("maintainer")


@pytest.mark.medium
def test_samples_alone_are_submitted_and_verified(cli, plugins: Path, tmp_path: Path):
    said = cli(*made_elsewhere(tmp_path))
    assert said.code == 0, said.err
    assert "2 results" in said.out and "Submission: From afar" in said.out
    verified = cli("verify", "afar.zip", "--results", "board")
    assert verified.code == 0, verified.err
    made, _ = resultfiles.load_all(tmp_path / "board")
    assert {(r.model.name, r.budget, r.confirmed, r.seed) for r in made} == {
        ("afar", "external", "recomputed", 0),
        ("afar", "external", "recomputed", 1),
    }
    for one in made:
        x = np.random.default_rng(one.seed).random((100, 2), dtype=np.float32)
        assert one.metrics["error"] == pytest.approx(abs(x.mean() - 0.5), abs=1e-6)
    assert "afar" in cli("table", "--task", "dots", "--results", "board").out
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    page = (tmp_path / "site" / "tasks" / "dots.html").read_text()
    assert "afar" in page and "external" in page and "recomputed" in page
    assert "From afar" in (tmp_path / "site" / "methods" / "afar.html").read_text()
    # There is no code to run again.
    again = cli("verify", "afar.zip", "--results", "other", "--rerun", *UNBOXED)
    assert again.code == 2 and "no code" in again.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(budget="cpu"), "budget"),
        (lambda raw: raw["training"].update(seconds=60.0, steps=100), "training"),
        (lambda raw: raw.update(config={"lr": 1.0}), "config"),
    ],
)
def test_samples_alone_say_nothing_of_a_training(cli, plugins: Path, tmp_path: Path, change, said: str):
    assert cli(*made_elsewhere(tmp_path)).code == 0
    other = rewritten(tmp_path / "afar.zip", lambda entries: edited(entries, change))
    end = cli("verify", other, "--results", "board")
    assert end.code == 2 and said in end.err


ENERGY_TASK = """
import numpy as np
import torch

from ebbench import DataSpec, Metric, Score, Task


class Heights(Task):
    version = 1
    protocols = {"clean": "As it should be."}
    needs = "energy"
    metrics = (Metric(name="mean", unit="", better="lower", doc="Mean of the declared score.", primary=True),)

    def __init__(self, options, protocol, store):
        super().__init__(options, protocol, store)
        self.source, self.data_hashes = "heights", {}

    def data_key(self):
        return {}

    def data(self, device):
        raise NotImplementedError

    def spec(self):
        return DataSpec(name="heights", shape=(2,))

    def score(self, model, scoring):
        found = scoring.scores(torch.zeros(5, 2))
        assert scoring.evaluations.series.get("energy.mean", []) == []
        return Score({"mean": float(np.mean(found[scoring.declared]))})
"""


def test_scores_alone_are_submitted_where_a_task_asks_for_energies(cli, plugins: Path, tmp_path: Path):
    (plugins / "heights").mkdir()
    (plugins / "heights" / "task.py").write_text(ENERGY_TASK)
    (plugins / "heights" / "card.toml").write_text('name = "heights"\ntitle = "Heights"\n')
    np.savez(tmp_path / "s.npz", **{"scores.0.energy": np.arange(5, dtype=np.float32)})
    (tmp_path / "card.toml").write_text(CARD)
    words = ["submit", "--task", "heights", "--card", "card.toml", "--samples", "s.npz"]
    end = cli(*words)
    assert end.code == 2 and "declares no score" in end.err
    (tmp_path / "card.toml").write_text(CARD + 'score = "energy"\n')
    assert cli(*words).code == 0
    assert cli("verify", "afar.zip", "--results", "board").code == 0
    (one,) = resultfiles.load_all(tmp_path / "board")[0]
    assert one.metrics == {"mean": 2.0} and one.score == "energy"


def test_scores_that_know_no_seed_are_a_row_where_there_is_code(cli, plugins: Path, tmp_path: Path):
    code = toys.TASK.replace('needs = "sample"', 'needs = "energy"')
    code = (
        code[: code.index("    def score")]
        + """
    def score(self, model, scoring):
        return Score({"error": float(scoring.scores(torch.linspace(0, 1, 10).view(5, 2))["energy"].mean())})
"""
    )
    toys.write_task(plugins, code, "heights")
    toys.write_one_method(tmp_path, "def energy(self, x):\n    return x[:, 0]\n", "form")
    card = tmp_path / "form" / "card.toml"
    card.write_text('name = "form"\ntitle = "A closed form"\n\n[budgets.smoke.default]\n')
    run = ["run", "--task", "heights", "--model", "./form", "--budget", "smoke", "--seeds", "0-1", "--quiet"]
    said = cli(*run, "--results", "made")
    assert said.code == 0, said.err
    said = cli("submit", "./form", "--results", "made", "--quiet")
    assert said.code == 0, said.err
    # By themselves scores that rank alike under two seeds are a copy.
    for seed in (0, 1):
        np.savez(tmp_path / f"{seed}.npz", **{"scores.0.energy": np.arange(5, dtype=np.float32) + seed})
    (tmp_path / "card.toml").write_text(CARD + 'score = "energy"\n')
    words = ["submit", "--task", "heights", "--card", "card.toml", "--samples", "0.npz", "--samples", "1.npz"]
    said = cli(*words, "--quiet")
    assert said.code == 2 and "arrays of its own" in said.err


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"samples": np.zeros((50, 2), np.float32)}, "holds 50 samples"),
        ({"samples": np.zeros((101, 2), np.float32)}, "holds 101 samples"),
        ({"samples": np.float32(3)}, "float32 ()"),
        ({"samples": np.zeros((100, 3), np.float32)}, "(100, 3)"),
        ({"samples": np.zeros((100, 2), np.float64)}, "float64"),
        ({"samples": np.full((100, 2), np.nan, np.float32)}, "NaN"),
        ({"samples": np.full((100, 2), 7.0, np.float32)}, "range"),
        ({"samples": np.array([{}], object)}, "samples.npy"),
        ({"other": np.zeros((100, 2), np.float32)}, "other.npy"),
    ],
)
def test_samples_that_do_not_fit_are_named(cli, plugins: Path, tmp_path: Path, arrays, said: str):
    end = cli(*made_elsewhere(tmp_path, **arrays))
    assert end.code == 2 and said in end.err and "expected" in end.err and "0.npz" in end.err, end.err
    assert not (tmp_path / "afar.zip").exists()


def test_two_names_of_one_array_are_refused(cli, plugins, tmp_path: Path):
    x = np.full((100, 2), 0.5, np.float32)
    np.savez(tmp_path / "both.npz", **{"samples": x, "samples.samples": x})
    (tmp_path / "card.toml").write_text('name = "afar"\ntitle = "From afar"\n')
    words = ["--samples", "both.npz", "--task", "dots"]
    for verb in (["submit", "--card", "card.toml"], ["score"]):
        said = cli(*verb, *words, "--quiet")
        assert said.code == 2 and "two arrays are 'samples.samples'" in said.err


@pytest.mark.parametrize("change", ["order", "last bit", "noise"])
def test_one_sample_set_under_several_seeds_is_found(cli, plugins: Path, tmp_path: Path, change: str):
    rng = np.random.default_rng(0)
    first = rng.random((100, 2), dtype=np.float32)
    other = first[rng.permutation(100)]
    if change == "last bit":
        other = np.nextafter(other, np.float32(2)).clip(0, 1)
    if change == "noise":
        other = (other + 1e-3 * rng.standard_normal((100, 2))).clip(0, 1).astype(np.float32)
    np.savez(tmp_path / "0.npz", samples=first)
    np.savez(tmp_path / "1.npz", samples=other)
    (tmp_path / "card.toml").write_text('name = "afar"\ntitle = "From afar"\n')
    words = ["--task", "dots", "--samples", "0.npz", "--samples", "1.npz", "--card", "card.toml"]
    said = cli("submit", *words)
    assert said.code == 2 and "a copy of that of" in said.err, said.err
    # Two sets that were drawn apart are none.
    np.savez(tmp_path / "1.npz", samples=rng.random((100, 2), dtype=np.float32))
    assert cli("submit", *words).code == 0
    # Nor may another bundle have them.
    assert cli("verify", "afar.zip", "--results", "board").code == 0
    np.savez(tmp_path / "0.npz", samples=other)
    (tmp_path / "card.toml").write_text('name = "thief"\ntitle = "Mine"\n')
    said = cli("submit", *words[:4], "--card", "card.toml", "--results", "board")
    assert said.code == 2 and "content" in said.err, said.err


def test_a_name_that_is_withdrawn_stands_in_nobody_s_way(cli, plugins: Path, tmp_path: Path):
    np.savez(tmp_path / "0.npz", samples=np.random.default_rng(0).random((100, 2), dtype=np.float32))
    words = ["--task", "dots", "--samples", "0.npz", "--card", "card.toml"]
    for name in ("thief", "author"):
        (tmp_path / "card.toml").write_text(f'name = "{name}"\ntitle = "{name.title()}"\n')
        assert cli("submit", *words).code == 0
    assert cli("verify", "thief.zip", "--results", "board").code == 0
    said = cli("verify", "author.zip", "--results", "board")
    assert said.code == 2 and "content" in said.out + said.err
    (tmp_path / "board" / "names.toml").write_text('[thief]\nstatus = "withdrawn"\nnote = "copied"\n')
    assert cli("verify", "author.zip", "--results", "board").code == 0
    rows = json.loads(cli("table", "--task", "dots", "--results", "board", "--format", "json").out)
    assert {row["model"]: row["tier"] for row in rows} == {"author": "recomputed", "thief": "claimed"}
    assert any("withdrawn: copied" in note for row in rows for note in row["notes"])


@pytest.mark.parametrize(
    "title",
    ["MEG", "meg", "M E G", "\u041cEG", "\uff2d\uff25\uff27", "M\u00c9G", "WGAN-GP", "wgan_gp", "VAE"],
)
def test_a_title_may_not_read_like_that_of_a_built_in(cli, plugins: Path, tmp_path: Path, title: str):
    np.savez(tmp_path / "0.npz", samples=np.random.default_rng(0).random((100, 2), dtype=np.float32))
    (tmp_path / "card.toml").write_text(f'name = "afar"\ntitle = "{title}"\n', encoding="utf-8")
    said = cli("submit", "--task", "dots", "--samples", "0.npz", "--card", "card.toml")
    assert said.code == 2 and "title" in said.err, said.err


@pytest.mark.parametrize("name", ["wgangp", "m-e-g", "w9an-gp", "v-a-e"])
def test_a_name_may_not_read_like_that_of_a_built_in(cli, plugins: Path, tmp_path: Path, name: str):
    np.savez(tmp_path / "0.npz", samples=np.random.default_rng(0).random((100, 2), dtype=np.float32))
    (tmp_path / "card.toml").write_text(f'name = "{name}"\ntitle = "From afar"\n')
    said = cli("submit", "--task", "dots", "--samples", "0.npz", "--card", "card.toml")
    alike = name != "w9an-gp"
    assert (said.code, "looks like" in said.err) == ((2, True) if alike else (0, False)), said.err


@pytest.mark.parametrize(("name", "title"), [("other", "From Afar"), ("a-far", "Mine")])
def test_nor_like_that_of_another_submission(cli, plugins: Path, tmp_path: Path, name: str, title: str):
    rng = np.random.default_rng(0)
    for own, called in (("afar", "From afar"), (name, title)):
        np.savez(tmp_path / "0.npz", samples=rng.random((100, 2), dtype=np.float32))
        (tmp_path / "card.toml").write_text(f'name = "{own}"\ntitle = "{called}"\n')
        assert cli("submit", "--task", "dots", "--samples", "0.npz", "--card", "card.toml").code == 0
    assert cli("verify", "afar.zip", "--results", "board").code == 0
    said = cli("verify", f"{name}.zip", "--results", "board")
    assert said.code == 2 and "on the board" in said.out + said.err, said.err
    assert cli("verify", f"{name}.zip", "--results", "board", "--same-author").code == 0


def test_what_no_honest_result_has_is_refused_and_why_is_said(cli, plugins: Path, tmp_path: Path):
    limit = 'limits = (Limit(metric="spread", most=0.1, why="the data spread by no more"),)'
    code = toys.TASK.replace("import DataSpec,", "import DataSpec, Limit,")
    (plugins / "dots" / "task.py").write_text(code.replace("    needs =", f"    {limit}\n    needs ="))
    said = cli(*made_elsewhere(tmp_path))
    assert said.code == 2 and "the data spread by no more" in said.err, said.err
    assert not (tmp_path / "afar.zip").exists()
