"""What one run must not pass on to another: samples drawn by other code, and a changed Config."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import toys


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
