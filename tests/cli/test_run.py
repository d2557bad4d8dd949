"""`ebbench run` as a stranger uses it: a folder of their own, and every mistake they can make."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import toys
from ebbench.record import resultfiles

RUN = ("run", "--task", "dots", "--quiet")


def written(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json")) if folder.exists() else []


def test_a_strangers_folder_runs_is_scored_and_appears_in_the_table(cli, plugins: Path, tmp_path: Path):
    mine = toys.write_model(tmp_path / "elsewhere", name="mine")
    ran = cli(*RUN, "--model", mine, "--budget", "smoke", "--seeds", "0-2")
    assert ran.code == 0, ran.err
    paths = written(tmp_path / "results" / "dots" / "mine")
    assert [resultfiles.read(path).seed for path in paths] == [0, 1, 2]
    first = resultfiles.read(paths[0])
    assert first.training.steps == 60 and first.config["steps"] == 60
    assert (paths[0].parent / first.pictures["curves"]).read_bytes().startswith(b"\x89PNG")
    assert first.provenance.command == (
        "ebbench run --task dots --model mine --budget smoke --protocol clean --sampler generator --seeds 0"
    )
    assert str(tmp_path) not in paths[0].read_text()
    table = json.loads(cli("table", "--task", "dots", "--format", "json").out)
    assert [row["model"] for row in table] == ["mine"]
    values = [resultfiles.read(path).metrics["error"] for path in paths]
    assert table[0]["metrics"]["error"]["values"] == values
    assert table[0]["metrics"]["error"]["mean"] == pytest.approx(sum(values) / 3)


def test_a_finished_run_is_pointed_at_and_force_repeats_it(cli, plugins: Path, tmp_path: Path):
    words = (*RUN, "--model", "blob", "--budget", "smoke")
    assert cli(*words).code == 0
    (path,) = written(tmp_path / "results")
    before = path.read_bytes()
    again = cli(*words)
    assert again.code == 0 and "done before" in again.out and path.name in again.out
    assert path.read_bytes() == before
    forced = cli(*words, "--force", "--json")
    (document,) = json.loads(forced.out)
    assert document["existed"] is False
    assert document["result"]["metrics"] == json.loads(before)["metrics"]


def test_another_sampler_protocol_or_knob_scores_the_same_training(cli, plugins: Path, tmp_path: Path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    assert "taken from the store" not in cli(*words).err
    for more in (
        ["--sampler", "shifted"],
        ["--sampler", "shifted", "--protocol", "published"],
        ["--sampler", "shifted", "--set", "shifted.by=0.5"],
    ):
        ran = cli(*words, *more)
        assert ran.code == 0 and "taken from the store" in ran.err, ran.err
    results = [resultfiles.read(path) for path in written(tmp_path / "results")]
    assert len({r.training.hash for r in results}) == 1
    assert len({r.scoring.hash for r in results}) == len(results) == 4
    knobs = {(r.task.protocol, r.sampler.knobs.get("by")) for r in results}
    assert knobs == {("clean", None), ("clean", 0.0), ("published", 0.25), ("clean", 0.5)}
    # The card's knob of the published protocol is no override by the user; the one that was set is.
    assert {json.dumps(r.overrides) for r in results} == {"{}", '{"shifted.by": 0.5}'}
    assert "taken from the store" not in cli(*words, "--set", "points=128").err
    assert "taken from the store" not in cli(*words, "--set", "lr=0.5").err


def test_a_variant_and_a_change_of_code_are_other_trainings(cli, plugins: Path, tmp_path: Path):
    assert cli(*RUN, "--model", "blob", "--budget", "smoke").code == 0
    assert cli(*RUN, "--model", "blob:still", "--budget", "smoke").code == 0
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("* torch.rand(())", "* torch.rand(()) * 2"))
    assert cli(*RUN, "--model", "blob", "--budget", "smoke").code == 0
    results = [resultfiles.read(path) for path in written(tmp_path / "results")]
    assert sorted((r.model.variant, r.model.kind, r.training.steps) for r in results) == [
        ("", "model", 60),
        ("", "model", 60),
        ("still", "control", 0),
    ]
    assert len({r.training.hash for r in results}) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "dosts", "--model", "blob"], "did you mean 'dots'?"),
        (["--task", "dots", "--model", "blop"], "did you mean 'blob'?"),
        (["--task", "dots", "--model", "blob:stil"], "did you mean 'still'?"),
        (["--task", "dots", "--model", "blob", "--budget", "smok"], "did you mean 'smoke'?"),
        (["--task", "dots", "--model", "blob", "--budget", "paper"], "[budgets.paper.dots]"),
        (["--task", "dots", "--model", "blob", "--protocol", "publish"], "did you mean 'published'?"),
        (["--task", "dots", "--model", "blob", "--sampler", "shift"], "did you mean 'shifted'?"),
        (["--task", "dots", "--model", "blob", "--set", "step=3"], "did you mean 'steps'?"),
        (["--task", "dots", "--model", "blob", "--set", "shifted.by=1"], "unknown key 'shifted.by'"),
        (["--task", "dots", "--model", "blob", "--set", "steps=many"], "a value of type int"),
        (["--task", "dots", "--model", "blob", "--set", "steps"], "key=value"),
        (["--task", "dots", "--model", "blob", "--set", "lr=inf"], "a number below"),
        (
            ["--task", "dots", "--model", "blob", "--sampler", "shifted", "--set", "shifted.by=nan"],
            "a number below",
        ),
        (["--task", "dots", "--model", "blob", "--set", "lr=1", "--set", "lr=2"], "set twice"),
        (["--task", "dots", "--model", "blob", "--seeds", "4-1"], "cannot read the seeds"),
        (["--task", "dots", "--model", "blob", "--device", "cuda:77"], "cannot be used"),
        (["--task", "dots", "--model", "./nowhere"], "is not a model folder"),
    ],
)
def test_a_wrong_word_is_named_with_a_cure(cli, plugins: Path, tmp_path: Path, words, said):
    ran = cli("run", *words)
    assert ran.code == 2
    assert said in ran.err and ran.err.startswith("error: ")
    assert "Traceback" not in ran.err
    assert not written(tmp_path / "results")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def train(self, data, run): raise KeyError('k')\ndef sample(self, n): ...", "model.py:6"),
        ("def energy(self, x): return x.sum(1)", "cannot do task 'dots'"),
        ("def sample(self, n): return torch.full((n, 2), float('nan'))", "NaN or infinite"),
        ("def sample(self, n): return torch.zeros(n, 3)", "(16, 3)"),
        ("def sample(self, n): return torch.zeros(n - 1, 2)", "(15, 2)"),
        ("def sample(self, n): return [[0.0, 0.0]] * n", "list"),
        ("def sample(self, n): return torch.zeros(n, 2, dtype=torch.int64)", "torch.int64"),
        ("def sample(self, n): return torch.full((n, 2), 1.5)", "[1.5, 1.5]"),
        ("def sample(self, n): return self.nothing", "AttributeError"),
        ("def __init__(self, data, config): self.x = y", "NameError"),
    ],
    ids=["raises", "capability", "nan", "shape", "count", "type", "dtype", "range", "in sample", "in init"],
)
def test_a_broken_model_is_named_with_what_is_wrong(cli, plugins: Path, tmp_path: Path, body, said):
    if "sample" not in body and "energy" not in body:
        body += "\ndef sample(self, n): return torch.zeros(n, 2)"
    folder = toys.write_one_method(tmp_path / "odd", body)
    ran = cli(*RUN, "--model", folder, "--budget", "smoke")
    assert ran.code == 2, ran
    assert said in ran.err and "Traceback" not in ran.err
    assert not written(tmp_path / "results")


def test_a_model_that_does_not_import(cli, plugins: Path, tmp_path: Path):
    folder = toys.write_model(tmp_path / "odd", "import not_there_at_all", "odd")
    ran = cli(*RUN, "--model", folder)
    assert ran.code == 2 and "not_there_at_all" in ran.err and "model.py:1" in ran.err


def test_a_crash_in_training_leaves_its_traceback_in_a_log(cli, plugins: Path, tmp_path: Path):
    folder = toys.write_one_method(
        tmp_path / "odd", "def train(self, data, run): 1 / 0\ndef sample(self, n): ..."
    )
    ran = cli(*RUN, "--model", folder, "--budget", "smoke")
    (log,) = (tmp_path / "home").rglob("error.log")
    assert str(log) in ran.err and "ZeroDivisionError" in log.read_text()


@pytest.mark.parametrize(
    ("method", "line"), [("data_key", 'return {"points"'), ("spec", 'return DataSpec(name="dots"')]
)
def test_what_a_task_raises_is_the_task_s(cli, plugins: Path, tmp_path: Path, method: str, line: str):
    code = plugins / "dots" / "task.py"
    code.write_text(code.read_text().replace(line, f"1 / 0\n        {line}"))
    said = cli(*RUN, "--model", "blob", "--budget", "smoke")
    assert said.code == 2 and f"{method}() of task 'dots' raised ZeroDivisionError" in said.err, said
    assert "task.py" in said.err and "Traceback" not in said.err


def test_a_results_folder_that_cannot_be_written_is_said_before_training(cli, plugins: Path, tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    ran = cli(*RUN, "--model", "blob", "--budget", "smoke", "--results", tmp_path / "taken")
    assert ran.code == 2 and "cannot be written" in ran.err and "--results" in ran.err
    assert not list((tmp_path / "home").rglob("state.json"))


def test_a_diverged_training_is_named_and_writes_nothing(cli, plugins: Path, tmp_path: Path):
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("run.log(loss=loss)", "run.log(loss=loss / 0)"))
    ran = cli(*RUN, "--model", "blob", "--budget", "smoke")
    assert ran.code == 2 and "training diverged: 'loss' is inf" in ran.err
    assert not written(tmp_path / "results")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("force", [False, True])
def test_a_signal_saves_the_state_and_the_same_command_goes_on(
    cli, command, plugins: Path, tmp_path: Path, number, force: bool
):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    slow_where_asked(plugins)
    if force:
        # What is done is begun anew, once: a second call of the command goes on as any other's would.
        assert cli(*words).code == 0
        words = (*words, "--force")
    (tmp_path / "slow").touch()
    process = command(*words)
    wait_for((tmp_path / "begun").exists)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "the same command goes on" in err and "Traceback" not in err
    assert force or not written(tmp_path / "results")
    (tmp_path / "slow").unlink()
    again = cli(*words)
    assert again.code == 0 and "going on from the checkpoint at step" in again.err
    assert not list((tmp_path / "home").rglob("forced"))
    whole = cli(*words, "--results", tmp_path / "other", "--force")
    assert whole.code == 0
    (one,), (two,) = written(tmp_path / "results"), written(tmp_path / "other")
    assert resultfiles.read(one).metrics == resultfiles.read(two).metrics


def test_two_processes_on_one_run_do_the_work_once(command, plugins: Path, tmp_path: Path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--set", "pause=0.02")
    first, second = command(*words), command(*words)
    said = [process.communicate(timeout=120) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert sorted("done before" in out for out, _ in said) == [False, True]
    assert sum("waiting" in err for _, err in said) <= 1
    assert len(written(tmp_path / "results")) == 1


def slow_where_asked(plugins: Path) -> None:
    """Make the toy wait at each step while a file `slow` lies beside the command; it writes `begun` then."""
    model = plugins / "blob" / "model.py"
    wait = "if Path('slow').exists(): Path('begun').touch(); time.sleep(0.1)"
    text = model.read_text().replace("            run.log(", f"            {wait}\n            run.log(")
    model.write_text(f"from pathlib import Path\n{text}")


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_a_result_is_scored_by_its_own_training_alone(cli, plugins: Path, tmp_path: Path):
    assert cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke").code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    card = plugins / "blob" / "card.toml"
    text = card.read_text()
    # The code is the same, and both trainings are in the store.
    card.write_text(text.replace("steps = 60", "steps = 50"))
    assert cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke").code == 0
    said = cli("score", path.stem, "--sampler", "shifted")
    assert said.code == 2 and "is no longer the one of the result" in said.err
    assert len(list((tmp_path / "results").rglob("*.json"))) == 2
    card.write_text(text)
    assert cli("score", path.stem, "--sampler", "shifted").code == 0


def test_a_score_is_taken_in_full_precision(cli, plugins: Path, tmp_path: Path):
    flags = "[torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]"
    code = toys.TASK.replace("float(x.std())})", f"float(x.std())}}, {{'flags': {flags}}})")
    (plugins / "dots" / "task.py").write_text(code)
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke").code == 0
        assert torch.backends.cuda.matmul.fp32_precision == "tf32", "the user's choice is back"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    (path,) = (tmp_path / "results").rglob("*.json")
    assert resultfiles.read(path).details["flags"] == ["ieee", "ieee"]


@pytest.fixture
def own_threads(monkeypatch: pytest.MonkeyPatch):
    """What a command sets of threads is taken back."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_chosen_and_said(cli, plugins: Path, tmp_path: Path, own_threads: None):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    ran = cli(*words, "--threads", "3")
    assert ran.code == 0 and "threads: 3 " in ran.err
    (path,) = written(tmp_path / "results")
    assert resultfiles.read(path).provenance.cpu.threads == 3
    assert "threads" not in cli(*words, "--threads", "2", "--quiet").err
    refused = cli(*words, "--threads", "-1")
    assert refused.code == 2 and "-1 threads" in refused.err


def test_seeds_given_again_are_joined(cli, plugins: Path, tmp_path: Path):
    ran = cli(*RUN, "--model", "blob", "--budget", "smoke", "--seeds", "3", "--seeds", "0,1", "--json")
    assert [made["result"]["seed"] for made in json.loads(ran.out)] == [3, 0, 1]


def test_a_time_limit_leaves_the_run_undone(cli, plugins: Path, tmp_path: Path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--set", "pause=0.02")
    ran = cli(*words, "--time-limit", "0.4s")
    assert ran.code == 124 and "stopped by the time limit" in ran.err and ran.out == ""
    assert not written(tmp_path / "results")
    assert cli(*words).code == 0
    refused = cli(*words, "--time-limit", "soon")
    assert refused.code == 2 and "'soon' is not a duration" in refused.err


def test_json_stands_alone_whatever_a_plug_in_and_its_children_write(command, plugins: Path, tmp_path: Path):
    noise = "import os, subprocess, sys\nprint('at import')\nos.system('echo at import')\n"
    here = "print('printed'); os.write(1, b'written\\n'); subprocess.run(['echo', 'child']); self.opt ="
    model = plugins / "blob" / "model.py"
    model.write_text(noise + model.read_text().replace("self.opt =", here))
    process = command(*RUN, "--model", "blob", "--budget", "smoke", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    (document,) = json.loads(out)
    assert resultfiles.read(document["path"]).run_id == document["result"]["run_id"]
    assert {"at import", "printed", "written", "child"} <= set(err.splitlines())


def test_a_plug_in_that_leaves_the_folder_takes_no_result_with_it(cli, plugins: Path, tmp_path: Path):
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("self.opt =", "__import__('os').chdir('/'); self.opt ="))
    ran = cli(*RUN, "--model", "blob", "--budget", "smoke", "--log", "jsonl")
    assert ran.code == 0, ran.err
    (path,) = written(tmp_path / "results")
    assert str(path) in ran.out
    assert len(list((tmp_path / "logs").rglob("*.jsonl"))) == 1


@pytest.mark.parametrize("body", ["import sys; sys.exit(0)", "raise KeyError('k')", "return None"])
def test_a_state_that_cannot_be_had_is_the_model_s_mistake(cli, plugins: Path, tmp_path: Path, body: str):
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text() + f"\n    def state_dict(self):\n        {body}\n")
    ran = cli(*RUN, "--model", "blob", "--budget", "smoke")
    assert ran.code == 2 and "state_dict() of model 'blob' raised" in ran.err and "Traceback" not in ran.err
    assert not written(tmp_path / "results")


def test_a_training_is_logged_where_it_is_asked_for(cli, plugins: Path, tmp_path: Path):
    words = (*RUN, "--model", "blob:still", "--budget", "smoke")
    ran = cli(*RUN, "--model", "blob", "--budget", "smoke", "--log", "jsonl", "--log-dir", tmp_path / "lines")
    assert ran.code == 0, ran.err
    (lines,) = (tmp_path / "lines" / "dots" / "blob").glob("*.jsonl")
    (result,) = written(tmp_path / "results")
    assert json.loads(lines.read_text().splitlines()[-1]) == {"metrics": resultfiles.read(result).metrics}
    wrong = cli(*words, "--log", "jsonlines")
    assert wrong.code == 2 and "did you mean 'jsonl'?" in wrong.err


def test_a_stream_that_is_closed_or_narrow_ends_no_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from ebbench.cli import main

    monkeypatch.setattr(sys, "stdout", None)
    main._open_streams()
    with sys.stdout as opened:
        assert opened.write("for nobody")
    with (tmp_path / "narrow").open("w", encoding="ascii") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        main._open_streams()
        print("0.1 ± 0.2")
    assert (tmp_path / "narrow").read_text() == "0.1 ? 0.2\n"


def test_names_are_completed_without_loading_a_plug_in(plugins: Path, tmp_path: Path, monkeypatch):
    from ebbench.cli import completion

    monkeypatch.chdir(tmp_path)
    (plugins / "dots" / "task.py").write_text("raise SystemExit")
    assert completion.task_names("do") == ["dots"]
    assert "meg" in completion.model_names("") and completion.model_names("bl") == ["blob", "blurred-data"]
    assert completion.model_names("./plugins/b") == ["./plugins/blob"]
    assert completion.model_names("./nowhere/") == completion.model_names("~nobody-here/") == []
    assert completion.model_names(str(plugins) + "/") == [f"{plugins}/blob", f"{plugins}/dots"]
    # A broken folder is said by the command, not in the middle of the line that is typed.
    (plugins / "blob" / "card.toml").write_text("no TOML")
    assert isinstance(completion.model_names("bl"), list)


def test_completion_is_offered_by_the_command_itself(plugins: Path, tmp_path: Path, cli, monkeypatch):
    monkeypatch.setenv("_EBBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ebbench run --task do")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert cli().out.split() == ["dots"]
