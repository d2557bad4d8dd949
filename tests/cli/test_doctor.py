"""`ebbench doctor`: what is here; it fails only for what is broken."""

import importlib.metadata
import json
import os

import pytest

import toys


@pytest.fixture(autouse=True)
def without_data(monkeypatch):
    monkeypatch.delenv("EBBENCH_DATA", raising=False)


def findings(said):
    found = json.loads(said.out)
    return {(finding["part"], finding["name"]): finding for finding in found["findings"]}


def test_missing_data_is_no_failure(cli, plugins):
    said = cli("doctor", "--json")
    found = findings(said)
    assert said.code == 0
    assert json.loads(said.out)["ok"]
    assert found["data", "mnist"]["state"] == "warn"
    assert "ebbench data fetch mnist" in found["data", "mnist"]["text"]
    assert "source=dots" in found["task", "dots"]["text"]
    assert found["package", "torch"]["text"].startswith(importlib.metadata.version("torch"))
    assert ("device", "threads") in found
    assert "ready to run" in cli("doctor").out


def test_rows_that_the_checkout_would_not_make_again_are_named(cli, plugins, tmp_path):
    run = ["run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet"]
    assert ("results", "dots") not in findings(cli("doctor", "--json"))
    assert cli(*run).code == 0
    assert findings(cli("doctor", "--json"))["results", "dots"]["text"] == "1 rows: 1 current"
    model = plugins / "blob" / "model.py"
    model.write_text(model.read_text().replace("0.1 * torch", "0.2 * torch"))
    (tmp_path / "results" / "broken.json").write_text("{")
    found = findings(cli("doctor", "--json", "--rows"))
    assert found["results", "dots"]["text"] == "1 rows: 1 older code"
    assert found["results", "dots"]["state"] == "warn"
    assert found["results", "broken.json"]["state"] == "warn"
    ((_, row),) = [(part, name) for part, name in found if "blob@generator" in name]
    assert found["results", row]["text"] == "older code: the model's code has changed"


def test_a_folder_of_results_that_is_not_there_is_said(cli, plugins, tmp_path):
    said = cli("doctor", "--json", "--results", "nowhere")
    found = findings(said)["results", "nowhere"]
    assert said.code == 0 and found["state"] == "warn" and "no such folder" in found["text"]
    (tmp_path / "results").write_text("a file")
    said = cli("doctor", "--json")
    assert said.code == 1 and findings(said)["results", "results"]["state"] == "fail"


def test_what_a_task_says_of_its_data_stands_on_its_line(cli, plugins):
    said = cli("doctor", "--json")
    assert said.err == ""
    assert "Inception's weights are not here" in findings(said)["task", "cifar10"]["text"]


def test_a_package_that_is_too_old_or_missing_fails(cli, monkeypatch):
    needed = ["torch>=9999", "no-such-package-of-ours", "pytest>=9999; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needed)
    said = cli("doctor", "--json")
    found = findings(said)
    assert said.code == 1
    assert found["package", "torch"]["state"] == "fail"
    assert "needs >=9999" in found["package", "torch"]["text"]
    assert "missing" in found["package", "no-such-package-of-ours"]["text"]
    assert ("package", "pytest") not in found
    assert "something is broken" in cli("doctor").out


def test_an_altered_data_file_fails_and_stays(cli, tmp_path):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    bad = folder / "train-labels-idx1-ubyte.gz"
    bad.write_bytes(b"not what was published")
    said = cli("doctor", "--json", "--data-dir", tmp_path / "data")
    assert said.code == 1
    assert "train-labels-idx1-ubyte.gz" in findings(said)["data", "mnist"]["text"]
    assert bad.read_bytes() == b"not what was published"


def test_a_data_folder_that_is_not_there_fails(cli, tmp_path):
    said = cli("doctor", "--json", "--data-dir", tmp_path / "none")
    assert said.code == 1
    assert findings(said)["data", "folder"]["state"] == "fail"


def test_a_run_store_that_cannot_be_written_fails(cli, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EBBENCH_HOME", os.fspath(tmp_path / "file" / "home"))
    said = cli("doctor", "--json")
    assert said.code == 1
    assert "EBBENCH_HOME" in findings(said)["folder", "run store"]["text"]


def test_a_task_that_breaks_is_a_warning(cli, plugins):
    toys.write_task(plugins, toys.TASK.replace('self.source = "dots"', "1 / 0"), name="dashes")
    said = cli("doctor", "--json")
    assert said.code == 0
    assert "ZeroDivisionError" in findings(said)["task", "dashes"]["text"]


def test_the_version_is_that_of_the_package(cli):
    said = cli("--version")
    assert (said.code, said.out.split()) == (0, ["ebbench", importlib.metadata.version("ebbench")])
