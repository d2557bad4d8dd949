"""ADBench's files: reading them, what a bad one is told, and how `ebbench data` shows so many."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import DATA
from ebbench.data import adbench, registry
from ebbench.data.registry import DATASETS, Content, DataFile
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, StorageError, UsageError


def write(path: Path, x, y) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, X=x, y=y)
    return path


def table(rows: int = 12, columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).integers(0, 9, (rows, columns), dtype=np.uint8)
    return x, (np.arange(rows) % 4 == 0).astype(np.int32)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data set "breastw", which the test makes: 12 rows, 3 columns, 3 anomalies."""
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    path = write(tmp_path / "data" / "adbench" / "4_breastw.npz", *table())
    raw = path.read_bytes()
    file = DataFile(name=path.name, packed=Content(size=len(raw), sha256=hashlib.sha256(raw).hexdigest()))
    monkeypatch.setitem(registry.DATASETS, "adbench", replace(DATASETS["adbench"], files=(file,)))
    monkeypatch.setattr(adbench, "SETS", {"breastw": adbench.TableSet(4, "breastw", 12, 3, 3)})
    return tmp_path / "data"


def test_a_file_is_read_as_numbers_and_labels(tmp_path: Path):
    x, y = table()
    rows, anomalous = adbench.read(write(tmp_path / "a.npz", x, y))
    assert rows.dtype == np.float64 and anomalous.dtype == np.bool_
    assert (rows == x).all() and (anomalous == (y == 1)).all()


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.ones((4, 2)), np.array([0, 1, 0]), r"y is int64 \(3,\)"),
        (np.ones(4), np.array([0, 1, 0, 1]), r"X is float64 \(4,\)"),
        (np.array([[1.0], [np.nan]]), np.array([0, 1]), r"X\[1, 0\] is nan"),
        (np.ones((3, 1)), np.array([0, 1, 2]), "y holds 0, 1, 2"),
        (np.ones((3, 1)), np.array([0, 0, 0]), "y holds 0"),
        (np.array([["a"], ["b"]]), np.array([0, 1]), "X is <U1"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, x, y, said: str):
    with pytest.raises(DataError, match=said) as error:
        adbench.read(write(tmp_path / "a.npz", x, y))
    assert "a.npz" in error.value.where and "ebbench data fetch adbench" in error.value.fix


def test_no_pickle_is_read(tmp_path: Path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (ran,))

    path = write(tmp_path / "a.npz", np.array([[Evil()]], object), np.array([1]))
    with pytest.raises(DataError, match="allow_pickle"):
        adbench.read(path)
    assert not ran.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "array", "names"])
def test_a_broken_file_is_an_error_and_no_traceback(tmp_path: Path, damage: str):
    path = write(tmp_path / "a.npz", *table())
    raw = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(raw[: len(raw) // 2])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("404: Not Found")
        case "array":
            np.save(tmp_path / "b.npy", np.ones(3))
            path = tmp_path / "b.npy"
        case "names":
            np.savez(path, data=np.ones((2, 1)), y=np.array([0, 1]))
    with pytest.raises(DataError, match="no good ADBench file"):
        adbench.read(path)


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path: Path):
    with pytest.raises(StorageError):
        adbench.read(tmp_path)


def test_only_the_published_file_is_used(toy: Path):
    rows, anomalous = adbench.load(Store(toy), "breastw")
    assert rows.shape == (12, 3) and anomalous.sum() == 3
    write(toy / "adbench" / "4_breastw.npz", table()[0] + 1, table()[1])
    with pytest.raises(DataError, match="4_breastw.npz is cut short or altered") as error:
        adbench.load(Store(toy), "breastw")
    assert "was not used" in error.value.expected


def test_a_file_is_imported_by_its_content_and_a_bad_one_in_the_cache_kept_aside(toy: Path, tmp_path: Path):
    path = (toy / "adbench" / "4_breastw.npz").rename(tmp_path / "of-another-name.npz")
    with pytest.raises(DataMissing, match=r"4_breastw.npz is not here"):
        adbench.load(Store(offline=True), "breastw")
    (imported,) = Store().import_path(path)
    assert imported.file == "4_breastw.npz" and imported.path.parent == Store().cache / "adbench"
    assert adbench.load(Store(offline=True), "breastw")[0].shape == (12, 3)
    raw = imported.path.read_bytes()
    imported.path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(DataMissing):
        adbench.load(Store(offline=True), "breastw")
    assert imported.path.with_name("4_breastw.npz.bad").exists()


def test_sets_are_found_by_name_number_and_file():
    wanted = adbench.SETS["magic.gamma"]
    for given in ("magic.gamma", "Magic.Gamma", "22", "22_magic.gamma", "22_magic.gamma.npz"):
        assert adbench.find(given) is wanted
    with pytest.raises(UsageError, match="brestw") as error:
        adbench.find("brestw")
    assert "breastw" in error.value.fix
    for given in ("3", "backdoor", "9_census", "fraud", "speech.npz"):
        with pytest.raises(UsageError, match="its SHA-256 is unknown"):
            adbench.find(given)


def test_the_table_of_sets_and_the_registry_name_the_same_43_files():
    assert len(adbench.SETS) == 43 and len(adbench.UNCHECKED) == 4
    assert [one.file for one in adbench.SETS.values()] == [file.name for file in DATASETS["adbench"].files]
    numbers = [one.number for one in (*adbench.SETS.values(), *adbench.UNCHECKED.values())]
    assert sorted(numbers) == [*range(1, 48)]


def test_the_files_of_a_set_are_one_line_of_the_list(cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    said = cli("data", "list").out
    assert "43 files" in said and "47_yeast.npz" not in said
    (mnist,) = [line for line in said.splitlines() if "mnist " in line and "files" in line]
    assert "4 files" in mnist and "missing" in mnist and said.count("ebbench data fetch") == 1
    said = cli("data", "list", "adbench").out
    assert "47_yeast.npz" in said and "1_ALOI.npz" in said and "mnist" not in said.replace("24_mnist.npz", "")


def test_a_bad_file_among_many_has_a_line_of_its_own(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "data" / "adbench").mkdir(parents=True)
    (tmp_path / "data" / "adbench" / "4_breastw.npz").write_bytes(b"no table")
    said = cli("data", "list", "--data-dir", "data").out
    assert "42 files" in said and "4_breastw.npz" in said and "bad" in said


@pytest.mark.skipif(not (DATA / "adbench").is_dir(), reason="needs ADBench's files in EBBENCH_DATA")
def test_the_real_files_hold_what_the_table_says():
    store = Store(DATA)
    for name in ("glass", "Hepatitis", "InternetAds", "thyroid"):
        rows, anomalous = adbench.load(store, name)
        assert rows.shape == (adbench.SETS[name].rows, adbench.SETS[name].columns)
        assert anomalous.sum() == adbench.SETS[name].anomalies
