"""A plug-in's code hash: it follows what runs, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import toys
from ebbench.errors import PluginError
from ebbench.plugins import loader
from ebbench.plugins.code import Source

CODE = '''
"""What it is."""

from __future__ import annotations

from dataclasses import dataclass

from ebbench import Model

from .parts import SCALE  # how much
from .inner import deep


class Own(Model):
    """A model."""

    @dataclass(frozen=True)
    class Config:
        steps: int = 1_000
        """Steps."""

    def sample(self, n):
        """(n, 2)."""
        text = f"{n!r:>{SCALE}}" "tail"
        return [deep(i) * SCALE for i in range(n)], text
'''

MODULES = {
    "model.py": CODE,
    "parts.py": "SCALE = 3\n",
    "inner/__init__.py": "from .deeper import deep\n",
    "inner/deeper.py": "def deep(i):\n    from ..late import shift\n\n    return shift(i)\n",
    "late.py": "def shift(i):\n    return i + 1\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    """A model's folder with these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    if not (folder / "card.toml").exists():
        (folder / "card.toml").write_text('name = "own"\ntitle = "Own"\n')
    return folder


def source(folder: Path) -> Source:
    return loader.Plugin("model", folder).source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "own", MODULES)


def test_every_module_that_is_imported_is_named(folder: Path):
    assert sorted(source(folder).files) == sorted(MODULES)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "# how much", "# how very much"),
        ("model.py", '"""What it is."""', '"""What it was."""'),
        ("model.py", '"""Steps."""', '"""Steps of\n        a training."""'),
        ("model.py", '"""(n, 2)."""', "pass"),
        ("model.py", '"""A model."""\n', "\n\n\n"),
        ("model.py", "1_000", "1000"),
        ("model.py", '"tail"', "'tail'"),
        ("model.py", "range(n)], text", "range(\n            n\n        )], (text)"),
        ("model.py", "\n", "\r\n"),
        ("parts.py", "SCALE", "\ufeffSCALE"),
        ("parts.py", "SCALE = 3\n", "SCALE = 3; 'a word'; ...\n"),
        ("README.md", "", "A text."),
    ],
)
def test_other_words_for_the_same_change_nothing(folder: Path, file: str, old: str, new: str):
    before = source(folder)
    path = folder / file
    text = path.read_text() if path.exists() else ""
    path.write_bytes((text.replace(old, new) if old else new).encode())
    assert source(folder) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "1_000", "1001"),
        ("model.py", "1_000", "1000.0"),
        ("model.py", "1_000", "True"),
        ("model.py", "!r:>", "!s:>"),
        ("model.py", '"tail"', '"Tail"'),
        ("model.py", '"tail"', 'b"tail"'),
        ("model.py", "deep(i) * SCALE", "deep(i) + SCALE"),
        ("model.py", "return [", "if n: return ["),
        ("parts.py", "3", "-3"),
        ("parts.py", "3", "None"),
        ("parts.py", "3", "''"),
        ("parts.py", "3", "= 3"),
        ("inner/__init__.py", "deep\n", "deep\nx = 1\n"),
        ("inner/deeper.py", "shift(i)", "shift(i + 1)"),
        ("late.py", "i + 1", "i + 2"),
    ],
)
def test_another_program_is_another_hash(folder: Path, file: str, old: str, new: str):
    before = source(folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    after = source(folder)
    assert after.hash != before.hash
    changed = {name for name in after.files if after.files[name] != before.files.get(name)}
    assert changed == {file}


def test_what_lies_beside_the_code_is_no_part_of_it(folder: Path):
    before = source(folder)
    write(
        folder,
        {
            "results/own/a.json": "{}",
            "log.txt": "epoch 1",
            "weights.pt": "0",
            "plot.py": "import parts\n",
            "__pycache__/model.cpython-311.pyc": "x",
            ".hidden": "x",
        },
    )
    (folder / "card.toml").write_text('name = "own"\ntitle = "Another title"\n')
    assert source(folder) == before


def test_the_hash_does_not_depend_on_where_the_folder_is(folder: Path, tmp_path: Path, monkeypatch):
    before = source(folder)
    copy = tmp_path / "far" / "other-name"
    shutil.copytree(folder, copy)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(copy)
    assert source(copy) == before
    assert loader.load("model", str(tmp_path / "link")).source == before


def test_a_link_in_the_folder_is_followed(folder: Path, tmp_path: Path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shutil.move(folder / "parts.py", shared / "p.py")
    (folder / "parts.py").symlink_to(shared / "p.py")
    shutil.move(folder / "inner", shared / "i")
    (folder / "inner").symlink_to(shared / "i")
    before = source(folder)
    assert sorted(before.files) == sorted(MODULES)
    (shared / "i" / "deeper.py").write_text("def deep(i):\n    return i\n")
    assert source(folder).hash != before.hash


SPELLINGS: dict[str, str] = {
    "on Python's path": "import common",
    "inside a function": "def f():\n    import common",
    "from it": "from common import *",
    "by its name": "import importlib\nm = importlib.import_module('common')",
    "by a name in a list": "from importlib import import_module\nm = [import_module(n) for n in ['common']]",
    "by the built-in": "m = __import__('common')",
    "where it may be missing": "try:\n    import common\nexcept ImportError:\n    common = None",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_module_outside_that_is_not_installed_counts(
    folder: Path, tmp_path: Path, monkeypatch, spelling: str
):
    outside = write(tmp_path / "lib", {"common.py": "from lab import nets\n"})
    write(outside, {"lab/__init__.py": "", "lab/nets.py": "from . import sizes\n", "lab/sizes.py": "W = 1\n"})
    monkeypatch.syspath_prepend(str(outside))
    (folder / "parts.py").write_text(f"SCALE = 3\n{spelling}\n")
    before = source(folder)
    assert {"common", "lab", "lab.nets", "lab.sizes"} <= set(before.files)
    (outside / "lab" / "sizes.py").write_text("W = 2\n")
    assert source(folder).hash != before.hash


def test_an_installed_package_does_not_count(folder: Path, tmp_path: Path, monkeypatch):
    for place in ("site-packages", "target"):
        write(tmp_path / place, {f"{place[:4]}.py": "x = 1\n"})
        monkeypatch.syspath_prepend(str(tmp_path / place))
    (tmp_path / "target" / "targ-1.0.dist-info").mkdir()
    (folder / "parts.py").write_text("import json, torch, site, targ\nSCALE = 3\n")
    assert sorted(source(folder).files) == sorted(MODULES)


PATHS: dict[str, str] = {
    "a sibling of the folder": "sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'lib'))",
    "by os.path": "sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))",
    "by a name": "HERE = Path(__file__).parents[1]\nLIB = HERE.joinpath('lib')\nsys.path += [str(LIB)]",
    "by a slice": "sys.path[:0] = [os.path.dirname(os.path.dirname(__file__)) + '/lib']",
}


@pytest.mark.parametrize("spelling", PATHS.values(), ids=PATHS)
def test_a_folder_that_the_code_puts_on_the_path_is_looked_into(folder: Path, tmp_path: Path, spelling: str):
    write(tmp_path / "lib", {"common_part.py": "x = 1\n"})
    (folder / "late.py").write_text("import common_part\n\n\ndef shift(i):\n    return i + common_part.x\n")
    code = f"import os, sys\nfrom pathlib import Path\n{spelling}\n{CODE}"
    (folder / "model.py").write_text(code.replace("from __future__ import annotations", ""))
    before = loader.Plugin("model", folder)
    assert before.source.files.keys() == {*MODULES, "common_part"}
    path = list(sys.path)
    # Imported or not, it is the same code; and what it put on the path hides nothing of others.
    assert before.cls.__name__ == "Own"
    assert source(folder) == before.source
    assert sys.path[:3] == path[:3]
    sys.path[:] = path
    sys.modules.pop("common_part", None)
    (tmp_path / "lib" / "common_part.py").write_text("x = 2\n")
    assert source(folder).hash != before.source.hash


@pytest.mark.parametrize(
    "spelling",
    [
        "import beside",
        "import runpy\ns = runpy.run_path(Path(__file__).with_name('beside.py'))",
        "exec((Path(__file__).parent / 'beside.py').read_text())",
        "from importlib import import_module\nm = import_module('.beside', __package__)",
        "from importlib import import_module\nm = import_module(f'{__package__}.beside')",
    ],
)
def test_a_module_beside_the_importing_file_counts(folder: Path, spelling: str):
    write(folder, {"beside.py": "x = 1\n"})
    (folder / "parts.py").write_text(f"from pathlib import Path\n{spelling}\nSCALE = 3\n")
    before = source(folder)
    assert "beside.py" in before.files
    (folder / "beside.py").write_text("x = 2\n")
    assert source(folder).hash != before.hash


def test_a_file_that_is_named_by_its_whole_path_counts(folder: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere" / "more.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text("A = 1\n")
    model = folder / "model.py"
    model.write_text(model.read_text() + f"\nMORE = {str(elsewhere)!r}\n")
    before = loader.Plugin("model", folder).source
    assert "more" in before.files
    elsewhere.write_text("A = 2\n")
    assert loader.Plugin("model", folder).source.hash != before.hash


def test_a_file_that_does_not_parse_counts_by_its_bytes(folder: Path):
    (folder / "parts.py").write_text("SCALE = = 3\n")
    before = source(folder)
    (folder / "parts.py").write_text("SCALE = = 3 # \n")
    assert source(folder).hash != before.hash


def test_very_deep_and_very_long_expressions_have_a_hash(folder: Path):
    (folder / "parts.py").write_text("SCALE = " + " + ".join("1" * 3000) + f" + 0x{'f' * 9000}\n")
    before = source(folder)
    (folder / "parts.py").write_text("SCALE = " + " + ".join("1" * 3001) + f" + 0x{'f' * 9000}\n")
    assert source(folder).hash != before.hash


BLOCK = "ebbench.nn.penalty"


@pytest.mark.parametrize(
    "spelling",
    [
        "from ebbench.nn.penalty import two_sided_penalty",
        "from ebbench.nn import noise, penalty",
        "import ebbench.nn.penalty as p",
        "from ebbench import nn\nfrom ebbench.nn import penalty",
        "from importlib import import_module\np = import_module('ebbench.nn.penalty')",
    ],
)
def test_the_building_blocks_that_are_used_count(folder: Path, monkeypatch, spelling: str):
    (folder / "parts.py").write_text(f"SCALE = 3\n{spelling}\n")
    before = source(folder)
    _change(monkeypatch, "penalty.py")
    after = source(folder)
    assert BLOCK in before.files and before.hash != after.hash
    assert {name for name in after.files if after.files[name] != before.files[name]} == {BLOCK}


def test_words_are_no_import(folder: Path):
    (folder / "parts.py").write_text(f"SCALE = 3  # {BLOCK}\nTEXT = '{BLOCK}'\n")
    assert sorted(source(folder).files) == sorted(MODULES)


def test_another_plug_ins_module_counts(folder: Path, monkeypatch):
    (folder / "parts.py").write_text("from ebbench.baselines.meg.model import MEG\nSCALE = 3\n")
    before = source(folder)
    assert {"ebbench.baselines.meg.model", "ebbench.nn.langevin"} <= set(before.files)
    _change(monkeypatch, "langevin.py")
    assert source(folder).hash != before.hash


def test_a_model_has_one_hash_and_a_task_two(tmp_path: Path, monkeypatch):
    used = "from ebbench.data import mnist\nfrom ebbench.metrics import coverage\n"
    task = loader.Plugin("task", toys.write_task(tmp_path, used + textwrap.dedent(toys.TASK)))
    model = loader.Plugin("model", toys.write_model(tmp_path, used + textwrap.dedent(toys.MODEL)))
    plain = loader.Plugin("task", toys.write_task(tmp_path / "plain"))
    assert task.source.files.keys() == {"task.py", "ebbench.metrics", "ebbench.metrics.coverage"}
    assert task.data_source.files.keys() == {"ebbench.data", "ebbench.data.mnist"}
    assert model.source.files.keys() >= {"model.py", "ebbench.data.mnist", "ebbench.metrics.coverage"}
    assert model.data_code_hash == plain.data_code_hash == ""
    hashes = task.code_hash, task.data_code_hash, model.code_hash

    def again() -> tuple[str, str, str]:
        one, other = loader.Plugin("task", task.folder), loader.Plugin("model", model.folder)
        return one.code_hash, one.data_code_hash, other.code_hash

    assert again() == hashes
    _change(monkeypatch, "mnist.py")
    assert [a == b for a, b in zip(hashes, again(), strict=True)] == [True, False, False]
    monkeypatch.undo()
    # How a file that is pinned by its hash was found moves no number.
    _change(monkeypatch, "store.py", "registry.py", "gzipped.py")
    assert again() == hashes
    monkeypatch.undo()
    _change(monkeypatch, "coverage.py")
    assert [a == b for a, b in zip(hashes, again(), strict=True)] == [False, True, False]


def test_files_that_the_card_declares_count(folder: Path):
    def declare(files: str) -> loader.Plugin:
        (folder / "card.toml").write_text(f'name = "own"\ntitle = "Own"\nfiles = {files}\n')
        return loader.Plugin("model", folder)

    write(folder, {"weights/a.bin": "1", "weights/b.bin": "2", "table.csv": "1,2"})
    before = declare('["weights/*.bin", "table.csv"]').source
    assert before.files.keys() == {*MODULES, "weights/a.bin", "weights/b.bin", "table.csv"}
    write(folder, {"weights/c.txt": "3"})
    assert declare('["weights/*.bin", "table.csv"]').source == before
    write(folder, {"weights/b.bin": "3"})
    assert declare('["weights/*.bin", "table.csv"]').code_hash != before.hash
    for files, said in (
        ('["weights/none.bin"]', "not there"),
        ('["weights"]', "not there"),
        ('[""]', "not there"),
        ('["../own/table.csv"]', "outside"),
        (f'["{folder}/table.csv"]', "outside"),
    ):
        with pytest.raises(PluginError, match=said) as caught:
            _ = declare(files).code_hash
        assert "card.toml: files" in str(caught.value)


def test_code_that_was_changed_is_imported_anew(folder: Path):
    def steps() -> int:
        config: Callable[[], object] = loader.load("model", str(folder)).cls.Config
        return vars(config())["steps"]

    assert steps() == 1000
    path = folder / "model.py"
    stat = path.stat()
    path.write_text(CODE.replace("1_000", "2_000"))
    # As an edit within the same second that changes no length looks to Python's own bytecode.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert steps() == 2000
    assert loader.load("model", str(folder)).cls is loader.load("model", str(folder)).cls


def _change(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the files of these names in ebbench hold another line."""
    read = Path.read_bytes

    def changed(path: Path) -> bytes:
        ours = "ebbench" in path.parts and path.name in names
        return read(path) + (b"\nCHANGED = 1\n" if ours else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
