"""`ebbench sweep --plan-as-job`: a job reads the plan where the data are, and the sweep goes by its file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from test_sweep import BUILT, ONE, PLAN, Here, Over, graph_of, here, results_of  # noqa: F401

from ebbench.errors import StorageError
from ebbench.sweeps import planned, sweep
from ebbench.sweeps.executors import Handle, Resources
from ebbench.sweeps.summary import Summary


class Elsewhere(Here):
    """A machine that has a folder of data, which this one has not."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self.data = data

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        self.data.mkdir()
        try:
            if argv[3] == planned.__name__:
                self.commands.append(argv[3])
                return Over(planned.main(Path(argv[4])))
            return super().submit(argv, environment, resources, log)
        finally:
            self.data.rmdir()


def test_the_data_are_needed_by_the_jobs_alone(cli, plugins: Path, tmp_path: Path, monkeypatch, here):  # noqa: F811
    (tmp_path / "plan.toml").write_text(PLAN)
    words = ("sweep", "plan.toml", "--data-dir", str(tmp_path / "data"))
    elsewhere = Elsewhere(tmp_path / "data")
    monkeypatch.setattr(sweep, "LocalProcesses", lambda *_: elsewhere)
    ran = cli(*words)
    assert ran.code == 2 and "the data folder does not exist" in ran.err and not elsewhere.commands, ran
    ran = cli(*words, "--plan-as-job")
    assert ran.code == 0 and "8 done, 0 done before" in ran.out, ran
    assert elsewhere.commands[0] == planned.__name__ and len(elsewhere.commands) == 9
    assert len(results_of(tmp_path / "results")) == 8
    next((tmp_path / "results").rglob("*.json")).write_text("{")
    ran = cli(*words, "--plan-as-job")
    assert ran.code == 1 and "0 done, 7 done before, 1 failed" in ran.out and "is not a result" in ran.out, (
        ran
    )


def test_what_comes_back_is_the_work_that_was_found(tmp_path: Path):
    works = graph_of(BUILT, tmp_path, workers=2)
    given = Summary(existed=["a"], failed=[("b", "c")])
    planned._write(tmp_path / "work.json", works, given)
    summary = Summary()
    found = planned._read(tmp_path / "work.json", summary)
    assert (summary.existed, summary.failed) == (["a"], [("b", "c")])
    assert len(found) == len(works) and sum(work.training for work in works) == 4
    for one, other in zip(found, works, strict=True):
        assert (one.label, list(one.argv), one.log, one.path) == (
            other.label,
            list(other.argv),
            other.log,
            other.path,
        )
        assert [need.label for need in one.needs] == [need.label for need in other.needs]
        assert one.finished == other.finished and one.finished() is None and one.training == other.training


def test_a_store_that_the_machines_do_not_share_is_said(tmp_path: Path):
    with pytest.raises(StorageError, match="cannot be read") as caught:
        planned._read(tmp_path / "work.json", Summary())
    assert "EBBENCH_HOME" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("[[runs]]\ntasks = ['dotz']\nmodels = ['blob']\n", (), "unknown task 'dotz'"),
        (PLAN, ("--watch",), "--watch reads the plan on this machine"),
    ],
)
def test_a_mistake_is_said(cli, plugins: Path, tmp_path: Path, text: str, more: tuple[str, ...], said: str):
    (tmp_path / "plan.toml").write_text(text)
    ran = cli("sweep", "plan.toml", "--plan-as-job", *more)
    assert ran.code == 2 and said in ran.err, ran


@pytest.mark.medium
def test_a_sweep_on_a_login_node_loads_no_torch(plugins: Path, tmp_path: Path):
    """Submitit plays Slurm by processes of this machine."""
    pytest.importorskip("submitit", reason="needs ebbench[slurm]")
    (tmp_path / "plan.toml").write_text(ONE)
    code = (
        "import functools, json, sys\n"
        "from ebbench.cli import main\n"
        "from ebbench.sweeps import slurm\n"
        "slurm.Slurm = functools.partial(slurm.Slurm, cluster='local')\n"
        "sys.argv = ['ebbench', 'sweep', 'plan.toml', '--executor', 'slurm', '--plan-as-job']\n"
        "try:\n    main.main()\n"
        "except SystemExit as end:\n    print(json.dumps([end.code, 'torch' in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 done, 0 done before, 0 failed, 0 left" in done.stdout, done
    assert json.loads(done.stdout.splitlines()[-1]) == [0, False]
    assert len(results_of(tmp_path / "results")) == 1
