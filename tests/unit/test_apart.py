"""A model's process as an enemy: whatever it says, takes, leaves or does not do, the engine is not hurt.

The process here is a small one that speaks the protocol by itself, so that it can break it. What a model can
do from inside of ebbench's own process for it is in tests/cli/test_isolated.py, what the box holds in
test_box.py.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbench import DataSpec
from ebbench.apart import conversation, processes, told
from ebbench.apart.conversation import Before, Conversation, Stopping
from ebbench.apart.offer import stand_in
from ebbench.apart.process import Limits, ModelProcess
from ebbench.apart.source import ProcessSource
from ebbench.apart.wire import BadMessage, Channel, Ended, Message
from ebbench.errors import ContractError, EbbenchError, PluginCrash, Stopped
from ebbench.isolation import box
from ebbench.running.loggers import Log
from ebbench.running.signals import StopRequest
from ebbench.storage import state

BOXED = not box.why_not()
# Both ways where there are two.
WAYS = [True, False] if BOXED else [False]

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
        ("send('labels'); time.sleep(60)", "'labels' is no answer to 'draw'"),
        ("send('a' * 10**5); time.sleep(60)", "is no answer to 'draw'"),
    ],
)
def test_what_is_no_answer_ends_the_process(start: Start, code: str, said: str):
    with pytest.raises(PluginCrash) as end:
        start(code).ask("draw")
    assert said in str(end.value) and len(str(end.value)) < 2000


def test_who_closes_the_wire_is_missed(start: Start):
    # In a box its first process holds the wire too: there it is as if it gave no answer.
    with pytest.raises(PluginCrash, match="closed its end of the wire"):
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


# What it gives, as the engine takes it.


def source(process: ModelProcess) -> ProcessSource:
    """Two samples of two values, or scores under the name `energy`."""
    from ebbench import Model

    class Odd(Model):
        def energy(self, x):
            raise AssertionError("not here")

    context = SimpleNamespace(
        spec=SimpleNamespace(
            sampler="sample", knobs={}, model=SimpleNamespace(cls=Odd, folder=Path("odd"), name="odd")
        ),
        task=SimpleNamespace(spec=lambda: DataSpec(name="dots", shape=(2,), low=0.0, high=1.0)),
        settings=SimpleNamespace(device=torch.device("cpu")),
        seed=0,
    )
    return ProcessSource(process, context, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "values", "said"),
    [
        ("samples", "float32", [2, 2], [0.5, 0.5, 0.5, math.nan], "hold NaN"),
        ("samples", "float32", [2, 2], [0.5, 0.5, 0.5, 2.0], "range"),
        ("samples", "float32", [1, 2], [0.5, 0.5], "(1, 2)"),
        ("samples", "float32", [2, 1], [0.5, 0.5], "(2, 1)"),
        ("samples", "float64", [2, 2], [0.5] * 4, "float64 where float32"),
        ("other", "float32", [2, 2], [0.5] * 4, "no array 'samples'"),
        ("energy", "float64", [2], [0.5, math.inf], "finite"),
        ("energy", "float64", [3], [0.5] * 3, "(3,)"),
        ("energy", "float64", [2, 1], [0.5] * 2, "(2, 1)"),
        ("energy", "float32", [2], [0.5] * 2, "float32 where float64"),
    ],
)
def test_what_it_gives_is_checked_here(
    start: Start, name: str, dtype: str, shape: list[int], values: list[float], said: str
):
    payload = np.array(values, dtype).tobytes()
    code = f"end.recv(2**20)\nsend('done', [[{name!r}, {dtype!r}, {shape}]], {payload!r}, diagnostics={{}})\n"
    asked = source(start(code + "time.sleep(60)"))
    with pytest.raises((ContractError, PluginCrash)) as end:
        if name == "energy":
            asked.score(0, 0, torch.zeros(2, 2), ["energy"])
        else:
            asked.draw("samples", 0, 2)
    assert said in str(end.value)


def test_ten_gigabytes_of_samples_are_refused_before_they_come(start: Start):
    size = 10 * 2**30
    code = f"send('done', [['samples', 'float32', [2, {size // 8}]]], size={size}, diagnostics={{}})\n"
    with pytest.raises(PluginCrash, match="fit"):
        source(start(code + "time.sleep(60)")).draw("samples", 0, 2)


class Heard:
    """A process that only hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def send(self, kind: str, arrays: Any = None, **fields: Any) -> None:
        self.heard.append((kind, dict(arrays or {}) | fields))


class Kept:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, dict[str, float]]] = []

    def scalars(self, step: int, values: Any) -> None:
        self.kept.append((step, dict(values)))


def talk(tmp_path: Path, plugins: Path, logger: Any = None) -> tuple[Conversation, Heard]:
    from ebbench.plugins import loader

    process = Heard()
    context = SimpleNamespace(
        spec=SimpleNamespace(
            task=loader.load("task", "dots"), model=SimpleNamespace(folder=Path("odd"), name="odd")
        ),
        place=tmp_path,
        seed=7,
    )
    task = context.spec.task.cls(context.spec.task.cls.Options(), "clean", None)
    made: Any = Conversation(
        context,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        task.data(torch.device("cpu")),
        process,  # type: ignore[arg-type]
        Before(tmp_path / "apart.json"),
        Log((lambda training: logger) if logger else None, None),  # type: ignore[arg-type]
    )
    return made, process


def test_a_training_is_told_examples_and_seeds_of_batches_alone(tmp_path: Path, plugins: Path):
    made, process = talk(tmp_path, plugins)
    ask = made.handlers
    ask["rows"](Message("rows", arrays={"index": np.array([0, 255, -1])}))
    assert process.heard[0][1]["rows"].shape == (3, 2)
    for index in (np.array([256]), np.array([-257])):
        with pytest.raises(ContractError, match="asks for example"):
            ask["rows"](Message("rows", arrays={"index": index}))
    for index in (np.zeros(2**25, np.int64), np.zeros((1, 1), np.int64), np.zeros(1, np.float32)):
        with pytest.raises(BadMessage, match="examples by"):
            ask["rows"](Message("rows", arrays={"index": index}))
    for what in ("score", "sample", "gaussian", "", None, ["batch"]):
        with pytest.raises(BadMessage, match="no known purpose"):
            ask["seeds"](Message("seeds", {"what": what, "loop": 0, "begin": 0}))
    for begin in (-1, 2**60, True, "0", None):
        with pytest.raises(BadMessage, match="no number"):
            ask["seeds"](Message("seeds", {"what": "batch", "loop": 0, "begin": begin}))
    assert len(process.heard) == 1


def test_what_the_labels_say_of_a_training_is_not_told_to_it(
    tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
):
    # Numbers of scores of its own choice, asked for often enough, are the labels.
    monkeypatch.setattr(
        "ebbench.running.trainer.evaluation", lambda context, model, step: {"energy.auroc": 0.75}
    )
    logger = Kept()
    made, process = talk(tmp_path, plugins, logger)
    made.handlers["evaluate"](Message("evaluate", {"step": 3}))
    assert process.heard == [("go", {})] and logger.kept == [(3, {"evaluation/energy.auroc": 0.75})]
    assert json.loads((tmp_path / "apart.json").read_text())["evaluations"]["series"] == {
        "energy.auroc": [0.75]
    }


# What lies in its folder when the next process is started there.


def test_links_that_it_leaves_lead_nowhere(start: Start, tmp_path: Path, plugins: Path):
    from ebbench.plugins import loader

    precious = tmp_path / "precious"
    (precious / "0" / "blob").mkdir(parents=True)
    (precious / "0" / "blob" / "kept").write_text("here")
    before = sorted(str(path) for path in precious.rglob("*"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("plugins", box.ROOT, box.TEMPORARY):
        (scratch / name).symlink_to(precious)
    (copy,) = processes._copied([loader.load("model", "blob")], scratch)
    assert (Path(copy) / "model.py").is_file() and not (scratch / "plugins").is_symlink()
    start("end.recv(2**20)\nopen(os.path.join(os.environ['TMPDIR'], 'x'), 'w')\nsend('done')").ask("begin")
    assert sorted(str(path) for path in precious.rglob("*")) == before
    assert (scratch / box.TEMPORARY / "x").exists()


def test_a_state_that_cannot_be_is_none():
    tree, blob = state.pack({"w": torch.zeros(2, 3)})
    assert state.unpack(tree, blob)["w"].shape == (2, 3)
    bad = [
        tree.replace('"tensor"', '"channels_last"'),
        tree.replace('"0"', '"1"'),
        tree.replace('"tensor"', '"array"').replace('"key"', '"kee"'),
        '{"$": "dict", "items": [[{}, 1]]}',
        '{"$": "float", "text": []}',
        "[" * 10**5,
        "[]",
    ]
    for text in bad:
        with pytest.raises(ValueError):
            state.unpack(text, blob)
    with pytest.raises(ValueError):
        state.unpack(tree, blob[:-3])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
OFFER = {
    "name": "Odd",
    "config": [["steps", "int", 3, True]],
    "samplers": {"sample": ["sample", []]},
    "scores": {"energy": "energy"},
    "keeps_state": True,
    "builds_on": "",
    "base_needs": [],
    "offers": ["sample", "energy", "train"],
}


def test_an_offer_becomes_a_class():
    cls = stand_in(OFFER)
    assert cls.__name__ == "Odd" and cls.Config().steps == 3


@settings(max_examples=300)
@given(JSON, st.sampled_from(sorted(OFFER)))
def test_no_offer_does_more_than_be_refused(value: Any, name: str):
    for offer in (value, OFFER | {name: value}):
        try:
            stand_in(offer)
        except BadMessage:
            continue


@settings(max_examples=300)
@given(JSON)
def test_no_numbers_do_more_than_be_refused(value: Any):
    for read in (told.numbers, told.curves, told.text):
        for given_ in (value, {"step": value, "seconds": value, "series": value}):
            try:
                read(given_)
            except BadMessage:
                continue


@settings(max_examples=300)
@given(st.binary(max_size=64), JSON, st.integers(0, 200))
def test_no_bytes_do_more_than_be_refused(tail: bytes, header: Any, size: int):
    import socket
    import struct

    text = json.dumps(header).encode()
    for content in (tail, struct.pack(">IQ", len(text), size) + text + tail):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(content)
            theirs.close()
            try:
                assert isinstance(Channel(ours).receive(), Message)
            except (BadMessage, Ended):
                continue
