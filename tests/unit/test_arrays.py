"""Arrays kept between commands: whole, damaged, missing, and out of reach."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbench.errors import StorageError
from ebbench.storage import arrays

KEPT = {"images": np.arange(48, dtype=np.uint8).reshape(3, 4, 4), "seconds": np.asarray(1.5)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "kept.npz"
    arrays.keep(place, KEPT, what="the samples")
    return place


def test_what_is_kept_comes_back(path: Path):
    stored = arrays.kept(path)

    assert stored is not None and set(stored) == set(KEPT)
    for name, array in KEPT.items():
        assert stored[name].dtype == array.dtype
        np.testing.assert_array_equal(stored[name], array)


@settings(max_examples=50)
@given(
    names=st.lists(
        st.sampled_from(["file", "args", "allow_pickle", "a", "a.npy", "a.npy.npy", "a/b", "../a", "", "é"])
        | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
        unique=True,
        max_size=6,
    )
)
def test_no_array_takes_another_ones_place(tmp_path_factory, names: list[str]):
    place = tmp_path_factory.mktemp("arrays") / "kept.npz"
    arrays.keep(place, {name: np.array([i]) for i, name in enumerate(names)}, what="some arrays")
    stored = arrays.kept(place)

    assert stored is not None
    assert {name: array.tolist() for name, array in stored.items()} == {n: [i] for i, n in enumerate(names)}


def test_objects_are_refused_where_they_are_written(tmp_path: Path):
    with pytest.raises(StorageError, match="the scores could not be kept"):
        arrays.keep(tmp_path / "kept.npz", {"a": np.array([None])}, what="the scores")
    assert list(tmp_path.iterdir()) == []


def test_a_bomb_is_no_file_of_ours(path: Path):
    np.savez_compressed(path, images=np.zeros(50_000_000, np.uint8))
    assert path.stat().st_size < 100_000

    assert arrays.kept(path) is None


def test_a_header_that_asks_for_more_than_there_is_holds_nothing(path: Path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", npy)

    assert arrays.kept(path) is None


def test_a_file_that_is_missing_or_cut_short_holds_nothing(path: Path):
    content = path.read_bytes()

    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert arrays.kept(path) is None
    path.unlink()
    assert arrays.kept(path) is None


def test_a_changed_byte_of_an_array_or_its_header_is_seen(path: Path):
    content = path.read_bytes()
    places = {content.index(KEPT["images"].tobytes()) + 5, *range(content.index(b"\x93NUMPY"), 200, 3)}
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0xFF
        path.write_bytes(bytes(changed))
        assert arrays.kept(path) is None


def test_a_file_that_cannot_be_read_is_no_damaged_one(tmp_path: Path):
    (tmp_path / "kept.npz").mkdir()

    with pytest.raises(StorageError, match="could not be read"):
        arrays.kept(tmp_path / "kept.npz")
