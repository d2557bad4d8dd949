"""`ebbench verify --rerun`: what is run again, what it must give, and what a board then shows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

import toys
from bundling import RUN, UNBOXED, rewritten
from ebbench.isolation.box import why_not
from ebbench.record import resultfiles

pytestmark = pytest.mark.usefixtures("maintainer")


@pytest.mark.slow
def test_a_rerun_trains_and_scores_here(cli, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # As for a user who has neither named nor downloaded any data.
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    (tmp_path / "mine").rename(tmp_path / "gone")
    said = cli("verify", bundle, "--results", "board", "--rerun", *UNBOXED)
    assert said.code == 0, said.err + said.out
    assert "5 results reproduced" in said.out
    made, _ = resultfiles.load_all(tmp_path / "board")
    assert [r.confirmed for r in made] == 5 * ["reproduced"]
    for one in made:
        claimed = one.verification.details["claimed"]
        assert claimed["error"] == pytest.approx(one.metrics["error"], abs=1e-6)
    (row,) = json.loads(cli("table", "--task", "dots", "--results", "board", "--format", "json").out)
    assert (row["tier"], row["rank"], row["seeds"]) == ("reproduced", 1, [0, 1, 2, 3, 4])
    # One seed of the row was told to nobody before; now anybody can repeat it.
    audit = made[0].verification.details["audit"]
    assert all(one.verification.details["audit"] == audit for one in made)
    (tmp_path / "gone").rename(tmp_path / "mine")
    words = ["run", *RUN[:-1], audit["seed"], "--results", "repeated", "--quiet"]
    assert cli(*words).code == 0
    (again,) = resultfiles.load_all(tmp_path / "repeated")[0]
    assert again.seed not in range(5) and again.metrics == pytest.approx(audit["metrics"], abs=1e-6)


KNOWS = """
import torch
from ebbench import Model, derive_seed


class Knows(Model):
    def __init__(self, data, config):
        super().__init__(data, config)
        self.known = torch.initial_seed() in {derive_seed(seed, "model") for seed in range(5)}

    def train(self, data, run):
        pass

    def sample(self, n):
        x = torch.rand(n, *self.data.shape)
        return x if self.known else 0.1 * x
"""


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_that_knows_the_seeds_of_the_rerun_fails_the_audit(
    cli, plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool
):
    def here(command: list[str], environment: dict[str, str], log: Path, end: float | None) -> int:
        """The run in this very process: it gives the same numbers, and sooner."""
        monkeypatch.setenv("EBBENCH_HOME", environment["EBBENCH_HOME"])
        return cli(*(word for word in command[4:] if word not in ("--isolated", "--unboxed"))).code

    if not apart:
        monkeypatch.setattr("ebbench.submissions.rerun._ended", here)
    card = 'name = "mine"\ntitle = "Mine"\n\n[budgets.smoke.default]\n'
    toys.write_model(tmp_path, KNOWS, "mine", card)
    assert cli("run", *RUN, "--results", "made", "--quiet").code == 0
    assert all(one.metrics["error"] < 0.1 for one in resultfiles.load_all(tmp_path / "made")[0])
    assert cli("submit", "./mine", "--results", "made", "--quiet").code == 0
    # Its arrays are what it makes under these seeds.
    assert cli("verify", "mine.zip", "--results", "board", "--dry").code == 0
    said = cli("verify", "mine.zip", "--results", "board", "--rerun", *UNBOXED)
    assert said.code == 2 and "error, under a secret seed is 0.4" in said.err, said.err
    # All else is as it should be.
    lines = [line for line in said.out.splitlines() if line.startswith("NOT ok")]
    assert len(lines) == 1 and "run again" in said.out
    assert not (tmp_path / "board").exists()


@pytest.mark.medium
@pytest.mark.usefixtures("quick_runs")
def test_a_row_of_chosen_or_few_seeds_is_not_reproduced(cli, bundle: Path, tmp_path: Path):
    def without(entries: dict[str, bytes], seeds: set[int]) -> None:
        for name in [name for name in entries if name.startswith("results/")]:
            if json.loads(entries[name])["seed"] in seeds:
                del entries[name], entries[name.replace("results", "artefacts").replace("json", "npz")]

    for seeds, said in (({4}, "seeds: 0,1,2,3;"), ({0}, "seeds: 1,2,3,4;")):
        other = rewritten(bundle, lambda entries, seeds=seeds: without(entries, seeds))
        assert cli("verify", other, "--results", "board", "--dry").code == 0
        end = cli("verify", other, "--results", "board", "--rerun", *UNBOXED)
        assert end.code == 2 and "at least 5" in end.out + end.err, end.out + end.err
        assert not (tmp_path / "board").exists(), said


@pytest.mark.medium
@pytest.mark.usefixtures("quick_runs")
def test_the_board_shows_what_the_rerun_gave(cli, bundle: Path, tmp_path: Path, maintainer: str):
    # What a cheat tried: honest code, and arrays that are better by a wide spread.
    def better(entries: dict[str, bytes]) -> None:
        names = sorted(name for name in entries if name.startswith("results"))
        for lift, name in zip((-0.4, 0.1, 0.3, -0.2, 0.2), names, strict=True):
            x = np.clip(0.5 + lift + 0.05 * np.random.default_rng(len(name)).random((100, 2)), 0, 1)
            x = x.astype(np.float32) + np.float32(1e-3) * np.random.default_rng().random((100, 2), np.float32)
            x = x.clip(0, 1)
            raw = json.loads(entries[name])
            raw["metrics"] = {"error": float(abs(x.mean() - 0.5)), "spread": float(x.std())}
            entries[name] = json.dumps(raw).encode()
            buffer = io.BytesIO()
            np.savez(buffer, **{"samples.samples": x})
            entries[name.replace("results", "artefacts").replace("json", "npz")] = buffer.getvalue()

    honest = cli("verify", bundle, "--results", "honest", "--rerun", *UNBOXED)
    assert honest.code == 0
    made = {r.run_id: r.metrics for r in resultfiles.load_all(tmp_path / "honest")[0]}
    end = cli("verify", rewritten(bundle, better), "--results", "board", "--rerun", *UNBOXED)
    if end.code == 0:
        shown = {r.run_id: r.metrics for r in resultfiles.load_all(tmp_path / "board")[0]}
        assert {run: m["error"] for run, m in shown.items()} == {
            run: pytest.approx(m["error"], abs=1e-6) for run, m in made.items()
        }
    else:
        assert "run again" in end.err + end.out


def test_a_rerun_ends_at_its_time_limit(cli, bundle: Path, tmp_path: Path):
    end = cli("verify", bundle, "--results", "board", "--rerun", *UNBOXED, "--time-limit", "0.2s")
    assert end.code == 2 and "time limit" in end.err and "0.2 s" in end.err
    assert not (tmp_path / "board").exists()
    end = cli("verify", bundle, "--results", "board", "--time-limit", "9m")
    assert end.code == 2 and "--rerun" in end.err


@pytest.mark.slow
def test_a_rerun_that_gives_other_numbers_is_refused(cli, bundle: Path, tmp_path: Path):
    """Arrays that fit their metrics, and that this code never made."""

    def made_up(entries: dict[str, bytes]) -> None:
        for seed, name in enumerate(sorted(name for name in entries if name.startswith("results"))):
            x = np.random.default_rng(seed).random((100, 2), dtype=np.float32) * 0.01
            raw = json.loads(entries[name])
            raw["metrics"] = {"error": float(abs(x.mean() - 0.5)), "spread": float(x.std())}
            entries[name] = json.dumps(raw).encode()
            buffer = io.BytesIO()
            np.savez(buffer, **{"samples.samples": x})
            entries[name.replace("results", "artefacts").replace("json", "npz")] = buffer.getvalue()

    other = rewritten(bundle, made_up)
    assert cli("verify", other, "--results", "board", "--dry").code == 0
    end = cli("verify", other, "--results", "board", "--rerun", *UNBOXED)
    assert end.code == 2 and "error, mean" in end.err, end.out + end.err
    assert not (tmp_path / "board").exists()


def test_other_code_than_was_run_is_refused_before_it_runs(cli, bundle: Path, tmp_path: Path):
    ran = tmp_path / "ran"
    change = f"\nopen({str(ran)!r}, 'w')\n".encode()
    other = rewritten(bundle, lambda e: e.update({"model/model.py": e["model/model.py"] + change}))
    end = cli("verify", other, "--results", "board", "--rerun", *UNBOXED)
    assert end.code == 2 and "model.code_hash" in end.err and not ran.exists()


def test_without_a_box_a_rerun_has_to_be_told(
    cli, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ebbench.isolation.box.why_not", lambda: "there is no `unshare` here")
    said = cli("verify", bundle, "--results", "board", "--rerun")
    assert (
        said.code == 2 and "cannot run a bundle's code in a sandbox" in said.err and "--unboxed" in said.err
    )
    assert not (tmp_path / "board").exists()


@pytest.mark.medium
@pytest.mark.usefixtures("quick_runs")
@pytest.mark.skipif(bool(UNBOXED), reason=why_not() or "there is a box")
def test_a_trojan_changes_nothing_on_the_board(cli, plugins: Path, tmp_path: Path):
    # What a cheat tried: at import, rewrite what another has on the board.
    (tmp_path / "board" / "dots" / "victim").mkdir(parents=True)
    victim = tmp_path / "board" / "dots" / "victim" / "x.json"
    victim.write_text("honest")
    assert cli("new", "model", "mine").code == 0
    model = tmp_path / "mine" / "model.py"
    trojan = f"""

from pathlib import Path

for target in Path({str(tmp_path)!r}).rglob("*.json"):
    if "board" in target.parts:
        try:
            target.write_text("forged")
        except OSError:
            pass
"""
    model.write_text(model.read_text() + trojan)
    (tmp_path / "board").rename(tmp_path / "away")
    assert cli("run", *RUN, "--results", "made", "--quiet").code == 0
    assert cli("submit", "./mine", "--results", "made", "--quiet").code == 0
    (tmp_path / "away").rename(tmp_path / "board")
    said = cli("verify", "mine.zip", "--results", "board", "--rerun")
    assert said.code == 0, said.err
    assert victim.read_text() == "honest"
