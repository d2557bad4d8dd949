"""Find out which shared things a plug-in's code changes, and at which line.

While the code runs, the things that must stay unchanged are checked after every line of the plug-in's own
files. So a mistake is reported with its line, however it was written.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench.errors import ContractError, PluginCrash
from ebbench.plugins import loader
from ebbench.plugins.guard import plugin_code

Look = Callable[[], Any]

STDOUT, FOLDER = "standard output", "the plug-in's folder"


@dataclass(frozen=True)
class _Shared:
    """One thing that the whole process shares: how to read it and how to set it."""

    name: str
    get: Look
    put: Callable[[Any], Any]


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "a folder that no longer exists"


def _cudnn() -> tuple[bool, bool]:
    return torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark


def _set_cudnn(values: tuple[bool, bool]) -> None:
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = values


def _handlers() -> tuple[Any, Any]:
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def _set_handlers(handlers: tuple[Any, Any]) -> None:
    # In another thread, nobody can have changed them.
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)


_SHARED = (
    _Shared("the working directory", _working_directory, os.chdir),
    _Shared("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Shared("torch's default device", torch.get_default_device, torch.set_default_device),
    _Shared("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    _Shared("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    _Shared(
        "torch's deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    _Shared("cuDNN's flags (deterministic, benchmark)", _cudnn, _set_cudnn),
    _Shared("NumPy's handling of floating-point errors", np.geterr, lambda values: np.seterr(**values)),
    _Shared("the handlers of SIGINT and SIGTERM", _handlers, _set_handlers),
)


@dataclass
class Seen:
    """What was seen during one call: for each thing, the first and the last line that changed it."""

    first: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)


class Watch:
    """Runs and watches a plug-in's code. `printed` is what the code wrote to standard output."""

    def __init__(self, plugin: loader.Plugin) -> None:
        self._plugin = plugin
        self.printed = ""
        self.printed_at = ""
        # The line that last wrote to the plug-in's folder, as far as the folder's own time shows.
        self.wrote_at = ""

    @contextlib.contextmanager
    def over(self, method: str, also: Mapping[str, Look] | None = None) -> Iterator[Seen]:
        """Watch the code in this context, which calls `method` of the plug-in. Yields what is seen.

        `also` has more things to watch, by name. Raises ContractError if the code left a shared thing
        changed, after restoring it. Raises PluginCrash for any error of the code.
        """
        seen, said, seeds = Seen(), _Listener(), _SeedCalls()
        looks: dict[str, Look] = {shared.name: shared.get for shared in _SHARED}
        looks |= {"seed": seeds.count, STDOUT: said.count, FOLDER: self._folder_time, **(also or {})}
        before = after = {shared.name: shared.get() for shared in _SHARED}
        crash: PluginCrash | None = None
        try:
            with (
                plugin_code(self._plugin, None, method),
                contextlib.redirect_stdout(said),
                seeds.counted(),
                _traced(self._plugin, looks, seen),
            ):
                try:
                    yield seen
                finally:
                    # Read the values before `plugin_code` restores some of them.
                    after = {shared.name: shared.get() for shared in _SHARED}
        except PluginCrash as error:
            crash = error
        finally:
            changed = [shared for shared in _SHARED if after[shared.name] != before[shared.name]]
            for shared in changed:
                shared.put(before[shared.name])
            self.wrote_at = seen.last.get(FOLDER, self.wrote_at)
            if said.text and not self.printed:
                self.printed, self.printed_at = said.text, seen.first.get(STDOUT, method)
        for shared in changed:
            # The change may have caused a later crash, so mention both.
            then = f"; then: {crash.what}" if crash else ""
            raise ContractError(
                f"{method}() changes {shared.name}, which the whole process shares: "
                f"{before[shared.name]} before, {after[shared.name]} after{then}",
                where=seen.last.get(shared.name, f"{self._plugin.folder.name}, {method}()"),
                expected="shared state that stays unchanged",
                fix="remove the line, or restore the old value before the method ends",
            ) from crash
        if crash is not None:
            raise crash

    def said(self) -> str:
        """The remark on what was printed."""
        return (
            f"{self.printed_at} writes {self.printed.strip()[:60]!r} to standard output, which is reserved "
            "for results; a run sends it to standard error"
        )

    def _folder_time(self) -> int:
        # This time changes when a file is added or removed.
        return self._plugin.folder.stat().st_mtime_ns


class _Listener(io.TextIOBase):
    """Sends standard output to standard error, and keeps its beginning."""

    def __init__(self) -> None:
        self.text = ""
        self._written = 0

    def count(self) -> int:
        return self._written

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._written += len(text)
        self.text += text[: max(0, 200 - len(self.text))]
        return sys.stderr.write(text)


class _SeedCalls:
    """Counts how often the global random states were seeded."""

    def __init__(self) -> None:
        self._calls = 0

    def count(self) -> tuple[int, int]:
        # Drawing numbers does not change torch's initial seed. Only seeding does.
        return torch.initial_seed(), self._calls

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Within this context, count the calls of NumPy's and Python's `seed`."""
        places: list[Any] = [random, np.random]
        before = [place.seed for place in places]

        def counting(seed: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                self._calls += 1
                return seed(*arguments, **named)

            return call

        for place, seed in zip(places, before, strict=True):
            place.seed = counting(seed)
        try:
            yield
        finally:
            for place, seed in zip(places, before, strict=True):
                place.seed = seed


@contextlib.contextmanager
def _traced(plugin: loader.Plugin, looks: Mapping[str, Look], seen: Seen) -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(_Tracer(plugin.folder, looks, seen).enter)
    try:
        yield
    finally:
        sys.settrace(before)


class _Tracer:
    """A trace function. After each line of a file in `folder`, it notes in `seen` what the line changed."""

    def __init__(self, folder: Path, looks: Mapping[str, Look], seen: Seen) -> None:
        self._folder, self._looks, self._seen = folder, looks, seen
        self._values: dict[str, Any] = {}
        self._own: dict[str, str] = {}
        # The present line of each running frame of the plug-in.
        self._at: list[str] = []

    def enter(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        """Called when a frame begins or a generator continues. Returns the trace function of the frame."""
        if not (name := self._name(frame.f_code.co_filename)):
            return None
        if self._at:
            self._look()
        else:
            # Changes by the engine since the last call are not the plug-in's.
            self._values = {thing: look() for thing, look in self._looks.items()}
        self._at.append(f"{name}:{frame.f_lineno}")

        def inside(frame: types.FrameType, event: str, argument: Any) -> Any:
            self._look()
            if event == "line":
                self._at[-1] = f"{name}:{frame.f_lineno}"
            elif event == "return":
                self._at.pop()
            return inside

        return inside

    def _look(self) -> None:
        for thing, look in self._looks.items():
            if (value := look()) != self._values[thing]:
                self._values[thing] = value
                self._seen.first.setdefault(thing, self._at[-1])
                self._seen.last[thing] = self._at[-1]

    def _name(self, file: str) -> str:
        """The file's path from the folder's parent; "" for a file outside the plug-in's folder."""
        if file not in self._own:
            path = Path(file)
            inside = path.is_relative_to(self._folder)
            self._own[file] = path.relative_to(self._folder.parent).as_posix() if inside else ""
        return self._own[file]
