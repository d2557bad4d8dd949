"""A plug-in's code shares the process: what it raises names its line, what it changes is put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import toys
from ebbench.errors import ContractError, PluginCrash, Stopped
from ebbench.plugins import loader
from ebbench.plugins.guard import plugin_code

CODE = """
import os, signal, sys, warnings, asyncio, torch
from ebbench import Model


class Odd(Model):
    def train(self, data, run):
        {line}

    def sample(self, n): ...
"""


def train(folder: Path, line: str, place: Path | None = None) -> None:
    """Run a line as a plug-in's train()."""
    plugin = loader.load("model", str(toys.write_model(folder, CODE.format(line=line), name="odd")))
    model = plugin.cls(None, None)
    with plugin_code(plugin, place, "train"):
        model.train(None, None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("sys.exit(0)", "SystemExit: 0"),
        ("sys.exit()", "SystemExit"),
        ("raise SystemExit", "SystemExit"),
        ("os._exit(0)", r"SystemExit: os._exit\(0\)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise StopIteration", "StopIteration"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise BaseException('x')", "BaseException: x"),
        ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "E .its text"),
        ("raise Exception('\\udc80')", "Exception"),
    ],
)
def test_whatever_a_plug_in_raises_names_its_line(tmp_path: Path, line: str, said: str):
    with pytest.raises(PluginCrash, match=rf"train\(\) of model 'odd' raised {said}") as caught:
        train(tmp_path, line, tmp_path)
    assert caught.value.where == "odd/model.py:8"
    assert "model.py" in (tmp_path / "error.log").read_text(errors="replace")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped("stopped", 130), ContractError("broken")])
def test_what_is_no_fault_of_the_plug_in_s_passes(tmp_path: Path, error: BaseException):
    plugin = loader.load("model", str(toys.write_model(tmp_path)))
    with pytest.raises(type(error)) as caught, plugin_code(plugin, None, "train"):
        raise error
    assert caught.value is error


def test_what_it_prints_goes_to_standard_error(tmp_path: Path, capfd):
    train(tmp_path, "print('one'); os.system('echo two'); os.write(1, b'three'); sys.stdout = None")
    print("after")
    said = capfd.readouterr()
    assert said.out == "after\n"
    assert all(word in said.err for word in ("one", "two", "three"))


def state() -> list[Any]:
    return [
        os.getcwd(),
        list(sys.path),
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
        list(warnings.filters),
        sys.stdout,
        sys.stderr,
        os._exit,
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("end", ["", "; 1 / 0"])
@pytest.mark.parametrize(
    "line",
    [
        "os.chdir('/')",
        "sys.path.insert(0, 'x'); sys.path = []",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
        "warnings.simplefilter('ignore')",
        "sys.stdout = sys.stderr = None",
        "os._exit = print",
        "torch.set_default_dtype(torch.float64)",
        "torch.set_grad_enabled(False)",
    ],
)
def test_what_it_changes_of_the_process_is_put_back(tmp_path: Path, line: str, end: str):
    (tmp_path / "gone").mkdir()
    before = state()
    try:
        train(tmp_path, line + end)
    except PluginCrash:
        assert end
    assert state() == before


def test_a_working_directory_that_is_gone_is_no_matter(tmp_path: Path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    train(tmp_path, f"os.chdir('/'); os.rmdir({str(tmp_path / 'gone')!r})")


def test_blocks_nest_and_the_engine_s_own_generators_run_inside(tmp_path: Path):
    plugin = loader.load("model", str(toys.write_model(tmp_path)))

    def batches() -> Iterator[int]:
        with plugin_code(plugin, None, "evaluate"):
            yield 1
        raise Stopped("saved", 143)

    before = state()
    with pytest.raises(Stopped), plugin_code(plugin, None, "train"):
        for _ in batches():
            os.chdir("/")
    assert state() == before


def test_a_forked_child_may_end_as_it_must(tmp_path: Path):
    code = """
import multiprocessing, os, warnings
warnings.simplefilter("ignore")
from ebbench.plugins.process import kept

def work(x):
    return x + 1

with kept():
    with kept():
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.map(work, [1]) == [2]
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        try:
            os._exit(0)
        except SystemExit:
            print("refused")
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "done\n", "refused")


def test_a_run_of_such_a_model_ends_with_a_message_and_no_result(
    cli: Callable[..., Any], plugins: Path, tmp_path: Path
):
    run = ["--task", "dots", "--budget", "smoke", "--results", "made", "--quiet", "--json"]
    toys.write_model(plugins, CODE.format(line="os._exit(0)"), "odd", 'name = "odd"\ntitle = "x"\n')
    said = cli("run", *run, "--model", "odd")
    assert (said.code, said.out) == (2, "") and "odd/model.py:8" in said.err
    assert not list(tmp_path.glob("made/**/*.json"))
