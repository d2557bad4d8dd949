"""What must not pass from one run to another, nor from a training to its scoring beside the stored state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import toys
from ebbench.isolation.box import why_not

ISOLATED = ["--isolated", *(["--unboxed"] if why_not() else [])]


def test_chunks_of_older_code_of_the_task_are_not_used(cli, plugins: Path, tmp_path: Path):
    """What `reduce` made of a chunk is of the task's code, also where a mistake after it ended the run."""
    run = ["run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0", "--quiet"]
    assert cli(*run, "--results", "right").code == 0
    shutil.rmtree(tmp_path / "home")
    code = plugins / "dots" / "task.py"
    right = code.read_text()
    wrong = right.replace('{"x": x.numpy()}', '{"x": x.numpy() / 2}').replace("return Score(", "return Scor(")
    assert wrong.count("/ 2") == 1 and "Scor(" in wrong
    code.write_text(wrong)
    assert cli(*run, "--results", "again").code == 2
    code.write_text(right)
    assert cli(*run, "--results", "again").code == 0
    (one,), (other,) = (list((tmp_path / name).rglob("*.json")) for name in ("right", "again"))
    assert json.loads(one.read_text())["metrics"] == json.loads(other.read_text())["metrics"]


def test_a_seed_leaves_the_config_of_the_next_alone(cli, plugins: Path, tmp_path: Path):
    train, steps = "    def train(self, data, run):\n", '        """Steps."""\n'
    sizes = '        sizes: list[int] = field(default_factory=list)\n        """Sizes."""\n'
    code = toys.MODEL.replace("import dataclass", "import dataclass, field")
    code = code.replace(train, f"{train}        self.config.sizes.append(1)\n").replace(steps, steps + sizes)
    (plugins / "blob" / "model.py").write_text(code)
    run = ["run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet"]
    said = cli(*run, "--seeds", "0-1")
    assert said.code == 0, said.err
    made = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("*.json")]
    assert [one["config"]["sizes"] for one in made] == [[], []]


@pytest.mark.parametrize(
    "where",
    [pytest.param([], id="here"), pytest.param(ISOLATED, id="isolated", marks=pytest.mark.medium)],
)
def test_only_the_stored_state_is_scored(cli, plugins: Path, tmp_path: Path, where: list[str]):
    """What `train` leaves beside the state is lost for each later scoring, so it is for the first."""
    run = ["run", "--task", "dots", "--model", "blob", "--sampler", "shifted", "--budget", "smoke"]
    run += where
    assert cli(*run, "--results", "expected").code == 0
    code = toys.MODEL.replace("        self.net = nn.Seq", "        self.by = 0.0\n        self.net = nn.Seq")
    code = code.replace("        self.opt =", "        self.by = 0.25\n        self.opt =")
    code = code.replace("(self.sample(n) + by)", "(self.sample(n) + by + self.by)")
    assert code.count("self.by") == 3
    (plugins / "blob" / "model.py").write_text(code)
    assert cli(*run, "--results", "found").code == 0
    (found,), (expected,) = (list((tmp_path / name).rglob("*.json")) for name in ("found", "expected"))
    assert json.loads(found.read_text())["metrics"] == json.loads(expected.read_text())["metrics"]
