"""Provenance: what is needed to repeat a number, and nothing about who made it."""

import getpass
import json
import os
import platform
import re
import shutil
import socket
import string
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ebbench
from ebbench import device
from ebbench.record import provenance, scrub
from ebbench.record.schema import Provenance

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")


def repository(folder, project="ebbench"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    (folder / "ebbench").mkdir()
    (folder / "ebbench" / "__init__.py").write_text("")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return folder


@needs_git
def test_git_gives_the_commit_of_the_checkout(tmp_path, monkeypatch):
    root = repository(tmp_path / "project")
    head = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    # A git hook sets GIT_DIR to the repository that it runs in.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    found = provenance.git(root)
    assert (found.commit, found.dirty) == (head, False)


@needs_git
@pytest.mark.parametrize(
    ("file", "dirty"),
    [("ebbench/__init__.py", True), ("ebbench/new.py", True), ("results/r.json", False), ("notes.md", False)],
)
def test_only_changed_code_is_dirty(tmp_path, file, dirty):
    root = repository(tmp_path / "project")
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("x = 1\n")
    assert provenance.git(root).dirty is dirty


@needs_git
def test_an_install_inside_another_repository_is_no_checkout(tmp_path):
    other = repository(tmp_path / "other", project="other")
    site = other / ".venv" / "lib" / "site-packages"
    site.mkdir(parents=True)
    assert provenance.git(site) is None
    assert provenance.git(other) is None
    # Even a copy of this project's sources, vendored below the other repository's root.
    vendored = other / "vendor"
    vendored.mkdir()
    (vendored / "pyproject.toml").write_text('[project]\nname = "ebbench"\n')
    assert provenance.git(vendored) is None


@needs_git
def test_a_checkout_without_a_commit_has_none(tmp_path):
    (tmp_path / "pyproject.toml").write_text('name = "ebbench"\n')
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    assert provenance.git(tmp_path) is None


def test_no_git_no_commit(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('name = "ebbench"\n')
    assert provenance.git(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert provenance.git(tmp_path) is None


def test_a_command_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(device, "_SECONDS", 0.2)
    assert device.output_of([sys.executable, "-c", "import time; time.sleep(30)"]) is None
    assert device.output_of([sys.executable, "-c", "raise SystemExit(1)"]) is None
    assert device.output_of([sys.executable, "-V"]).startswith("Python")


def test_collect_describes_this_process():
    found = provenance.collect("cpu", {"train.gz": "ab"}, "c0de", "ebbench run")
    assert Provenance.model_validate_json(found.model_dump_json()) == found
    assert found.ebbench == ebbench.__version__
    assert found.packages["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"numpy", "scikit-learn", "torchvision", "torch-fidelity"} <= found.packages.keys()
    assert found.python == platform.python_version()
    assert found.cpu.threads == torch.get_num_threads()
    assert found.cpu.logical_cores == os.cpu_count()
    assert found.gpu is None
    assert found.command == "ebbench run"


@pytest.mark.medium
def test_flags_are_read_however_they_were_set():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32)
    try:
        for value in (True, False):
            matmul.allow_tf32 = cudnn.allow_tf32 = value
            flags = provenance.collect("cpu", {}, "", "").flags
            assert (flags.tf32_matmul, flags.tf32_cudnn) == (value, value)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
    code = (
        "import torch; torch.backends.cuda.matmul.fp32_precision = 'ieee';"
        "from ebbench.record.provenance import collect; print(collect('cpu', {}, '', '').flags.tf32_matmul)"
    )
    made = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert made.stdout.strip() == "False", made.stderr


def test_physical_cores_count_each_core_once(monkeypatch):
    thread = "processor : {}\nmodel name\t: Fast CPU  \nphysical id\t: {}\ncore id\t\t: {}\n"
    info = "\n".join(thread.format(i, i % 2, i % 4) for i in range(8))
    monkeypatch.setattr(device, "_cpuinfo", lambda: info)
    assert device.physical_cores() == 4
    assert device.cpu_model() == "Fast CPU"
    monkeypatch.setattr(device, "_cpuinfo", lambda: "Features : neon\n")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert device.physical_cores() is None
    assert device.cpu_model()


def test_nothing_tells_who_or_where():
    command = f"{Path.home() / 'bin' / 'ebbench'} run --results={Path.cwd() / 'results'} {Path.home()}"
    data = {str(Path.home() / "mnist" / "train.gz"): "ab"}
    found = json.loads(provenance.collect("cpu", data, "c0de", command).model_dump_json())
    dumped = json.dumps(found)
    assert str(Path.home()) not in dumped
    assert str(Path.cwd()) not in dumped
    assert found["data_hashes"] == {"train.gz": "ab"}
    assert found["command"] == "~/bin/ebbench run --results=./results ~"


def be_someone(patch):
    """A user and a host with names of their own, in a folder of their own."""
    for name, value in {"HOME": "/home/alice", "USER": "alice", "PWD": "/home/alice/bench"}.items():
        patch.setenv(name, value)
    patch.setattr(getpass, "getuser", lambda: "alice")
    patch.setattr(socket, "gethostname", lambda: "turing.lab.example.org")
    patch.setattr(Path, "cwd", lambda: Path("/home/alice/bench"))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("ebbench run --set width=24", "ebbench run --set width=24"),
        ("/usr/bin/ebbench run", "***/ebbench run"),
        ("ebbench --results /home/alice/bench/results", "ebbench --results ./results"),
        ("ebbench --results=/home/alice/out", "ebbench --results=~/out"),
        ("ebbench --model /srv/alice/model", "ebbench --model ***/model"),
        ("ebbench --model /srv/old_alice_2", "ebbench --model ***"),
        ("ebbench --model ../meg/model", "ebbench --model ../meg/model"),
        ("ebbench -I/usr/include", "ebbench -I***/include"),
        ("ebbench /", "ebbench ***"),
        (r"ebbench C:\Users\alice\x", "ebbench ***/x"),
        ("ebbench file:///home/alice/x", "ebbench file:***/x"),
        ("ebbench --set 'note=Alice was here'", "ebbench --set 'note=*** was here'"),
        ("ebbench --set palice=1", "ebbench --set palice=1"),
        ("ebbench --set 'bytes=\udcff'", "ebbench --set 'bytes=?'"),
        ("ebbench run --set betas=[0.5, 0.9] --x=/a/b", "ebbench run --set betas=[0.5, 0.9] --x=***/b"),
        ("", ""),
    ],
)
def test_a_command_is_scrubbed(monkeypatch, command, shown):
    be_someone(monkeypatch)
    assert scrub.scrub(command) == shown


def test_a_command_fits_a_result(monkeypatch):
    found = provenance.collect("cpu", {}, "", "ebbench run --set 'note=a\nb\x1b[2J' " + "x" * 9000).command
    assert found.startswith("ebbench run --set 'note=a b?[2J' xxx") and len(found) == 4000
    assert found.endswith("x…")


part = st.text(string.ascii_letters + string.digits + "-_. ", min_size=1, max_size=8).filter(
    lambda name: name.strip(". ")
)
root = st.sampled_from(["/home/alice", "/home/alice/bench", "/srv/turing", "/opt", "//nfs"])
absolute = st.builds(lambda top, parts: "/".join([top, *parts]), root, st.lists(part, max_size=3))
word = st.one_of(
    absolute,
    st.builds("--{}={}".format, st.text(string.ascii_lowercase, min_size=1, max_size=5), absolute),
    st.builds("{}:{}".format, part, absolute),
    st.builds("[{},{}]".format, absolute, absolute),
    st.sampled_from(["alice", "alice@turing", "turing.lab.example.org", "~alice", "--user=ALICE", "run"]),
    part,
)


@given(words=st.lists(word, max_size=5))
def test_no_command_tells_who_or_where(words):
    with pytest.MonkeyPatch.context() as patch:
        be_someone(patch)
        found = scrub.scrub(" ".join(["/home/alice/bin/ebbench", *words]))
        assert "/home/alice" not in found
        for name in ("alice", "turing"):
            assert not re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", found.lower())
        # No absolute path is left: what begins one follows neither "~", "." nor "***".
        assert not re.search(r"(?<![\w.~*-])/\w", found)
