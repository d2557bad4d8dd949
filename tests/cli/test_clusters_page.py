"""The recipes of docs/clusters.md: its tables are read, and its commands run, on this machine."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ebbench.sweeps.choose import chosen
from ebbench.sweeps.profile import read_profile

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
PLAN = '[[runs]]\ntasks = ["dots"]\nmodels = ["blob"]\nbudgets = ["smoke"]\nseeds = "0"\n'
TABLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("ebbench sweep ")]


def test_the_tables_say_what_the_page_says(tmp_path: Path):
    found = {}
    for i, text in enumerate(TABLES):
        (tmp_path / f"{i}.toml").write_text(text)
        profile = read_profile(tmp_path / f"{i}.toml")
        found[profile.kind] = profile
    slurm, ray = found["slurm"], found["ray"]
    assert (slurm.workers, slurm.cores, slurm.gpus, slurm.memory) == (64, 4, 1, 16)
    assert (slurm.partition, slurm.seconds, slurm.notice, slurm.options) == (
        "gpu",
        4 * 3600,
        120,
        {"account": "mine"},
    )
    assert (ray.address, ray.workers, ray.cores, ray.gpus) == ("ray://head:10001", 8, 2, 0.5)


@pytest.mark.medium
@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_run_here(cli, plugins: Path, tmp_path: Path, quick_runs: None, line: str):
    words = shlex.split(line)[1:]
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "slurm.toml").write_text(TABLES[0])
    # The same command without a cluster: what comes last is taken.
    words = [str(tmp_path / "results") if word == "/shared/results" else word for word in words]
    said = cli(*words, "--executor", "local", "--workers", "1")
    assert said.code == 0 and "1 done" in said.out, said
    again = cli(*words, "--executor", "local", "--workers", "1")
    assert again.code == 0 and "1 done before" in again.out, again


def test_a_cluster_that_is_not_here_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import importlib

    from ebbench.errors import UsageError

    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    (tmp_path / "plan.toml").write_text(PLAN)
    monkeypatch.setattr(importlib, "import_module", absent)
    for kind in ("slurm", "ray"):
        with pytest.raises(UsageError, match=kind) as caught:
            chosen(read_profile(tmp_path / "plan.toml"), kind=kind, workers=1, threads=1, device="cpu")
        assert caught.value.fix == f"pip install 'ebbench[{kind}]'"
