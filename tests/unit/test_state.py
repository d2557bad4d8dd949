"""Stored states: what goes in comes out, to the bit, and a refused write changes nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_tensors

from ebbench.errors import StorageError
from ebbench.running import seeds
from ebbench.storage import files, state

plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5)
trees = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(tree=st.dictionaries(st.text(max_size=4), trees, max_size=4))
def test_any_plain_tree_comes_back_with_its_types(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("state") / "s.json"
    state.save(tree, path)
    # repr tells 1 from 1.0 and True, a list from a tuple, and NaN from nothing else.
    assert repr(state.load(path)) == repr(tree)


def leaves():
    """Tensors and arrays that differ, so that one that takes another's place is seen."""
    values = st.integers(0, 2**40)
    return values | values.map(lambda v: torch.tensor([v])) | values.map(lambda v: np.array([v]))


# Keys of which joined paths can be alike: "a.b" beside "a": {"b": ...}, 1 beside "1".
KEYS = st.sampled_from(["", "a", "b", "a.b", ".", "b.", "1", "0", "$", "value", 0, 1])
nested = st.recursive(
    leaves(),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=100)
@given(tree=st.dictionaries(KEYS, nested, max_size=4))
def test_no_tensor_takes_another_ones_place(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("state") / "s.json"
    state.save(tree, path)
    assert repr(state.load(path)) == repr(tree)


@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": torch.zeros(2), "a": {"b": torch.ones(2)}},
        {"m": {1: torch.zeros(2), "1": torch.ones(2)}},
        {"": torch.zeros(2), "value": torch.ones(2)},
        {"a": [torch.zeros(2)], "a.0": torch.ones(2)},
    ],
)
def test_keys_that_look_alike_are_kept_apart(tmp_path: Path, tree):
    state.save(tree, tmp_path / "s.json")
    assert repr(state.load(tmp_path / "s.json")) == repr(tree)


def test_a_state_of_the_first_format_still_loads(tmp_path: Path):
    blob = save_tensors({"net.weight": torch.ones(2), "value": torch.zeros(1)})
    tree = {
        "net": {"weight": {"$": "tensor", "key": "net.weight"}},
        "": {"$": "array", "key": "value"},
        "steps": {"$": "tuple", "items": [1, {"$": "float", "text": "inf"}]},
    }
    digest = hashlib.sha256(blob).hexdigest()
    (tmp_path / "s-0.safetensors").write_bytes(blob)
    document = {"format": 1, "tensors": "s-0.safetensors", "sha256": digest, "tree": tree}
    (tmp_path / "s.json").write_text(json.dumps(document))
    back = state.load(tmp_path / "s.json")
    assert back["net"]["weight"].tolist() == [1, 1] and back[""].tolist() == [0]
    assert back["steps"] == (1, float("inf"))


def test_tensors_and_optimiser_states_come_back_to_the_bit(tmp_path: Path):
    net = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(net.parameters(), betas=(0.5, 0.9))
    net(torch.randn(4, 3)).sum().backward()
    optimiser.step()
    tied = torch.randn(3)
    tree = {
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "tied": [tied, tied[1:]],
        "half": torch.randn(2).bfloat16(),
        "array": np.arange(3, dtype=np.int16),
        "random": seeds.capture(),
    }
    state.save(tree, tmp_path / "s.json")
    back = state.load(tmp_path / "s.json")
    for name, value in net.state_dict().items():
        assert torch.equal(back["net"][name], value)
    assert back["optimiser"]["param_groups"] == optimiser.state_dict()["param_groups"]
    assert torch.equal(
        back["optimiser"]["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"]
    )
    assert torch.equal(back["tied"][1], tied[1:]) and back["half"].dtype == torch.bfloat16
    assert back["array"].dtype == np.int16 and (back["array"] == [0, 1, 2]).all()
    before = (torch.rand(2).tolist(), np.random.rand())
    seeds.restore(back["random"])
    assert (torch.rand(2).tolist(), np.random.rand()) == before


def test_the_order_in_memory_is_kept(tmp_path: Path):
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state.save({"w": weight, "row": weight[:1].clone()}, tmp_path / "s.json")
    back = state.load(tmp_path / "s.json")
    assert torch.equal(back["w"], weight)
    assert back["w"].stride() == weight.stride()


def test_only_the_latest_tensor_file_is_kept(tmp_path: Path):
    for value in range(3):
        state.save({"t": torch.full((2,), value)}, tmp_path / "s.json")
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert state.load(tmp_path / "s.json")["t"].tolist() == [2, 2]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_leaves_the_old_state(tmp_path: Path, monkeypatch, call):
    state.save({"t": torch.zeros(2)}, tmp_path / "s.json")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(StorageError, match="No space left") as caught:
        state.save({"t": torch.ones(2)}, tmp_path / "s.json")
    assert "untouched" in str(caught.value)
    monkeypatch.undo()
    assert state.load(tmp_path / "s.json")["t"].tolist() == [0, 0]
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_kernels_own_refusal_leaves_the_old_state(tmp_path: Path):
    # A limit on the size of files, which the kernel enforces, in the place of a full disk.
    code = """
import resource, sys, torch
from pathlib import Path
from ebbench.storage import state
from ebbench.errors import StorageError
path = Path(sys.argv[1])
state.save({"t": torch.zeros(8)}, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    state.save({"t": torch.ones(100_000)}, path)
except StorageError as error:
    print("refused:", error.what)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.json")], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("refused: "), done.stderr
    assert state.load(tmp_path / "s.json")["t"].tolist() == [0.0] * 8


def test_damage_is_noticed(tmp_path: Path):
    state.save({"t": torch.zeros(2)}, tmp_path / "s.json")
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\1")
    with pytest.raises(StorageError, match="damaged"):
        state.load(tmp_path / "s.json")


def holds_itself():
    tree: dict = {}
    tree["b"] = tree
    return tree


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "of type object"),
        (b"raw", "of type bytes"),
        ({(1, 2): 0}, "key of type tuple"),
        ({np.int64(1): 0}, "key of type int64"),
        (np.array([None]), "ndarray of object"),
        (np.array(["2020"], dtype="M8[D]"), "datetime64"),
        (torch.zeros(2, device="meta"), "Tensor of torch.float32"),
        (torch.zeros(2, dtype=torch.complex128), "complex128"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path: Path, value, said):
    state.save({"t": 1}, tmp_path / "s.json")
    with pytest.raises(StorageError, match=said) as caught:
        state.save({"a": {"b": value}}, tmp_path / "s.json")
    assert caught.value.where == "a.b" and "state_dict" in caught.value.fix
    assert state.load(tmp_path / "s.json") == {"t": 1}


@pytest.mark.parametrize(
    ("value", "said"), [(holds_itself(), "contains itself"), (10**5000, "JSON")], ids=["circle", "number"]
)
def test_a_tree_that_json_cannot_hold_is_refused(tmp_path: Path, value, said):
    with pytest.raises(StorageError, match=said):
        state.save({"a": value}, tmp_path / "s.json")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3)[::-1],
        np.arange(3, dtype=">i4"),
        np.array(3),
        np.broadcast_to(np.float32(2), (2, 2)),
        np.zeros((0, 2), dtype=np.uint64),
    ],
)
def test_arrays_of_any_layout_come_back(tmp_path: Path, array):
    state.save({"a": array}, tmp_path / "s.json")
    back = state.load(tmp_path / "s.json")["a"]
    assert back.dtype == array.dtype.newbyteorder("=") and np.array_equal(back, array)


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{}",
        "not JSON",
        '{"tensors": 1}',
        '{"tensors": "../outside.safetensors"}',
        '{"tensors": "/dev/zero"}',
        '{"tensors": "s-0.safetensors", "sha256": "00"}',
    ],
)
def test_a_sidecar_that_is_none_is_said(tmp_path: Path, document):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "s.json").write_text(document)
    with pytest.raises(StorageError, match="a stored state cannot be read") as caught:
        state.load(tmp_path / "run" / "s.json")
    assert "trains again" in caught.value.fix


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"tree": []},
        {"tree": {"t": {"$": "who", "key": "0"}}},
        {"tree": {"t": {"$": "tensor", "key": "7"}}},
        {"tree": {"t": {"$": "tuple"}}},
    ],
)
def test_a_sidecar_that_was_altered_is_said(tmp_path: Path, change):
    path = tmp_path / "s.json"
    state.save({"t": torch.zeros(2)}, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StorageError, match="damaged"):
        state.load(path)
