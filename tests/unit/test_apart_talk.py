"""What a model's process says is checked, and what it is told is no more than it may know."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speaker
from ebbench import DataSpec
from ebbench.apart import processes, told
from ebbench.apart.conversation import Before, Conversation
from ebbench.apart.offer import stand_in
from ebbench.apart.process import ModelProcess
from ebbench.apart.source import ProcessSource
from ebbench.apart.wire import BadMessage, Channel, Ended, Message
from ebbench.errors import ContractError, PluginCrash
from ebbench.isolation import box
from ebbench.running.loggers import Log
from ebbench.storage import state
from speaker import Start

# Fixtures.
start = speaker.start


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
        with pytest.raises(BadMessage, match="examples with an index of"):
            ask["rows"](Message("rows", arrays={"index": index}))
    for what in ("score", "sample", "gaussian", "", None, ["batch"]):
        with pytest.raises(BadMessage, match="unknown purpose"):
            ask["seeds"](Message("seeds", {"what": what, "loop": 0, "begin": 0}))
    for begin in (-1, 2**60, True, "0", None):
        with pytest.raises(BadMessage, match="not a whole number"):
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
