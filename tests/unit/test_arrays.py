"""Arrays kept between commands: whole, damaged, missing, and out of reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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


def test_a_file_that_is_missing_or_cut_short_holds_nothing(path: Path):
    content = path.read_bytes()

    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert arrays.kept(path) is None
    path.unlink()
    assert arrays.kept(path) is None


def test_a_changed_byte_of_an_array_is_seen(path: Path):
    content = bytearray(path.read_bytes())
    content[content.index(KEPT["images"].tobytes()) + 5] ^= 0xFF
    path.write_bytes(bytes(content))

    assert arrays.kept(path) is None


def test_a_file_that_cannot_be_read_is_no_damaged_one(tmp_path: Path):
    (tmp_path / "kept.npz").mkdir()

    with pytest.raises(StorageError, match="could not be read"):
        arrays.kept(tmp_path / "kept.npz")
