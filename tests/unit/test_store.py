"""The data store: look-up and verification. Nothing here downloads from anywhere but this machine."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import stored
from ebbench.data import checking, registry
from ebbench.data.checking import check
from ebbench.data.registry import DATASETS
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, StorageError, UsageError
from stored import PACKED, PLAIN, content, fill

# Fixtures.
toy = stored.toy
mirror = stored.mirror


@pytest.mark.parametrize("inside", ["toy", ".", "TOY/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_given_is_searched_in_every_layout(tmp_path: Path, inside: str, packed: bool) -> None:
    fill(tmp_path / "data" / inside, packed=packed)
    found = Store(tmp_path / "data").paths("toy")
    for name, path in found.items():
        expected = PACKED[name] if packed else PLAIN[name]
        assert path.read_bytes() == expected
    assert list(found) == list(PLAIN)


def test_the_order_is_the_given_folder_then_the_environment_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, shared = fill(tmp_path / "given"), fill(tmp_path / "shared")
    cache = fill(Store().cache / "toy")
    assert Store().path("toy", "first.gz").parent == cache
    monkeypatch.setenv("EBBENCH_DATA", str(shared))
    assert Store().path("toy", "first.gz").parent == shared
    assert Store(given).path("toy", "first.gz").parent == given
    (shared / "first.gz").unlink()
    assert Store().path("toy", "first.gz").parent == cache


def test_the_cache_is_the_platforms_unless_the_environment_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "home"))
    assert Store().cache == tmp_path / "home" / "data"
    monkeypatch.delenv("EBBENCH_HOME")
    assert "ebbench" in str(Store().cache)


@pytest.mark.parametrize("damage", ["cut", "altered", "empty"])
@pytest.mark.parametrize("where", ["data_dir", "EBBENCH_DATA"])
def test_a_bad_file_of_the_user_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str], damage: str, where: str
) -> None:
    folder = fill(tmp_path / "data")
    good = PACKED["second.gz"]
    bad = {"cut": good[:-7], "altered": good[:50] + b"!" + good[51:], "empty": b""}[damage]
    assert bad != good
    (folder / "second.gz").write_bytes(bad)
    fill(Store().cache / "toy")  # a good copy elsewhere is no reason to go on in silence
    if where == "EBBENCH_DATA":
        monkeypatch.setenv("EBBENCH_DATA", str(folder))
    store = Store(folder if where == "data_dir" else None)
    assert store.path("toy", "first.gz") == folder / "first.gz"
    with pytest.raises(DataError) as error:
        store.path("toy", "second.gz")
    assert not isinstance(error.value, DataMissing)
    said = str(error.value)
    assert "second.gz" in said and "found" in said and "expected" in said and str(folder) in said
    assert (folder / "second.gz").read_bytes() == bad and not list(folder.glob("*.bad"))
    assert mirror == []


def test_a_bad_file_in_the_cache_is_set_aside_and_fetched_again(
    mirror: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = fill(Store().cache / "toy")
    (cache / "first.gz").write_bytes(b"rubbish")
    assert Store().path("toy", "first.gz").read_bytes() == PACKED["first.gz"]
    assert (cache / "first.gz.bad").read_bytes() == b"rubbish"
    assert mirror == ["https://one.invalid/first.gz"]
    assert "first.gz.bad" in capsys.readouterr().err


def test_a_folder_that_lacks_the_data_or_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str]
) -> None:
    fill(Store().cache / "toy")
    with pytest.raises(DataError) as error:
        Store(tmp_path).paths("toy")
    assert not isinstance(error.value, DataMissing)
    assert "first.gz" in str(error.value) and "leave --data-dir out" in str(error.value)
    with pytest.raises(DataError, match="does not exist"):
        Store(tmp_path / "nowhere")
    monkeypatch.setenv("EBBENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as error:
        Store()
    assert "EBBENCH_DATA" in str(error.value)
    assert mirror == []


def test_a_download_is_kept_and_not_repeated(mirror: list[str]) -> None:
    first = Store().paths("toy")
    assert {path.name for path in first.values()} == set(PLAIN)
    assert len(mirror) == 2
    assert Store(offline=True).paths("toy") == first
    assert len(mirror) == 2
    assert sorted(path.name for path in (Store().cache / "toy").iterdir()) == sorted(PLAIN)


def test_what_cannot_be_had_says_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataMissing) as error:
        Store().path("toy", "first.gz")
    said = str(error.value)
    assert "no network in tests" in said and "ebbench data import" in said and "cache" in said
    with pytest.raises(DataMissing, match="switched off"):
        Store(offline=True).path("toy", "first.gz")
    assert capsys.readouterr().err == ""


def test_offline_by_the_environment(monkeypatch: pytest.MonkeyPatch, mirror: list[str]) -> None:
    monkeypatch.setenv("EBBENCH_OFFLINE", "1")
    with pytest.raises(DataMissing, match="switched off"):
        Store().path("toy", "first.gz")
    assert mirror == []


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="unknown data set 'tyo'") as error:
        Store().paths("tyo")
    assert "did you mean 'toy'" in str(error.value)
    with pytest.raises(UsageError):
        Store().path("toy", "third.gz")


@pytest.mark.parametrize("where", ["data_dir", "EBBENCH_DATA", "cache"])
@pytest.mark.parametrize(
    ("name", "said"), [("pipe", "a named pipe"), ("/dev/zero", "a device"), ("nowhere", "a link to nothing")]
)
def test_a_data_file_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: list[str], where: str, name: str, said: str
) -> None:
    folder = fill(Store().cache / "toy" if where == "cache" else tmp_path / "data")
    (folder / "first.gz").unlink()
    if name == "pipe":
        os.mkfifo(folder / "first.gz")
    else:
        (folder / "first.gz").symlink_to(name)
    if where == "EBBENCH_DATA":
        monkeypatch.setenv("EBBENCH_DATA", str(folder))
    store = Store(folder if where == "data_dir" else None)
    assert [said in one.found for one in store.survey("toy")] == [True, False]
    if where == "cache":
        assert store.path("toy", "first.gz").read_bytes() == PACKED["first.gz"]
        assert os.path.lexists(folder / "first.gz.bad") and len(mirror) == 1
        return
    with pytest.raises(DataError, match=said):
        store.path("toy", "first.gz")


def test_a_folder_in_the_place_of_a_file_is_passed_over(tmp_path: Path) -> None:
    # As tools do that unpack an archive into a folder of its name.
    folder = tmp_path / "toy" / "first"
    folder.mkdir(parents=True)
    (tmp_path / "first").write_bytes(PLAIN["first.gz"])
    assert Store(tmp_path).path("toy", "first.gz") == tmp_path / "first"


def test_a_place_that_cannot_be_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="no folder") as error:
        Store(tmp_path / "file")
    assert "--data-dir" in error.value.where and "a file" in error.value.where
    for bad in ("~nobody_is_called_so/x", "n" * 300, "a\0b"):
        with pytest.raises(UsageError, match="--data-dir"):
            Store(Path(bad))
    monkeypatch.setenv("EBBENCH_DATA", "~nobody_is_called_so/x")
    with pytest.raises(UsageError, match="EBBENCH_DATA"):
        Store()
    monkeypatch.delenv("EBBENCH_DATA")
    monkeypatch.setenv("EBBENCH_HOME", "~nobody_is_called_so/x")
    with pytest.raises(StorageError, match="EBBENCH_HOME"):
        Store()
    assert Store(fill(tmp_path / "data")).path("toy", "first.gz").is_file()


def test_a_given_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    store = Store(Path("data"))
    monkeypatch.chdir("/")
    assert store.path("toy", "first.gz") == tmp_path / "data" / "first.gz"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read and hashed, in order; the process remembers none yet."""
    seen: list[Path] = []
    real = checking.measure

    def measure(path: Path, limit: int) -> tuple[int, str]:
        seen.append(path)
        return real(path, limit)

    monkeypatch.setattr(checking, "measure", measure)
    monkeypatch.setattr(checking, "_good", {})
    return seen


def test_a_file_is_read_once_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    folder = fill(tmp_path / "data")
    monkeypatch.setattr(checking, "_is_settled", lambda stamp: True)
    for _ in range(3):
        assert all(one.state == "ok" for one in Store(folder).survey("toy"))
        Store(folder).paths("toy")
    assert reads == [folder / "first.gz", folder / "second.gz"]
    Store(folder).verify("toy")
    assert len(reads) == 4


def test_a_file_that_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    folder = fill(tmp_path / "data")
    monkeypatch.setattr(checking, "_is_settled", lambda stamp: True)
    path = Store(folder).path("toy", "first.gz")
    before = path.stat()
    altered = PACKED["first.gz"][:50] + b"!" + PACKED["first.gz"][51:]
    # Of the same size, and with its time set back: the time of the new attributes tells.
    path.write_bytes(altered)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="altered"):
        Store(folder).path("toy", "first.gz")
    path.write_bytes(PACKED["first.gz"])
    assert Store(folder).path("toy", "first.gz") == path and len(reads) == 3


def test_a_file_that_was_written_just_now_is_not_trusted(tmp_path: Path, reads: list[Path]) -> None:
    # Within one tick of the file system's clock it could change and look the same.
    folder = fill(tmp_path / "data")
    Store(folder).path("toy", "first.gz")
    Store(folder).path("toy", "first.gz")
    assert len(reads) == 2
    old = (0, 0, 0, 1_000_000_000, 1_000_000_000)
    assert checking._is_settled(old) and not checking._is_settled((0, 0, 0, 0, 1 << 62))


def test_check_says_what_was_found_and_what_expected(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert check(path, content(b"abc")) == ""
    assert check(path, content(b"abcd")) == "found 3 bytes, expected 4"
    said = check(path, content(b"abd"))
    assert said.startswith("found SHA-256 ba7816bf") and content(b"abd").sha256 in said


# The checksums by which MNIST's files have been known since before SHA-256 was usual.
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


def test_the_real_table_fits_the_files_at_hand(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "DATASETS", DATASETS)
    found = Store(mnist).paths("mnist")
    assert set(found) == set(MD5)
    for name, path in found.items():
        if path.name == name:
            assert hashlib.md5(path.read_bytes()).hexdigest() == MD5[name]
    # The other form's size and hash: of what the packed file holds.
    for entry in DATASETS.values():
        for file in entry.files:
            packed = mnist / entry.name / file.name
            if packed.exists():
                assert content(packed.read_bytes()) == file.packed
                if file.plain is not None:
                    assert content(gzip.decompress(packed.read_bytes())) == file.plain


def test_the_table_of_data_sets_is_whole() -> None:
    assert {"mnist", "kdd99", "cifar10", "inception"} <= set(DATASETS)
    for entry in DATASETS.values():
        assert entry.title and entry.source and entry.files
        assert len({file.name for file in entry.files}) == len(entry.files)
        # SVHN is published with an http address alone; what comes is held to its SHA-256 either way.
        assert all(address.startswith("https://") for address in entry.mirrors) or entry.name == "svhn"
        # An address without the file's name serves one file.
        assert all("{file}" in address for address in entry.mirrors) or len(entry.files) == 1
        for one in (form for file in entry.files for form in file.forms.values()):
            assert one.size > 0 and len(bytes.fromhex(one.sha256)) == 32


def test_the_store_is_light() -> None:
    heavy = ("torch", "numpy", "pandas", "pooch", "requests", "rich")
    code = f"import sys, ebbench.data.store; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
