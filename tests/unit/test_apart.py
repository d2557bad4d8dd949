"""A model's process as an enemy: whatever it says, takes, leaves or does not do, the engine is not hurt.

The process here is a small one that speaks the protocol by itself, so that it can break it. What a model can
do from inside of ebbench's own process for it is in tests/cli/test_isolated.py, what the box holds in
test_box.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import speaker
from ebbench.apart import conversation
from ebbench.apart.conversation import Stopping
from ebbench.apart.wire import Message
from ebbench.errors import ContractError, EbbenchError, PluginCrash, Stopped
from ebbench.running.signals import StopRequest
from speaker import BOXED, SPEAKER, Start, running

# Fixtures.
start = speaker.start


# Both ways where there are two.
WAYS = [True, False] if BOXED else [False]


@pytest.mark.parametrize("boxed", WAYS)
def test_an_answer_and_questions_before_it(start: Start, boxed: bool):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    code = """
end.recv(2**20)
send("question", number=3)
end.recv(2**20)
send("done", [["x", "float32", [2, 3]]], struct.pack("<6f", *range(6)) + b"blob", number=4)
time.sleep(60)
"""
    process, asked = start(code, boxed=boxed), []

    def answered(message: Message) -> None:
        asked.append(message.count("number"))
        process.send("answer")

    answer = process.ask("draw", handlers={"question": answered})
    assert asked == [3] and answer.count("number") == 4
    assert np.array_equal(answer.array("x"), values) and answer.blob == b"blob"


@pytest.mark.parametrize("boxed", WAYS)
@pytest.mark.parametrize(
    "code",
    ["os._exit(0)", "if os.fork():\n    os._exit(0)\ntime.sleep(60)"],
    ids=["it exits", "a child of it keeps the wire"],
)
def test_a_process_that_ends_is_missed_at_once(start: Start, boxed: bool, code: str):
    began = time.monotonic()
    with pytest.raises(PluginCrash, match="ended, with exit code 0"):
        start(code, boxed=boxed).ask("train")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("end.sendall(b'\\xff' * 64); time.sleep(60)", "does not keep to the protocol: a message of"),
        ("end.sendall(struct.pack('>IQ', 5, 0) + b'hello'); time.sleep(60)", "without a header"),
        ("end.sendall(struct.pack('>IQ', 10**5, 0) + b'[' * 10**5); time.sleep(60)", "without a header"),
        ("send('done', size=10 * 2**30); time.sleep(60)", "at most 67,108,864 fit"),
        ("send('done', [['x', 'float32', [2**40]]], bytes(64)); time.sleep(60)", "shorter than its arrays"),
        ("send('done', [['x', 'float32', [-1]]], bytes(64)); time.sleep(60)", "describes no arrays"),
        ("send('done', [['x', 'object', [1]]], bytes(64)); time.sleep(60)", "describes no arrays"),
        ("send('done', [['x', 'float32', [0, 2**52, 2**52]]]); time.sleep(60)", "impossible shape"),
        ("send('labels'); time.sleep(60)", "'labels' is not an answer to 'draw'"),
        ("send('a' * 10**5); time.sleep(60)", "is not an answer to 'draw'"),
    ],
)
def test_what_is_no_answer_ends_the_process(start: Start, code: str, said: str):
    with pytest.raises(PluginCrash) as end:
        start(code).ask("draw")
    assert said in str(end.value) and len(str(end.value)) < 2000


def test_who_closes_the_wire_is_missed(start: Start):
    # In a box its first process holds the wire too: there it is as if it gave no answer.
    with pytest.raises(PluginCrash, match="closed its connection to ebbench"):
        start("end.close(); time.sleep(60)", boxed=False).ask("draw")


def test_what_it_prints_is_cut_and_shown_without_escapes(start: Start):
    with pytest.raises(PluginCrash) as end:
        start("print('A' * 10**6 + '\\x1b[2J' + 'B' * 300, flush=True); os._exit(3)").ask("draw")
    assert "exit code 3" in str(end.value) and "B" * 300 in str(end.value)
    assert "\x1b" not in str(end.value) and len(str(end.value)) < 2000


@pytest.mark.parametrize("cls", ["SystemExit", "Stopped", "DataError", "ContractError", 7, None])
def test_an_error_that_it_reports_is_one_of_a_plug_in(start: Start, cls: Any):
    fields = {"class": cls, "what": "\x1b[31mred", "where": ["x"], "expected": "y" * 10**5, "trace": 7}
    with pytest.raises(EbbenchError) as end:
        start(f"send('error', **{fields!r}); time.sleep(60)").ask("draw")
    assert isinstance(end.value, ContractError if cls == "ContractError" else PluginCrash)
    assert "\x1b" not in str(end.value) and "red" in str(end.value) and len(str(end.value)) < 4000


HOLD = "kept = b'x' * (150 * 2**20)\n"


FORK_AND_HOLD = """
for _ in range(3):
    if os.fork() == 0:
        kept = b'x' * (50 * 2**20)
        time.sleep(60)
"""


FORK = "for _ in range(12):\n    if os.fork() == 0:\n        time.sleep(60)\n"


WRITE = "for n in range(3):\n    with open(str(n), 'wb') as file: file.write(bytes(8 * 2**20))\n"


@pytest.mark.parametrize(
    ("code", "limits", "said"),
    [
        ("", {"seconds": 0.5}, "takes longer than 0.5 s"),
        (HOLD, {"memory": 100 * 2**20}, "holds more than 0.10 GiB of memory"),
        # Each alone holds little.
        (FORK_AND_HOLD, {"memory": 120 * 2**20}, "holds more than 0.12 GiB of memory"),
        (FORK, {"processes": 8}, "has started more than 8 processes"),
        (WRITE, {"files": 16 * 2**20}, "has written more than 0.02 GiB"),
        # Who talks all the time is looked at as well.
        ("while True: send('progress')\n", {"seconds": 0.5}, "takes longer than 0.5 s"),
    ],
    ids=["time", "memory", "memory of children", "processes", "files", "time, talking"],
)
@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_its_limits_are_kept(start: Start, code: str, limits: dict[str, float], said: str):
    with pytest.raises(PluginCrash) as end:
        start(code + "time.sleep(60)", **limits).ask("train", handlers={"progress": lambda message: None})
    assert said in str(end.value)


@pytest.mark.parametrize("large", [False, True], ids=["it sleeps", "it takes no message"])
@pytest.mark.parametrize("asks", [True, False])
def test_who_does_not_stop_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch, large: bool, asks: bool):
    monkeypatch.setattr(conversation, "GRACE", 0.3)
    process, stop = start("time.sleep(60)"), StopRequest()
    process.waiting = Stopping(stop, process, asks=asks)
    stop.signal = signal.SIGALRM
    began = time.monotonic()
    with pytest.raises(Stopped) as end:
        process.ask("rows", {"rows": np.zeros(2**23 if large else 1)})
    assert end.value.exit_code == 124 and "did not stop by itself" in str(end.value)
    assert 0.3 < time.monotonic() - began < 10


KILLED = """
import os, signal, sys, time
from pathlib import Path
import ebbench.apart.process as process
process.CHILD = ("-I", sys.argv[2])
boxed = sys.argv[3] == "True"
made = process.ModelProcess(Path(sys.argv[1]), process.Limits(), boxed=boxed, name="", where="")
made.ask("begin")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("boxed", WAYS)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_it_ends_with_an_engine_that_was_killed(tmp_path: Path, boxed: bool):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    speaker = scratch / "speaker.py"
    # It listens to nobody, and in a box neither does its child, in a session of its own.
    fork = "if os.fork() == 0:\n    os.setsid(); time.sleep(60)\n" if boxed else ""
    speaker.write_text(SPEAKER + fork + "send('done'); time.sleep(60)")
    words = [sys.executable, "-c", KILLED, str(scratch), str(speaker), str(boxed)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    until = time.monotonic() + 5
    while (left := running(scratch)) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == []
