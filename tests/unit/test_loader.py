"""Plug-ins: found by name, by path and by entry point, and loaded so that their code simply works."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
from pathlib import Path

import pytest

import toys
from ebbench.errors import PluginError, UsageError
from ebbench.plugins import loader


def test_built_ins_and_the_path_variable(plugins: Path):
    assert {"meg", "wgan-gp", "real-data", "blob"} <= set(loader.names("model"))
    assert {"stackedmnist", "dots"} <= set(loader.names("task"))
    assert loader.load("model", "blob").folder == (plugins / "blob").resolve()
    assert loader.load("model", str(plugins / "blob")).name == "blob"


def test_relative_imports_dataclasses_and_pickle_work(tmp_path: Path):
    folder = toys.write_model(
        tmp_path,
        """
        from dataclasses import dataclass
        from ebbench import Model
        from .parts import Part, NAME

        class Own(Model):
            @dataclass(frozen=True)
            class Config:
                knob: int = 1
            def sample(self, n): ...
        """,
    )
    (folder / "parts.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nNAME = 'x'\n"
        "@dataclass\nclass Part:\n    value: int = 3\n"
    )
    cls = loader.load("model", str(folder)).cls
    module = sys.modules[cls.__module__]
    part = module.Part(5)
    assert pickle.loads(pickle.dumps(part)) == part
    assert dataclasses.asdict(pickle.loads(pickle.dumps(cls.Config(2)))) == {"knob": 2}


def test_two_folders_of_one_name_do_not_mix(tmp_path: Path):
    one = toys.write_model(tmp_path / "a", toys.MODEL)
    two = toys.write_model(tmp_path / "b", toys.MODEL.replace("class Blob", "class Other"))
    assert loader.load("model", str(one)).cls.__name__ == "Blob"
    assert loader.load("model", str(two)).cls.__name__ == "Other"


def test_one_name_in_two_places_is_an_error(plugins: Path, tmp_path: Path, monkeypatch):
    toys.write_model(tmp_path / "more")
    monkeypatch.setenv("EBBENCH_PATH", f"{plugins}:{tmp_path / 'more'}")
    with pytest.raises(UsageError, match="in 2 places") as caught:
        loader.load("model", "blob")
    assert "plugins/blob" in str(caught.value) and "more/blob" in str(caught.value)


def test_nothing_outside_may_have_the_name_of_a_built_in(tmp_path: Path, monkeypatch):
    folder = toys.write_model(tmp_path, name="meg")
    toys.write_model(tmp_path, name="other", card='name = "meg"\ntitle = "x"\n')
    task = toys.write_task(tmp_path, name="gaussian")
    monkeypatch.chdir(tmp_path)
    for path in ("./meg", str(folder), "./other"):
        with pytest.raises(PluginError, match="already has a model 'meg'") as caught:
            loader.load("model", path)
        assert "card.toml" in str(caught.value) and "my-meg" in str(caught.value)
    with pytest.raises(PluginError, match="already has a task 'gaussian'"):
        loader.load("task", str(task))
    with pytest.raises(UsageError, match="in 2 places"):
        loader.load("model", "meg")
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path))
    monkeypatch.chdir("/")
    with pytest.raises(UsageError, match="in 3 places"):
        loader.load("model", "meg")
    # By its own path a built-in is itself.
    built_in = loader.built_in("model")["gan"]
    assert loader.load("model", str(built_in)).folder == built_in == loader.load("model", "gan").folder


def test_a_name_is_that_of_the_card(tmp_path: Path, monkeypatch):
    folder = toys.write_model(tmp_path / "a", name="folder", card='name = "carded"\ntitle = "x"\n')
    monkeypatch.setenv("EBBENCH_PATH", str(tmp_path / "a"))
    assert "carded" in loader.names("model") and "folder" not in loader.names("model")
    assert loader.load("model", "carded").folder == loader.load("model", str(folder)).folder == folder
    with pytest.raises(UsageError, match="unknown model 'folder'") as caught:
        loader.load("model", "folder")
    assert "says 'carded'" in str(caught.value)
    # Where the command runs, too; and two of one name are told apart by their paths alone.
    other = toys.write_model(tmp_path / "b", name="carded")
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(UsageError, match="in 2 places"):
        loader.load("model", "carded")
    assert loader.load("model", "./carded").folder == other
    (other / "card.toml").write_text('name = "third"\ntitle = "x"\n')
    assert loader.load("model", "carded").folder == folder


@pytest.mark.parametrize(
    "name", ["a" * 300, "./" + "a" * 300, "x\0y", "./x\0y", "~nobody-here/x", "~nobody-here"]
)
def test_a_name_that_cannot_be_is_unknown(name: str):
    for kind in ("model", "task"):
        with pytest.raises((UsageError, PluginError)) as caught:
            loader.load(kind, name)
        assert len(str(caught.value)) < 2000


def test_a_wrong_home_in_the_path_variable_is_named(monkeypatch):
    monkeypatch.setenv("EBBENCH_PATH", "~nobody-here/plugins")
    with pytest.raises(UsageError, match="home of an unknown user") as caught:
        loader.names("model")
    assert "EBBENCH_PATH" in str(caught.value)


def test_a_folder_that_nobody_may_look_into_is_said(tmp_path: Path, monkeypatch):
    folder = toys.write_model(tmp_path)

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(PluginError, match="cannot be read: Permission denied"):
        loader.load("model", str(folder))


def test_entry_points(tmp_path: Path, monkeypatch):
    package = tmp_path / "their_package"
    toys.write_model(package, name="far")
    for folder in (package, package / "far"):
        (folder / "__init__.py").write_text("")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ebbench.models]\nfar = their_package.far\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "far" in loader.names("model")
    assert loader.load("model", "far").cls.__name__ == "Blob"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("x = = 1", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import os; os._exit(0)", "SystemExit"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("1 / 0", "ZeroDivisionError"),
        ("y = 1", "0 subclasses"),
        ("from ebbench import Model\nclass A(Model): ...\nclass B(Model): ...", "2 subclasses"),
    ],
)
def test_code_that_does_not_load_is_named_with_its_line(tmp_path: Path, code: str, said: str):
    folder = toys.write_model(tmp_path, "\n\n" + code)
    with pytest.raises(PluginError) as caught:
        _ = loader.load("model", str(folder)).cls
    assert said in str(caught.value)
    assert "model.py" in str(caught.value)
    if "subclasses" not in said:
        assert "model.py:3" in str(caught.value)
        # Mended, it loads: nothing half-imported is left behind.
        (folder / "model.py").write_text(toys.MODEL)
        assert loader.load("model", str(folder)).cls.__name__ == "Blob"


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("name = ", "cannot be read"),
        ('title = "No name"', "'name'"),
        ('name = "Bad Name"\ntitle = "x"', "'name'"),
        ('name = "a"\ntitle = "x"\nbudget = 3', "'budget'"),
        (f'name = "{"a" * 65}"\ntitle = "x"', "'name'"),
        (f'name = "a"\ntitle = "{"x" * 121}"', "'title'"),
        ('name = "a"\ntitle = ""', "'title'"),
        ('name = "a"\ntitle = "x\\ny"', "'title'"),
        ('name = "a"\ntitle = "x\\u202Ey"', "'title'"),
        (f'name = "a"\ntitle = "x"\nsummary = "{"x" * 601}"', "'summary'"),
        ('name = "a"\ntitle = "x"\nurl = "javascript:alert(1)"', "'url'"),
        ('name = "a"\ntitle = "x"\nurl = "http://["', "'url'"),
        ('name = "a"\ntitle = "x"\n[variants."a/b"]\nsummary = ""', "'a/b'"),
        *(
            (f'name = "a"\ntitle = "x"\n[budgets.cpu.default]\nminutes = {value}', "cpu.default.minutes")
            for value in ('"abc"', "-1", "inf", "nan", "true", "[1]")
        ),
    ],
)
def test_a_wrong_card_is_named_with_its_field(tmp_path: Path, card: str, said: str):
    folder = toys.write_model(tmp_path, card=card)
    with pytest.raises(PluginError, match="card.toml|card of") as caught:
        _ = loader.load("model", str(folder)).card
    assert said in str(caught.value)


def test_a_card_may_begin_with_a_byte_order_mark(tmp_path: Path):
    folder = toys.write_model(tmp_path)
    card = folder / "card.toml"
    card.write_bytes(b"\xef\xbb\xbf" + card.read_bytes())
    assert loader.load("model", str(folder)).name == "blob"


def test_a_failed_import_leaves_no_module_behind(tmp_path: Path):
    folder = toys.write_model(tmp_path, "from .parts import x\nfrom .gone import y\n" + toys.MODEL)
    (folder / "parts.py").write_text("x = 1\n")
    before = set(sys.modules)
    with pytest.raises(PluginError, match="gone"):
        _ = loader.load("model", str(folder)).cls
    assert not [name for name in sys.modules.keys() - before if "loaded." in name]


def test_plug_ins_with_modules_of_one_name_do_not_mix(tmp_path: Path):
    def write(name: str, steps: int) -> Path:
        code = "import os, sys\nsys.path.append(os.path.dirname(__file__))\nfrom utils_of_it import STEPS\n"
        body = toys.MODEL.replace("steps: int = 400", "steps: int = STEPS")
        folder = toys.write_model(tmp_path, code + body, name=name)
        (folder / "utils_of_it.py").write_text(f"STEPS = {steps}\n")
        return folder

    before = list(sys.path)
    folders = [write("one", 1), write("two", 2), write("one-more", 3)]
    assert [loader.load("model", str(f)).cls.Config().steps for f in folders] == [1, 2, 3]
    assert sys.path[:3] == before[:3]


def test_a_module_outside_that_has_changed_is_imported_again(tmp_path: Path, monkeypatch):
    """The hash covers it, so a notebook must not run its old code under the new hash."""
    (tmp_path / "lib" / "outside_nets").mkdir(parents=True)
    (tmp_path / "lib" / "outside_nets" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    body = toys.MODEL.replace("steps: int = 400", "steps: int = sizes.STEPS")
    folder = toys.write_model(tmp_path, "from outside_nets import sizes\n" + body)
    hashes = []
    for steps in (11, 2222):
        (tmp_path / "lib" / "outside_nets" / "sizes.py").write_text(f"STEPS = {steps}\n")
        plugin = loader.load("model", str(folder))
        hashes.append(plugin.code_hash)
        assert plugin.cls.Config().steps == steps
    assert hashes[0] != hashes[1]


def test_what_an_import_prints_or_changes_is_put_right(tmp_path: Path, capfd):
    here = os.getcwd()
    code = "import os\nprint('a word')\nos.system('echo another')\nos.chdir('/')\n"
    loader.load("model", str(toys.write_model(tmp_path, code + toys.MODEL))).cls  # noqa: B018
    said = capfd.readouterr()
    assert said.out == "" and "a word" in said.err and "another" in said.err
    assert os.getcwd() == here


POOLS = """
import concurrent.futures
import multiprocessing
from dataclasses import dataclass

from ebbench import Model

from .parts import Part


def work(part):
    return Part(part.value**2)


class Pools(Model):
    def train(self, data, run):
        context = multiprocessing.get_context(data)
        with context.Pool(1) as pool:
            found = pool.map(work, [Part(2), Part(3)])
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            found += pool.map(work, [Part(4)])
        return found

    def sample(self, n): ...
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_process_finds_the_functions_of_a_plug_in(tmp_path: Path, method: str):
    folder = toys.write_model(tmp_path, POOLS, name="pools")
    (folder / "parts.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Part:\n    value: int\n"
    )
    cls = loader.load("model", str(folder)).cls
    assert [part.value for part in cls(None, None).train(method, None)] == [4, 9, 16]
