"""A small process that speaks the protocol of a model's process by itself, so that it can break it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebbench.apart.process import Limits, ModelProcess
from ebbench.isolation import box

BOXED = not box.why_not()


SPEAKER = """
import json, os, socket, struct, sys, time
end = socket.socket(fileno=int(sys.argv[1]))

def send(kind, arrays=(), payload=b"", size=None, **fields):
    header = json.dumps({**fields, "kind": kind, "arrays": list(arrays)}).encode()
    end.sendall(struct.pack(">IQ", len(header), len(payload) if size is None else size) + header + payload)

"""


Start = Callable[..., ModelProcess]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process of the code given, and sees at the end that nothing of it is left."""
    started: list[ModelProcess] = []

    def start(code: str, *, boxed: bool = BOXED, **limits: Any) -> ModelProcess:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        script = scratch / "speaker.py"
        script.write_text(SPEAKER + code)
        monkeypatch.setattr("ebbench.apart.process.CHILD", ("-I", str(script)))
        process = ModelProcess(scratch, Limits(**limits), boxed=boxed, name="model 'odd'", where="odd")
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
    # The kernel may take a moment to take them away.
    until = time.monotonic() + 2
    while (left := running(tmp_path)) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == []


def running(folder: Path) -> list[str]:
    """The command lines that name a folder, of all processes but this one."""
    found = []
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in words and entry.name != str(os.getpid()):
            found.append(words.replace(b"\0", b" ").decode())
    return found
