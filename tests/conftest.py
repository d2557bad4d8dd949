"""What every test shares: a run store of its own, and the command line as a function."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import toys
from bundling import RUN
from pages import COMMITTED, one_of
from processes import BEGINNING, Forked, popen, run

if TYPE_CHECKING:
    import pandas

    from ebbench.record.schema import Result

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "result-v3.json"
# The real data sets where the checkout has them beside it; tests that need them say so when skipped.
DATA = Path(os.environ.get("EBBENCH_DATA") or ROOT.parent / "shared" / "data")

# On a machine that does other work beside, a pause says nothing about the code.
settings.register_profile("ebbench", deadline=None)
settings.load_profile("ebbench")


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run store and a data cache in the test's own folder, and no plug-ins from outside."""
    monkeypatch.setenv("EBBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EBBENCH_PATH", raising=False)
    monkeypatch.setenv("EBBENCH_OFFLINE", "1")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`cli("run", "--task", ...)` in this process, in the test's folder; gives a Said."""
    from ebbench.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ebbench", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as end:
            main.main()
        said = capsys.readouterr()
        code = end.value.code
        return Said(0 if code is None else int(code), said.out, said.err)

    return call


@pytest.fixture
def raw() -> Any:
    """The golden result, as JSON."""
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture
def whole() -> Result:
    """The golden result."""
    from ebbench.record import resultfiles

    return resultfiles.read(GOLDEN)


@pytest.fixture
def maintainer(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of a maintainer, with which `ebbench verify` signs: his name."""
    from ebbench.record import signing

    folder = tmp_path_factory.mktemp("keys")
    (folder / "maintainers.toml").write_text(signing.make("ada", folder / "ada.pem"))
    monkeypatch.setenv("EBBENCH_MAINTAINERS", str(folder / "maintainers.toml"))
    monkeypatch.setenv("EBBENCH_KEY", str(folder / "ada.pem"))
    return "ada"


@pytest.fixture
def command(tmp_path: Path):
    """`command("run", ...)` in a process of its own, in the test's folder; gives what a Popen gives.

    It is forked from one that has loaded torch, unless it is to be `real`.
    """

    def start(*words: str, real: bool = False) -> subprocess.Popen[str] | Forked:
        argv = [*BEGINNING, *(str(word) for word in words)]
        if not real:
            return Forked(argv, cwd=tmp_path)
        return subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(autouse=True)
def quick_to_submit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that verifies what `ebbench submit` packs is forked from one that has loaded torch.

    A test marked `real_process` has a new interpreter, as a user has.
    """
    if request.node.get_closest_marker("real_process") is None:
        monkeypatch.setattr("ebbench.cli.submit._apart", run)


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs that a sweep or a rerun starts here are forked from a process that has loaded torch."""
    from ebbench.sweeps import executors

    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT", "TimeoutExpired")}
    monkeypatch.setattr(executors, "subprocess", SimpleNamespace(Popen=popen, **names))


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on EBBENCH_PATH that holds the toy task "dots" and the toy model "blob"."""
    folder = tmp_path / "plugins"
    toys.write_task(folder)
    toys.write_model(folder)
    monkeypatch.setenv("EBBENCH_PATH", str(folder))
    return folder


@pytest.fixture
def mnist() -> Path:
    """The folder of the data sets, where MNIST is at hand."""
    if not (DATA / "mnist").is_dir():
        pytest.skip("needs MNIST: set EBBENCH_DATA or put shared/data beside the checkout")
    return DATA


@pytest.fixture
def kdd99() -> Path:
    """The folder of the data sets, where KDD99 is at hand."""
    if not (DATA / "kdd99").is_dir():
        pytest.skip("needs KDD99: set EBBENCH_DATA or put shared/data beside the checkout")
    return DATA


@pytest.fixture
def cifar10() -> Path:
    """The folder of the data sets, where MNIST and CIFAR-10's JPEG copies are at hand."""
    if not (DATA / "cifar10").is_dir() or not (DATA / "mnist").is_dir():
        pytest.skip("needs MNIST and CIFAR-10: set EBBENCH_DATA or put shared/data beside the checkout")
    return DATA


@pytest.fixture(scope="session")
def kdd99_records() -> pandas.DataFrame:
    """The records of KDD99, read once."""
    if not (DATA / "kdd99").is_dir():
        pytest.skip("needs KDD99: set EBBENCH_DATA or put shared/data beside the checkout")
    from ebbench.data import kdd99
    from ebbench.data.store import Store

    return kdd99.load(Store(DATA))


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """A few committed results in a folder of their own."""
    for task, model in (("stackedmnist", "meg"), ("stackedmnist", "real-data"), ("gaussian", "vae")):
        source = one_of(task, model)
        for path in source.parent.glob(f"{source.stem}*"):
            target = tmp_path / "results" / task / model / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return tmp_path / "results"


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of all committed results, to look at only."""
    from ebbench.site.build import build

    out = tmp_path_factory.mktemp("site") / "built"
    assert build(COMMITTED, out) == []
    return out


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first test that wanted a bundle made, for the others to copy."""
    return tmp_path_factory.mktemp("bundle") / "made"


@pytest.fixture
def bundle(cli, plugins: Path, tmp_path: Path, made_once: Path) -> Path:
    """A bundle of five runs of a new model on the toy task, beside its folder, its runs and its run store."""
    if made_once.exists():
        shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    else:
        assert cli("new", "model", "mine").code == 0
        assert cli("run", *RUN, "--results", "made", "--quiet").code == 0
        said = cli("submit", "./mine", "--results", "made", "--quiet")
        assert said.code == 0, said.err
        assert "5 results" in said.out and "Submission: Mine" in said.out
        shutil.copytree(tmp_path, made_once)
    return tmp_path / "mine.zip"
