"""The engine's side of a model's process: start it in its box, send it requests, watch it, and end it.

While the engine waits for the process, it checks the memory of the process and its children, their number,
the bytes that they have written, and the time. Nothing that the process sends or leaves behind is trusted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ebbench import errors
from ebbench.apart.wire import LOOK, BadMessage, Channel, Ended, Message
from ebbench.errors import EbbenchError, PluginCrash
from ebbench.isolation import box
from ebbench.record.text import shortened, visible
from ebbench.storage.runstore import write

# The arguments of Python in the process.
CHILD = ("-P", "-m", "ebbench.apart.child")
# The maximum number of characters: of the kept output of a process, and of one text that it sends.
MOST_PRINTED, MOST_SAID = 8_000, 600
# The maximum bytes of a message without a state or samples.
SMALL = 64 * 2**20
# Seconds that a process has to end by itself after it has closed its connection to ebbench.
_LINGER = 2.0
# Seconds between two checks of the memory, and between two checks of the files.
_MEMORY, _FILES = 0.4, 2.0
# The errors that a process may report, by the name of the class.
_KNOWN = {
    cls.__name__: cls
    for cls in (
        *(errors.PluginError, errors.ContractError, errors.PluginCrash),
        *(errors.Diverged, errors.UsageError, errors.StorageError),
    )
}

T = TypeVar("T")
Handlers = Mapping[str, Callable[[Message], None]]


def _most_memory() -> int:
    return int(0.75 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a model's process and its descendants may use together.

    `seconds` is the wall-clock time of its life (None: no limit). `memory` is in bytes (0: three quarters of
    the machine's memory). `files` is in bytes on disk. `processes` is the number of processes.
    """

    seconds: float | None = None
    memory: int = 0
    files: int = 16 * 2**30
    processes: int = 64


class ModelProcess:
    """A process that holds one model. `scratch` is its folder; `name` and `where` name it in errors.

    With `boxed` it runs in a box (isolation/box.py); with `gpu` the box shows it the graphics cards. Its
    output before a failure goes to the file `log`. While the engine waits for the process, it regularly calls
    the attribute `waiting`, which may raise.
    """

    def __init__(
        self,
        scratch: Path,
        limits: Limits,
        *,
        boxed: bool,
        name: str,
        where: str,
        gpu: bool = False,
        log: Path | None = None,
    ) -> None:
        self.waiting: Callable[[], None] = lambda: None
        self.scratch = scratch
        # Whether a training in the process is still to be finished.
        self.unfinished = False
        self._limits, self._memory = limits, limits.memory or _most_memory()
        self._name, self._where, self._log = name, where, log
        self._printed = b""
        self._asked = "start"
        self._began = self._looked = self._weighed = self._counted = time.monotonic()
        scratch.mkdir(parents=True, exist_ok=True)
        for name in (box.ROOT, box.TEMPORARY):
            removed(scratch / name)
        ours, theirs = socket.socketpair()
        words = [str(theirs.fileno()), str(limits.files), str(limits.seconds or 0)]
        command = [sys.executable, *CHILD, *words]
        own = {"EBBENCH_HOME": str(scratch / "home"), "EBBENCH_OFFLINE": "1"}
        variables = box.environment(scratch, {**own, "MPLCONFIGDIR": str(scratch / box.TEMPORARY)})
        more = box.graphics() if gpu else ()
        command = box.boxed(command, scratch, more) if boxed else box.mortal(command)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=scratch,
                pass_fds=[theirs.fileno()],
                # The engine handles Ctrl-C for it, and can end all that it starts as one group.
                start_new_session=True,
            )
        finally:
            theirs.close()
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._channel = Channel(ours, self._look)

    @property
    def busy(self) -> bool:
        """Whether a message is being sent. No other message may be sent then."""
        return self._channel.sending

    def ask(
        self,
        kind: str,
        arrays: Mapping[str, np.ndarray] | None = None,
        blob: bytes = b"",
        *,
        most: int = SMALL,
        handlers: Handlers | None = None,
        **fields: Any,
    ) -> Message:
        """Send a request, and return its answer of at most `most` bytes.

        `handlers` answer the questions that the process sends before its answer, by their kind. Raises the
        error that the process reports, and any error of `waiting`. Raises PluginCrash if the process ends,
        exceeds its limits or sends an invalid message.
        """
        before, self._asked = self._asked, kind
        known = handlers or {}
        try:
            self._channel.send(kind, arrays, blob, **fields)
            while True:
                message = self._channel.receive(most)
                # Watch also a process that sends messages without a pause.
                if time.monotonic() - self._looked > LOOK:
                    self._look()
                if message.kind == "done":
                    return message
                if message.kind == "error":
                    raise self._reported(message)
                if message.kind not in known:
                    raise BadMessage(f"'{shortened(message.kind, 40)}' is not an answer to '{kind}'")
                known[message.kind](message)
        except Ended as error:
            raise self._gone() from error
        except BadMessage as error:
            raise self._nonsense(error) from error
        finally:
            self._asked = before

    def send(self, kind: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
        """Send a message that needs no answer. Raises PluginCrash if the process has ended."""
        try:
            self._channel.send(kind, arrays, **fields)
        except Ended as error:
            raise self._gone() from error

    def checked(self, read: Callable[[], T]) -> T:
        """Return `read()`, which reads an answer. If it raises BadMessage, raises PluginCrash instead."""
        try:
            return read()
        except BadMessage as error:
            raise self._nonsense(error) from error

    def end(self) -> None:
        """End the process and every process that it started."""
        self._channel.close()
        # In a box the first process runs our launch.py, and all others end with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if not self._output.closed:
            self._drain()
            self._output.close()

    def _look(self) -> None:
        """Check the process. Raises Ended if it is gone, and PluginCrash if it exceeds its limits."""
        now = self._looked = time.monotonic()
        self._drain()
        # The wire alone does not show the end: a child that the process left behind may keep it open.
        if self._process.poll() is not None and not self._channel.ready():
            raise Ended
        limits = self._limits
        if limits.seconds is not None and now - self._began > limits.seconds:
            raise self._over(f"takes longer than {limits.seconds:g} s")
        if now - self._weighed > _MEMORY:
            held, count = _held(self._process.pid)
            if held > self._memory:
                raise self._over(f"holds more than {self._memory / 2**30:.2f} GiB of memory")
            if count > limits.processes:
                raise self._over(f"has started more than {limits.processes} processes")
            self._weighed = time.monotonic()
        if now - self._counted > _FILES:
            if _written(self.scratch) > limits.files:
                raise self._over(f"has written more than {limits.files / 2**30:.2f} GiB")
            self._counted = time.monotonic()
        self.waiting()

    def _drain(self) -> None:
        """Read the output of the process, and keep the end of it.

        The amount read is limited, so a process that prints without end must wait for the pipe.
        """
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                if not (part := os.read(self._output.fileno(), 2**16)):
                    return
                self._printed = (self._printed + part)[-MOST_PRINTED:]

    def _over(self, what: str) -> PluginCrash:
        self.end()
        return PluginCrash(
            f"the process of {self._name} {what}, and was ended",
            where=f"{self._where}, asked to {self._asked}",
            expected="a model that keeps to the limits of its process",
            fix="make the model smaller or quicker" + self._said(),
        )

    def _nonsense(self, error: BadMessage) -> PluginCrash:
        self.end()
        return PluginCrash(
            f"the process of {self._name} does not keep to the protocol: {error}",
            where=f"{self._where}, asked to {self._asked}",
            expected="answers by ebbench's own code in that process",
            fix="change the model's code: it must not touch the open files of its process" + self._said(),
        )

    def _gone(self) -> PluginCrash:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LINGER)
        code = self._process.poll()
        self.end()
        how = "closed its connection to ebbench" if code is None else f"ended, with exit code {code}"
        return PluginCrash(
            f"the process of {self._name} {how}",
            where=f"{self._where}, asked to {self._asked}",
            expected="an answer",
            fix="remove from the model what ends the process: an exit, a signal or a crash" + self._said(),
        )

    def _said(self) -> str:
        text = visible(self._printed.decode("utf-8", "replace")).strip()
        if not text:
            return ""
        if self._log is not None:
            write(self._log, text.encode("utf-8", "backslashreplace"))
            return f"; what it printed is in {self._log}"
        return f"; it printed: {shortened(text[-MOST_SAID:], MOST_SAID)}"

    def _reported(self, message: Message) -> EbbenchError:
        names = ("class", "what", "where", "expected", "fix")
        said = {name: shortened(str(message.fields.get(name, "")), MOST_SAID) for name in names}
        trace = visible(str(message.fields.get("trace", ""))[-MOST_PRINTED:]).strip()
        if trace and self._log is not None:
            write(self._log, trace.encode("utf-8", "backslashreplace"))
            said["fix"] = f"correct the line named above; the whole traceback is in {self._log}"
        return _KNOWN.get(said["class"], PluginCrash)(
            said["what"] or "the model's process reports an error",
            where=said["where"] or self._where,
            expected=said["expected"],
            fix=said["fix"],
        )


def removed(path: Path) -> None:
    """Remove what a process may have left at `path`. Of a link, only the link itself is removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _held(first: int) -> tuple[int, int]:
    """The bytes of private memory that a process and its descendants hold, and the number of them."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The name is in brackets and may contain anything. After it come the state and the parent.
                stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
                parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    below: set[int] = set()
    new = {first}
    while new:
        below |= new
        new = {process for process, parent in parents.items() if parent in below} - below
    return sum(_private(process) for process in below), len(below)


def _private(process: int) -> int:
    held = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/status").read_text(errors="replace").splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                held += 1024 * int(line.split()[1])
    return held


def _written(folder: Path) -> int:
    """The bytes on disk of the files below a folder. Links are not followed."""
    total, left = 0, [str(folder)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += 512 * entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
    return total
