"""`scripts/away`: what a lent machine made comes back, and goes on elsewhere where it was only half done."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ebbench.record import resultfiles

ROOT = Path(__file__).parents[2]
PLAN = """
[[runs]]
tasks = ["toy2d"]
models = ["uniform-noise"]
budgets = ["smoke"]
seeds = "0-1"
set = { law = "8gaussians" }
"""


def away(checkout: Path, home: Path, out: Path, limit: str = "200s", left: bool = False) -> str:
    """A call over there; `left` where the limit may cut it off."""
    out.mkdir()
    # As there: `python3` and `ebbench` are those that the packages were installed for.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", checkout / "scripts" / "away", "plan.toml", limit],
        env=os.environ | {"PATH": path, "EBBENCH_HOME": str(home), "OUT": str(out)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode in ((0, 124) if left else (0,)), done.stderr + done.stdout
    return done.stdout


@pytest.mark.medium
def test_only_what_is_new_is_made_and_comes_back(cli, tmp_path: Path):
    checkout = tmp_path / "checkout"
    for folder in ("scripts", "results", ".carry/data"):
        (checkout / folder).mkdir(parents=True)
    for name in ("away", "travel.py"):
        shutil.copy(ROOT / "scripts" / name, checkout / "scripts")
    (checkout / "plan.toml").write_text(PLAN.replace("0-1", "0"))
    assert "1 done, 0 done before" in away(checkout, tmp_path / "one", tmp_path / "first")
    (part,) = (tmp_path / "first").glob("results.zip.*")
    shutil.copy(part, tmp_path / "back.zip")
    assert cli("results", "unpack", "back.zip", "--results", checkout / "results").code == 0
    assert len(resultfiles.load_all(checkout / "results")[0]) == 1

    # Another machine, bare but for the checkout.
    (checkout / "plan.toml").write_text(PLAN)
    assert "1 done, 1 done before" in away(checkout, tmp_path / "two", tmp_path / "second")
    (part,) = (tmp_path / "second").glob("results.zip.*")
    shutil.copy(part, tmp_path / "back.zip")
    said = cli("results", "unpack", "back.zip", "--results", checkout / "results")
    assert "1 new results, 0 here already" in said.out, said
    assert {r.seed for r in resultfiles.load_all(checkout / "results")[0]} == {0, 1}
    with tarfile.open(tmp_path / "second" / "logs.tar.gz") as logs:
        assert any("uniform-noise" in name for name in logs.getnames())


def travel(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "travel.py", *words],
        env=os.environ | {"EBBENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def training(home: Path, name: str, kind: str, size: int) -> dict[str, bytes]:
    """A training's folder in a run store, with a state of `size` bytes."""
    place = home / "runs" / name
    place.mkdir(parents=True)
    files = {"key.json": b"{}", f"{kind}-0.safetensors": os.urandom(size), f"{kind}.json": b"{}"}
    for file, content in files.items():
        (place / file).write_bytes(content)
    return files


def in_store(home: Path, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "runs" / name).glob("*")}


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`packed(sizes)`: a store of trainings of so many bytes as parts in a folder; and what they hold."""
    spec = importlib.util.spec_from_file_location("travel", ROOT / "scripts" / "travel.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "PART", 2000)

    def make(sizes: dict[str, int], out: Path) -> dict[str, dict[str, bytes]]:
        home = tmp_path / "there"
        monkeypatch.setenv("EBBENCH_HOME", str(home))
        held = {name: training(home, name, "checkpoint", size) for name, size in sizes.items()}
        monkeypatch.setattr(script, "needed", lambda plan, results: ((name, name) for name in sizes))
        out.mkdir(exist_ok=True)
        script.leave(Path("plan.toml"), Path("results"), out)
        return held

    return make


def test_parts_keep_to_the_room_that_results_leave_and_the_rest_follows(tmp_path, packed, capsys):
    out, home = tmp_path / "out", tmp_path / "there"
    out.mkdir()
    (out / "results.zip.00").write_bytes(b"results")
    (out / "logs.tar.gz").write_bytes(b"logs")
    held = packed({"aa": 3000, "bb": 20000}, out)
    parts = sorted(path.name for path in out.glob("store.*"))
    assert len(list(out.iterdir())) == 8 and [name[-7:-4] for name in parts] == [f"00{n}" for n in range(6)]
    assert "did not fit" in capsys.readouterr().out
    rounds = [out]
    while list((home / "leaving").iterdir()):
        rounds.append(tmp_path / f"after{len(rounds)}")
        rounds[-1].mkdir()
        assert travel("rest", rounds[-1], home=home).returncode == 0
    # On the next machine, as they came.
    there = tmp_path / "next"
    first = travel("take", out, home=there)
    assert first.returncode == 0 and "parts are missing from number 6" in first.stdout
    # Of the second training a piece has come, which is no training.
    assert in_store(there, "aa") == held["aa"] and not (there / "runs" / "bb").exists()
    for folder in rounds[1:]:
        said = travel("take", folder, home=there)
    assert in_store(there, "bb") == held["bb"] and "1 trainings taken up, 1 here already" in said.stdout


def test_what_is_in_the_store_is_not_overwritten(tmp_path: Path, packed):
    packed({"aa": 30}, tmp_path / "out")
    further = training(tmp_path / "next", "aa", "state", 20)
    said = travel("take", tmp_path / "out", home=tmp_path / "next")
    assert "0 trainings taken up, 1 here already" in said.stdout
    assert in_store(tmp_path / "next", "aa") == further


def test_damaged_or_strange_parts_are_refused(tmp_path: Path, packed):
    packed({"aa": 3000}, tmp_path / "out")
    part = sorted((tmp_path / "out").glob("store.*"))[1]
    content = part.read_bytes()
    part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = travel("take", tmp_path / "out", home=tmp_path / "next")
    assert said.returncode == 1 and "damaged" in said.stderr and not (tmp_path / "next" / "runs").exists()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "store.zip").write_bytes(b"")
    said = travel("take", tmp_path / "strange", home=tmp_path / "other")
    assert said.returncode == 1 and "no part of a run store" in said.stderr


def test_no_part_leads_out_of_the_run_store(tmp_path: Path):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name in ("aa/../../evil", "aa/state.json"):
            tar.addfile(tarfile.TarInfo(name))
    content = (tmp_path / "evil.tar").read_bytes()
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / f"store.{hashlib.sha256(content).hexdigest()[:16]}.000-001").write_bytes(content)
    said = travel("take", folder, home=tmp_path / "next")
    assert said.returncode == 1 and "no training's file" in said.stderr and not (tmp_path / "evil").exists()


DDLS = """
[[runs]]
tasks = ["toy2d"]
models = ["ddls"]
budgets = ["smoke"]
samplers = ["ddls"]
seeds = "0"
set = { law = "8gaussians", base = "wgan-gp" }
"""


@pytest.mark.medium
def test_the_trainings_that_a_plan_needs_are_found_with_their_base(cli, tmp_path: Path, monkeypatch):
    (tmp_path / "plan.toml").write_text(DDLS)
    words = ["run", "--task", "toy2d", "--model", "ddls", "--budget", "smoke", "--sampler", "ddls"]
    words += ["--set", "law=8gaussians", "--set", "base=wgan-gp", "--seeds", "0", "--quiet"]
    said = cli(*words, "--until", "base")
    assert said.code == 0, said.err
    # A training that no run of the plan needs.
    training(tmp_path / "home", "ff", "state", 10)
    (tmp_path / "out").mkdir()
    said = travel(
        "leave", tmp_path / "plan.toml", tmp_path / "results", tmp_path / "out", home=tmp_path / "home"
    )
    assert said.returncode == 0 and said.stdout.count("packed: state of toy2d ddls") == 1, said
    taken = travel("take", tmp_path / "out", home=tmp_path / "next")
    assert "1 of 1 parts, 1 trainings taken up" in taken.stdout
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "next"))
    said = cli(*words[:-1])
    assert said.code == 0 and "trained before, taken from the store" in said.out + said.err
    # Nothing of the plan is left, so nothing travels.
    again = travel(
        "leave", tmp_path / "plan.toml", tmp_path / "results", tmp_path / "out", home=tmp_path / "next"
    )
    assert "store: 0 parts left" in again.stdout


LONG = """
[[runs]]
tasks = ["toy2d"]
models = ["wgan-gp", "vae"]
budgets = ["smoke"]
seeds = "0"
set = { law = "8gaussians", steps = 1500 }
"""


def fresh_clone(folder: Path) -> Path:
    """A checkout as a lent machine gets it: what is committed, this working tree's scripts, and a plan."""
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", folder], check=True)
    for name in ("away", "travel.py"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    (folder / ".carry" / "data").mkdir(parents=True)
    (folder / "plan.toml").write_text(LONG)
    return folder


@pytest.mark.slow
def test_a_training_that_spans_two_machines_ends_as_on_one(cli, tmp_path: Path):
    # The rehearsal of a trip: fresh clones, a limit of seconds, parts that travel, an end that is the same.
    whole = fresh_clone(tmp_path / "whole")
    away(whole, tmp_path / "home", tmp_path / "back")
    (alone,) = [
        result
        for result in resultfiles.load_all(tmp_path / "home" / "results")[0]
        if result.task.name == "toy2d" and result.model.name == "wgan-gp" and result.config["steps"] == 1500
    ]
    first, calls = fresh_clone(tmp_path / "one"), 0
    while not list(tmp_path.glob("out*/store.*")):
        calls += 1
        assert calls < 6, "no call was cut off in a training"
        # A call may be over before the training begins: then the next one has it shorter.
        away(first, tmp_path / "home-one", tmp_path / f"out{calls}", limit=f"{5 + 3 * calls}s", left=True)
    second = fresh_clone(tmp_path / "two")
    (second / ".carry" / "store").mkdir()
    for part in (tmp_path / f"out{calls}").glob("store.*"):
        shutil.copy(part, second / ".carry" / "store")
    said = away(second, tmp_path / "home-two", tmp_path / "last")
    assert "1 trainings taken up" in said
    (made,) = [
        result
        for result in resultfiles.load_all(tmp_path / "home-two" / "results")[0]
        if result.task.name == "toy2d" and result.model.name == "wgan-gp" and result.config["steps"] == 1500
    ]
    with tarfile.open(tmp_path / "last" / "logs.tar.gz") as logs:
        text = b"".join(logs.extractfile(m).read() for m in logs.getmembers() if "wgan-gp" in m.name)
    assert b"going on from the checkpoint" in text
    assert made.metrics == alone.metrics and made.training.hash == alone.training.hash
    assert made.training.curves.series == alone.training.curves.series
