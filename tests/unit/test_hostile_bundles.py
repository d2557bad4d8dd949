"""Bundles from a stranger: whatever is done to one, it is read as it was or refused by name, and soon."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ebbench.errors import BundleError, EbbenchError
from ebbench.record import resultfiles, schema
from ebbench.submissions import bundles

GOLDEN = Path(__file__).parents[1] / "golden" / "result-v2.json"
CARD = b'name = "mine"\ntitle = "Mine"\n'
ARRAYS = {"samples.samples": np.arange(20, dtype=np.float32).reshape(10, 2)}
NASTY = [
    "../up",
    "/root",
    "..",
    ".",
    "",
    "~",
    "C:\\x",
    "a\\b",
    "model/../x",
    "model/a/b",
    "results/../../x.json",
    "results/.json",
    "artefacts/a.npz/",
    "model/\u202egpj.py",
    "model/a\nb",
    "model/<script>",
    "con",
    "CARD.TOML",
    "artefacts/" + "a" * 400 + ".npz",
    "model/.hidden",
    "model//x",
    "results/a b.json",
    "__proto__",
    "model/é.py",
]
HOSTILE = [
    None,
    True,
    -1,
    0,
    1e308,
    10**400,
    "",
    "x" * 5000,
    "<script>alert(1)</script>",
    "\x00",
    "\ud800",
    "../..",
    [],
    {},
    [[[]]],
    {"a": {}},
    {"__class__": "x"},
    float("nan"),
    float("inf"),
    -float("inf"),
    "javascript:alert(1)",
    "' OR 1",
]


# Times as many examples: the suite takes 3,400, and the slow test below ten times that.
TIMES = int(os.environ.get("EBBENCH_EXAMPLES", "1"))


def many(n: int):
    """`n` examples, each in bounded time."""
    slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=n * TIMES, deadline=3000, suppress_health_check=slow)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_examples():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", __file__]
    ran = subprocess.run(command, env=os.environ | {"EBBENCH_EXAMPLES": "10"}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in which nothing is wrong."""
    path = tmp_path_factory.mktemp("bundle") / "honest.zip"
    made = resultfiles.parse(GOLDEN.read_bytes(), where="golden")
    bundles.write(path, folder=None, card=CARD, results={made.run_id: made}, arrays={made.run_id: ARRAYS})
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a changed bundle is put: alone in a folder, so that what is written beside it is seen."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here" / "bundle.zip"


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist() if name != "manifest.json"}


def pack(path: Path, entries: dict[str, bytes]) -> None:
    """A bundle of these entries, with a manifest that fits them."""
    files = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("manifest.json", json.dumps({"format": bundles.KIND.format, "files": files}))
        for name, content in entries.items():
            packed.writestr(zipfile.ZipInfo(name), content)


def read_whole(path: Path) -> tuple[bundles.Bundle, dict[str, np.ndarray]] | None:
    """The bundle with its arrays; None where it is refused, in words. Nothing else may happen."""
    try:
        read = bundles.read(path)
        arrays = {name: values for run_id in read.results for name, values in read.arrays(run_id).items()}
    except EbbenchError as error:
        assert len(str(error)) < 3000 and "expected" in str(error)
        return None
    finally:
        assert list(path.parent.iterdir()) == [path], "something was written"
    return read, arrays


def test_the_honest_one_is_read(honest: Path):
    found = read_whole(honest)
    assert found is not None
    np.testing.assert_array_equal(found[1]["samples.samples"], ARRAYS["samples.samples"])


@pytest.mark.medium
@many(1000)
@given(data=st.data())
def test_bytes_that_are_changed_change_nothing_or_are_refused(
    honest: Path, target: Path, data: st.DataObject
):
    content = bytearray(honest.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                content[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 50))]
            case _:
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    target.write_bytes(bytes(content))
    found, (before, arrays) = read_whole(target), read_whole(honest)
    if found is not None:
        assert found[0].texts == before.texts and found[0].digests == before.digests
        for name, values in arrays.items():
            np.testing.assert_array_equal(found[1][name], values)


@many(400)
@given(content=st.binary(max_size=2000))
def test_what_is_no_zip_file_is_refused(target: Path, content: bytes):
    target.write_bytes(content)
    assert read_whole(target) is None


@pytest.mark.medium
@many(600)
@given(
    name=st.one_of(st.sampled_from(NASTY), st.text(max_size=60), st.text("./\\~ abc\x00", max_size=20)),
    content=st.binary(max_size=50),
)
def test_entries_of_other_names_are_refused(honest: Path, target: Path, name: str, content: bytes):
    # A zip file holds no surrogates, and what follows a null is not part of a name.
    name = name.encode("utf-8", "replace").decode().split("\x00")[0]
    entries = entries_of(honest)
    if name in entries or not name:
        return
    pack(target, {**entries, name: content})
    found = read_whole(target)
    assert found is None or bundles.KIND.names.fullmatch(name)
    if found is not None:
        assert name == "README.md" or name.startswith("model/")


def paths(value: Any, at: tuple = ()) -> list[tuple]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [path for key, part in inner for path in paths(part, (*at, key))]


@pytest.mark.medium
@many(800)
@given(data=st.data())
def test_a_result_with_a_field_of_another_kind_is_read_as_such_or_refused(
    honest: Path, target: Path, data: st.DataObject
):
    entries = entries_of(honest)
    name = next(name for name in entries if name.startswith("results/"))
    raw = json.loads(entries[name])
    *way, last = data.draw(st.sampled_from(paths(raw)))
    put = data.draw(st.sampled_from(HOSTILE))
    place = raw
    for key in way:
        place = place[key]
    place[last] = put
    # A surrogate as an escape, NaN and infinities as Python writes them.
    entries[name] = json.dumps(raw).encode()
    pack(target, entries)
    found = read_whole(target)
    if found is not None:
        made = next(iter(found[0].results.values()))
        assert json.loads(schema.canonical(made.model_dump(mode="json"))), "it can be written"
        assert made.confirmed == "claimed"


SHAPES = st.one_of(
    st.lists(st.integers(-2, 2**70), max_size=4).map(lambda sizes: repr(tuple(sizes))),
    st.sampled_from(
        ["()", "(3,)", "(True,)", "(3.0,)", "'x'", "None", "(" * 100, "(1,)*10**9", "__import__('os')"]
    ),
)
KINDS = st.sampled_from(
    ["<f4", "|u1", "|O", "<f8", ">f4", "<U9", "|V4", "[('a', '<f4')]", "<m8[s]", "nonsense"]
)


@many(600)
@given(
    shape=SHAPES,
    kind=KINDS,
    fortran=st.sampled_from(["False", "True", "0", "None"]),
    version=st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\xff\x00"]),
    body=st.binary(max_size=64),
)
# A boolean is an int to isinstance, and no size to NumPy.
@example(shape="(True,)", kind="|u1", fortran="False", version=b"\x01\x00", body=b"\x00")
def test_headers_of_arrays_are_believed_only_as_far_as_their_bytes_go(
    shape: str, kind: str, fortran: str, version: bytes, body: bytes
):
    header = f"{{'descr': {kind!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("samples.samples.npy", b"\x93NUMPY" + version + length + header + body)
    try:
        made = bundles.read_arrays(buffer, "here")
    except BundleError:
        return
    values = made["samples.samples"]
    assert values.dtype in (np.uint8, np.float32) and values.nbytes == len(body)
