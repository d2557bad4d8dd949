"""The contract suite finds each kind of slip of a plug-in, and names its line."""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import toys
from ebbench.conformance import suite
from ebbench.conformance.reports import Report
from ebbench.conformance.shapes import Shapes
from ebbench.contract import DataSpec
from ebbench.plugins import loader

SHAPES = Shapes({"dots": DataSpec(name="dots", shape=(2,), low=0.0, high=1.0)})


def reports(folder: Path, **settings: float) -> list[Report]:
    return list(suite.check(loader.load("model", str(folder)), SHAPES, **settings))


def failure(folder: Path, **settings: float) -> Report:
    (only,) = [report for report in reports(folder, **settings) if not report.passed]
    return only


def slip(folder: Path, method: str, line: str, before: str = "") -> Path:
    """The toy model with `line` as the first of `method`; `before` stands above the class."""
    code = toys.MODEL.replace("class Blob", f"{before}\n\nclass Blob") if before else toys.MODEL
    changed, count = re.subn(rf"(    def {method}\(.*\n)", rf"\1        {line}\n", code)
    assert count == 1
    return toys.write_model(folder, changed)


def line_of(folder: Path, text: str) -> str:
    lines = (folder / "model.py").read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if text in line]
    return f"blob/model.py:{number}"


METHODS = {"__init__": "builds on dots", "train": "trains on dots", "shifted": "sampler shifted"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("import os; os._exit(0)", "os._exit(0)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
    ],
)
def test_code_that_ends_the_program_fails_its_check(tmp_path: Path, method: str, line: str, said: str):
    folder = slip(tmp_path, method, line)
    found = [report for report in reports(folder) if not report.passed][0]
    assert found.name == METHODS[method]
    assert said in found.text and line_of(folder, line) in found.text


def test_the_command_says_so_with_exit_code_1(plugins: Path, tmp_path: Path, cli):
    said = cli("test", slip(tmp_path / "other", "train", "import os; os._exit(0)"), "--task", "dots")
    assert said.code == 1
    assert "FAIL  trains on dots: train() of model 'blob' raised" in said.out
    assert said.out.endswith("1 check failed\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import os; os.chdir('/')", "the working directory"),
        ("x = self.sample(n); torch.set_default_dtype(torch.float64); return x", "default dtype"),
        ("torch.set_grad_enabled(False)", "gradient mode"),
        ("torch.set_num_threads(torch.get_num_threads() + 1)", "number of threads"),
        ("torch.use_deterministic_algorithms(True)", "deterministic algorithms"),
        ("torch.backends.cudnn.benchmark = True", "cuDNN"),
        ("import numpy; numpy.seterr(all='raise')", "floating-point errors"),
        ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", "handlers of SIGINT"),
    ],
)
def test_what_the_process_shares_is_left_as_it_was(tmp_path: Path, line: str, said: str):
    def shared() -> list[object]:
        return [
            os.getcwd(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            np.geterr(),
            signal.getsignal(signal.SIGINT),
        ]

    # Where the suite runs in the background, Ctrl-C is ignored from the start.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = shared()
    folder = slip(tmp_path, "shifted", line)
    found = failure(folder)
    assert found.name == "sampler shifted" and "shifted() changes" in found.text
    assert said in found.text and line_of(folder, line) in found.text
    after = shared()
    signal.signal(signal.SIGINT, earlier)
    assert after == before


def test_a_mode_that_ends_with_its_method_is_no_change(tmp_path: Path):
    code = toys.MODEL.replace("    def sample(", "    @torch.no_grad()\n    def sample(")
    code = code.replace("(self.sample(32) - x)", "(torch.sigmoid(self.net(torch.randn(32, 3))) - x)")
    assert all(report.passed for report in reports(toys.write_model(tmp_path, code)))


def test_the_line_of_a_helper_is_named_and_not_its_caller_s(tmp_path: Path):
    helper = "def quietly():\n    torch.set_num_threads(torch.get_num_threads() + 1)\n    return 0"
    folder = slip(tmp_path, "shifted", "n = n + quietly()", helper)
    assert line_of(folder, "set_num_threads") in failure(folder).text


SEEDING = [
    "torch.manual_seed(0)",
    "import numpy; numpy.random.seed(0)",
    "import random; random.seed(0)",
    "torch.random.manual_seed(3)",
]


@pytest.mark.parametrize("line", SEEDING)
@pytest.mark.parametrize("method", METHODS)
def test_code_that_seeds_itself_is_found(tmp_path: Path, method: str, line: str):
    folder = slip(tmp_path, method, line)
    found = [report for report in reports(folder) if not report.passed and report.name == METHODS[method]][0]
    assert "to a state of its own" in found.text and line_of(folder, line) in found.text


def test_a_score_that_seeds_itself_is_found(tmp_path: Path):
    body = "def energy(self, x):\n    torch.manual_seed(1)\n    return x.sum(1)"
    assert (
        "score 'energy' sets the random state of torch" in failure(toys.write_one_method(tmp_path, body)).text
    )


def test_a_forked_random_state_is_no_slip(tmp_path: Path):
    body = """
def energy(self, x):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return x.sum(1) + torch.randn(1)
"""
    assert all(report.passed for report in reports(toys.write_one_method(tmp_path, body)))


def test_a_sampler_with_a_generator_of_its_own_is_found(tmp_path: Path):
    body = "def sample(self, n):\n    return torch.rand(n, 2, generator=torch.Generator().manual_seed(0))"
    assert "the same samples for every seed" in failure(toys.write_one_method(tmp_path, body)).text


def test_a_collapsed_generator_is_no_slip(tmp_path: Path):
    body = "def sample(self, n):\n    return torch.full((n, 2), 0.5) + 0 * torch.rand(n, 2)"
    assert all(report.passed for report in reports(toys.write_one_method(tmp_path, body)))


def test_the_suite_leaves_no_seeding_function_behind(tmp_path: Path):
    before = random.seed, np.random.seed
    reports(toys.write_model(tmp_path))
    assert (random.seed, np.random.seed) == before


@pytest.mark.parametrize(
    "line",
    ["x -= 0.5", "x.clamp_(0.4, 0.6)", "x[:, 0] = 0", "x.numpy()[0] = 0", "x.data.mul_(2)", "x.T.zero_()"],
)
def test_a_score_that_changes_its_examples_is_found(tmp_path: Path, line: str):
    body = f"def energy(self, x):\n    {line}\n    return x.sum(1)"
    folder = toys.write_one_method(tmp_path, body)
    found = failure(folder).text
    assert "score 'energy' changes the examples that it is given" in found
    assert "odd/model.py:7" in found


@pytest.mark.parametrize("line", ["x = x - 0.5", "x = x.clone(); x -= 0.5"])
def test_a_score_that_works_on_a_copy_is_no_slip(tmp_path: Path, line: str):
    body = f"def energy(self, x):\n    {line}\n    return x.sum(1)"
    assert all(report.passed for report in reports(toys.write_one_method(tmp_path, body)))


def test_a_training_that_changes_the_data_is_found(tmp_path: Path):
    # A slice of the data is a view of them.
    folder = slip(tmp_path, "train", "data[slice(0, 9)].sub_(0.5)")
    found = failure(folder).text
    assert "changes the training data" in found and line_of(folder, "sub_(0.5)") in found


def test_a_batch_is_the_model_s_own(tmp_path: Path):
    code = toys.MODEL.replace("            loss = (self", "            x -= 0.5\n            loss = (self")
    assert all(report.passed for report in reports(toys.write_model(tmp_path, code)))


def test_a_training_that_changes_its_base_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    toys.write_model(tmp_path / "bases")
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path / "bases"))
    code = """
from dataclasses import dataclass

import torch

from ebbench import Model


class Upon(Model):
    builds_on = "base"

    @dataclass(frozen=True)
    class Config:
        base: str = "blob"
        \"\"\"The base.\"\"\"

    def train(self, data, run):
        with torch.no_grad():
            self.base.net[0].weight.mul_(2)

    def sample(self, n):
        return self.base.sample(n)
"""
    card = 'name = "upon"\ntitle = "Upon"\n[budgets.smoke.default]\n'
    found = failure(toys.write_model(tmp_path / "models", code, "upon", card)).text
    assert "changes the model that it builds on" in found


@pytest.mark.parametrize("method", ["train", "shifted"])
def test_what_is_printed_is_a_remark(tmp_path: Path, method: str):
    folder = slip(tmp_path, method, "print('a loss of', 0.25)")
    found = reports(folder)
    assert all(report.passed for report in found)
    (remark,) = [report for report in found if report.remark]
    assert remark.name == "prints" and "'a loss of 0.25" in remark.text
    assert line_of(folder, "print(") in remark.text


def test_a_file_in_its_own_folder_is_found(tmp_path: Path):
    line = "import pathlib; pathlib.Path(__file__).with_name('log.txt').write_text('x')"
    folder = slip(tmp_path, "train", line)
    found = [report for report in reports(folder) if not report.passed][0]
    assert found.name == "leaves its folder alone"
    assert "log.txt" in found.text and line_of(folder, "log.txt") in found.text


def test_a_file_that_is_changed_is_found_too(tmp_path: Path):
    line = "import pathlib; (pathlib.Path(__file__).parent / 'logs' / 'a.txt').write_text('more')"
    folder = slip(tmp_path, "sample", line)
    (folder / "logs").mkdir()
    (folder / "logs" / "a.txt").write_text("x")
    found = [report for report in reports(folder) if not report.passed][0]
    assert found.name == "leaves its folder alone" and "logs/a.txt" in found.text


def test_files_beside_the_code_that_nothing_covers_are_a_remark(tmp_path: Path):
    folder = toys.write_model(tmp_path, toys.MODEL + "\nfrom . import blocks\n")
    (folder / "blocks.py").write_text("WIDTH = 3\n")
    (folder / "weights.bin").write_bytes(b"0")
    (folder / "declared.bin").write_bytes(b"0")
    (folder / "card.toml").write_text('files = ["declared.bin"]\n' + toys.CARD.format(name="blob"))
    (remark,) = [report for report in reports(folder) if report.remark]
    assert remark.name == "files" and "not part of the code hash: weights.bin;" in remark.text


def test_a_check_that_does_not_end_fails(tmp_path: Path):
    folder = slip(tmp_path, "train", "import threading; threading.Event().wait()")
    found = failure(folder, limit=0.5)
    assert found.name == "trains on dots" and "did not end within 0.5 s" in found.text
    assert line_of(folder, "Event().wait()") in found.text


def test_a_limit_leaves_another_s_alarm_alone(tmp_path: Path):
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    failure(slip(tmp_path, "train", "import threading; threading.Event().wait()"), limit=0.2)
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return torch.zeros(len(x))", "the same number for every example: 0"),
        ("return torch.full((len(x),), -torch.inf)", "8 of 8 values that are -inf"),
        ("return torch.where(x[:, 0] > x[:, 0].mean(), torch.nan, torch.inf)", "values that are inf or nan"),
        ("return x", "gave the shape (8, 2)"),
        ("return x.sum(1).long()", "gave a torch.int64 tensor"),
        ("return x.sum(1).tolist()", "gave a list"),
        ("return x.sum(1) + torch.rand(len(x))", "changes with the seed"),
    ],
)
def test_scores_that_say_nothing_are_found(tmp_path: Path, body: str, said: str):
    assert said in failure(toys.write_one_method(tmp_path, f"def energy(self, x):\n    {body}")).text


def test_a_diagnostic_that_is_no_number_is_found(tmp_path: Path):
    folder = slip(tmp_path, "shifted", "self.diagnostics = {'acceptance': float('nan')}")
    assert "a diagnostic of sampler 'shifted' is not finite" in failure(folder).text


def test_a_control_may_know_nothing(tmp_path: Path):
    folder = toys.write_one_method(tmp_path, "def energy(self, x):\n    return torch.zeros(len(x))")
    (folder / "card.toml").write_text('name = "odd"\ntitle = "Odd"\nkind = "control"\n')
    assert all(report.passed for report in reports(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("steps: int = 400", "steps: int = 400\n        clip: float = float('inf')"), "Config.clip"),
        (("steps: int = 400", "steps: int = 400\n        places: object = object()"), "Config.places"),
        (("*, by: float = 0.0", "*, by: float"), "'by'"),
        (("steps: int = 400", "steps: 'Steps' = 400"), "Steps"),
    ],
)
def test_settings_that_a_result_cannot_hold_are_named(tmp_path: Path, change: tuple[str, str], said: str):
    found = failure(toys.write_model(tmp_path, toys.MODEL.replace(*change)))
    assert found.name == "imports" and said in found.text


@pytest.mark.parametrize("table", ["budgets.paper.default", "variants.still.budgets.cpu.dots"])
def test_a_budget_of_less_than_no_step_is_found(tmp_path: Path, table: str):
    card = toys.CARD.format(name="blob") + f"\n[{table}]\nsteps = -5\n"
    found = failure(toys.write_model(tmp_path, card=card))
    assert found.name == "config" and "steps must be at least 0" in found.text and table in found.text


def test_a_model_that_is_tried_on_no_task_is_told_so(tmp_path: Path):
    folder = toys.write_model(tmp_path, card='name = "blob"\ntitle = "Blob"\n')
    (remark,) = [report for report in reports(folder) if report.remark]
    assert remark.name == "tried" and "on no task" in remark.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('return {"points"', 'import time; return {"at": time.perf_counter(), "points"'), "a different key"),
        (('return {"points"', 'return {"set": {1}, "points"'), "JSON cannot hold"),
        (('self.source = "dots"', "pass"), "does not set 'source'"),
        (('self.source = "dots"', "import sys; sys.exit(0)"), "SystemExit"),
        (("return DataSpec(", "return str("), "raised"),
        (("    def spec(self):\n", "    def spec(self):\n        torch.set_num_threads(7)\n"), "threads"),
    ],
)
def test_slips_of_a_task_are_found(tmp_path: Path, change: tuple[str, str], said: str):
    assert change[0] in toys.TASK
    plugin = loader.load("task", str(toys.write_task(tmp_path, toys.TASK.replace(*change))))
    found = [report for report in suite.check(plugin) if not report.passed]
    assert [report.name for report in found] == ["protocol clean", "protocol published"]
    assert said in found[0].text and "dots/task.py" in found[0].text


@pytest.mark.parametrize(
    ("beforehand", "said"),
    [
        ("self.by = 0.0", "gives other values once the state is stored and loaded"),
        ("", "fails once the state is stored and loaded: shifted()"),
    ],
)
def test_what_training_sets_beside_the_state_is_missed(tmp_path: Path, beforehand: str, said: str):
    code = toys.MODEL.replace("        self.net =", f"        {beforehand}\n        self.net =")
    code = code.replace("        self.opt =", "        self.by = 0.25\n        self.opt =")
    code = code.replace("(self.sample(n) + by)", "(self.sample(n) + by + self.by)")
    found = failure(toys.write_model(tmp_path, code))
    assert found.name == "scores as stored" and "sampler 'shifted'" in found.text and said in found.text
    assert "a fresh model that has loaded the stored state" in found.text


def test_a_model_without_a_loop_is_not_said_to_be_interrupted(tmp_path: Path):
    body = "def train(self, data, run):\n    pass\n\ndef sample(self, n):\n    return torch.rand(n, 2)\n"
    found = {report.name: report for report in reports(toys.write_one_method(tmp_path, body))}
    assert found["resumes to the bit"].passed
    assert "cannot be interrupted" in found["resumes to the bit"].text
