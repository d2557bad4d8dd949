"""The command line in a process of its own, forked from a server that has loaded torch: it starts in a blink.

The server has loaded ebbench's own modules and no plug-in, and has run nothing, so a fork of it knows no more
than a new interpreter. Tests of how a process starts (its import path, its environment) start a real one.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

# How every command of ebbench's own begins; what comes after are the words of the command line.
BEGINNING = [sys.executable, "-P", "-m", "ebbench.cli.main"]
# What takes seconds to load, torch.optim's too.
LOADED = ["ebbench.running.engine", "ebbench.running.curves", "torch._dynamo", "ebbench.cli.main"]


def server() -> ForkServerContext:
    """The context whose processes are forked from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    before = Path.cwd()
    # It looks for modules where it starts, and a test's own folder may hold one of any name.
    os.chdir("/")
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(before)
    return context


def _child(words: list[str], folder: str, environment: dict[str, str], files: list[str], alone: bool) -> None:
    if alone:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in enumerate(files, start=1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["ebbench", *words]
    from ebbench.cli import main

    main.main()


class Forked:
    """A command in a process of its own, with the methods of a `subprocess.Popen` that are used."""

    def __init__(
        self,
        argv: Sequence[object],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: Path | None = None,
        alone: bool = False,
    ) -> None:
        """`stdout`: the file that all output is added to; `alone`: in a session of its own."""
        self.args = [str(word) for word in argv]
        assert self.args[: len(BEGINNING)] == BEGINNING, self.args
        self._said = Path(tempfile.mkdtemp(prefix="ebbench-said-"))
        files = [str(stdout), str(stdout)] if stdout else [str(self._said / name) for name in ("out", "err")]
        words = self.args[len(BEGINNING) :]
        self._process: Any = server().Process(
            target=_child,
            args=(words, str(cwd or Path.cwd()), dict(os.environ if env is None else env), files, alone),
            daemon=True,
        )
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As a Popen's: minus the signal that ended it."""
        code: int | None = self._process.exitcode
        return code

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said on both streams, once it has ended."""
        self.wait(timeout)
        return self._read("out"), self._read("err")

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _read(self, name: str) -> str:
        path = self._said / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def popen(argv: Sequence[str], *, stdout: Any, env: Mapping[str, str], **_: object) -> Forked:
    """In place of the Popen of `sweeps.executors`."""
    return Forked(argv, env=env, stdout=Path(stdout.name), alone=True)


def run(argv: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
    """In place of a `subprocess.run` that takes what is said."""
    process = Forked(argv)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)
