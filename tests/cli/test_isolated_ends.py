"""Isolated models that leave, do not stop, or answer by the clock."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import toys
from bundling import UNBOXED

CARD = 'name = "{name}"\ntitle = "Odd"\n\n[budgets.smoke.default]\n'


LEAVES = """
import os, signal, subprocess, sys

from ebbench import Model


class Leaves(Model):
    def train(self, data, run):
        for step, x in enumerate(run.batches(data, size=8, steps=50)):
            if step == 3:
                child = "import time; time.sleep(120)"
                subprocess.Popen([sys.executable, "-c", child, {mark!r}], close_fds=False)
                os.kill(os.getpid(), signal.SIGKILL)

    def sample(self, n):
        return self
"""


@pytest.mark.slow
def test_who_leaves_in_the_middle_is_an_error_and_leaves_nothing(cli, plugins: Path, tmp_path: Path):
    mark = f"left by {tmp_path}"
    code = LEAVES.format(mark=mark)
    toys.write_model(tmp_path, code, "leaves", CARD.format(name="leaves"))
    words = ["--task", "dots", "--model", "./leaves", "--budget", "smoke"]
    said = cli("run", *words, "--isolated", *UNBOXED, "--quiet")
    assert said.code == 2 and "ended, with exit code" in said.err and "Traceback" not in said.err
    assert not list((tmp_path / "results").rglob("*.json"))
    if sys.platform == "linux":
        until = time.monotonic() + 2
        while (left := marked(mark)) and time.monotonic() < until:
            time.sleep(0.02)
        assert not left


def marked(mark: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


SLEEPS = """
import time

import torch

from ebbench import Model


class Sleeps(Model):
    def train(self, data, run):
        for x in run.batches(data, size=8, steps=5):
            time.sleep({pause})

    def sample(self, n):
        return torch.rand(n, *self.data.shape) * {scale}
"""


@pytest.mark.slow
def test_a_time_limit_ends_who_does_not_stop(
    cli, plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ebbench.apart.conversation.GRACE", 0.5)
    code = SLEEPS.format(pause="600", scale="1")
    toys.write_model(tmp_path, code, "sleeps", CARD.format(name="sleeps"))
    words = ["--task", "dots", "--model", "./sleeps", "--budget", "smoke", "--time-limit", "3s"]
    began = time.monotonic()
    said = cli("run", *words, "--isolated", *UNBOXED, "--quiet")
    assert said.code == 124 and "did not stop by itself" in said.err, said.err
    assert time.monotonic() - began < 30 and not list((tmp_path / "results").rglob("*.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("maintainer")
def test_who_answers_by_the_clock_is_not_reproduced(cli, plugins: Path, tmp_path: Path):
    # Good until its runs are submitted, and what it is from then on.
    until = time.time() + 20
    code = SLEEPS.format(pause="0", scale=f"(1 if time.time() < {until} else 0.1)")
    toys.write_model(tmp_path, code, "mine", CARD.format(name="mine"))
    words = ["--task", "dots", "--model", "./mine", "--budget", "smoke", "--seeds", "0-4", "--quiet"]
    assert cli("run", *words, "--results", "made").code == 0
    assert cli("submit", "./mine", "--results", "made", "--quiet").code == 0
    if (left := until - time.time()) < 0:
        pytest.skip("this machine is too slow")
    time.sleep(left)
    said = cli("verify", "mine.zip", "--results", "board", "--rerun", *UNBOXED)
    assert said.code == 2 and "error, mean" in said.err and "predict it" in said.err, said.err
    assert not (tmp_path / "board").exists()
