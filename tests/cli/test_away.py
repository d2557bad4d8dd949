"""`scripts/away`: what a lent machine made comes back, and what came with the checkout is not made again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

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


def away(checkout: Path, home: Path, out: Path) -> str:
    out.mkdir()
    # As there: `python3` and `ebbench` are those that the packages were installed for.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", checkout / "scripts" / "away", "plan.toml", "200s"],
        env=os.environ | {"PATH": path, "EBBENCH_HOME": str(home), "OUT": str(out)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_only_what_is_new_is_made_and_comes_back(cli, tmp_path: Path):
    checkout = tmp_path / "checkout"
    for folder in ("scripts", "results", ".carry/data"):
        (checkout / folder).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "away", checkout / "scripts")
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
