"""The files of results: what cannot be read or written says why, and nothing is lost."""

import errno
import json
import os

import pytest

from ebbench.errors import ResultError, StorageError, UsageError
from ebbench.record import resultfiles


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b'{"schema_version": 1', "not JSON"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[1]", "JSON list"),
        (b"{}", "no schema_version"),
        (b'{"schema_version": 3}', "Field required"),
    ],
)
def test_what_is_no_result_says_why(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=message) as error:
        resultfiles.read(path)
    assert error.value.where == str(path)


def test_a_number_too_large_for_a_float_is_refused(tmp_path, raw):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**raw, "metrics": {"kl": 0.125}}).replace("0.125", "1e999"))
    with pytest.raises(ResultError, match=r"metrics\.kl"):
        resultfiles.read(path)


def test_a_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        resultfiles.read(tmp_path / "none.json")


def test_writing_makes_the_folder_and_leaves_nothing_else(tmp_path, whole):
    resultfiles.write(whole, tmp_path / "a" / "b" / "c.json")
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["c.json"]


def test_a_full_disk_keeps_the_old_file(tmp_path, whole, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as error:
        resultfiles.write(whole, path)
    assert error.value.where == str(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path, whole):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        resultfiles.write(whole, tmp_path / "file" / "a.json")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_storage_error(tmp_path, whole):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            resultfiles.write(whole, tmp_path / "a.json")
    finally:
        tmp_path.chmod(0o700)


def test_load_all_names_what_is_broken_and_goes_on(tmp_path, whole):
    resultfiles.write(whole, tmp_path / "t" / "m" / "a.json")
    resultfiles.write(whole, tmp_path / ".hidden" / "a.json")
    (tmp_path / "t" / "m" / "b.json").write_text("{")
    (tmp_path / "t" / "plan.toml").write_text("")
    results, problems = resultfiles.load_all(tmp_path)
    assert results == [whole]
    assert [p.path for p in problems] == [tmp_path / "t" / "m" / "b.json"]
    assert "not JSON" in problems[0].reason


def test_load_all_of_no_folder_is_empty(tmp_path):
    assert resultfiles.load_all(tmp_path / "none") == ([], [])


def test_a_run_id_with_a_slip_is_suggested_and_not_every_other_listed(tmp_path, whole):
    ids = [f"{whole.run_id}-{number}" for number in range(60)]
    for run_id in ids:
        made = whole.model_copy(update={"run_id": run_id})
        resultfiles.write(made, tmp_path / made.task.name / made.model.name / f"{run_id}.json")
    with pytest.raises(UsageError) as error:
        resultfiles.find(f"{ids[7]}x", tmp_path)
    assert ids[7] in error.value.fix and "60 results" in error.value.expected
    assert len(str(error.value)) < 1000
