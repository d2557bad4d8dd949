"""Plug-ins: found by name, by path and by entry point, and loaded so that their code simply works."""

from __future__ import annotations

import dataclasses
import pickle
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
    module = __import__("sys").modules[cls.__module__]
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


def test_a_folder_here_with_a_built_ins_name_is_an_error(tmp_path: Path, monkeypatch):
    toys.write_model(tmp_path, name="meg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="in 2 places"):
        loader.load("model", "meg")
    assert loader.load("model", "./meg").folder == tmp_path / "meg"


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
    ],
)
def test_a_wrong_card_is_named_with_its_field(tmp_path: Path, card: str, said: str):
    folder = toys.write_model(tmp_path, card=card)
    with pytest.raises(PluginError, match="card.toml|card of") as caught:
        _ = loader.load("model", str(folder)).card
    assert said in str(caught.value)


def test_the_code_hash_follows_the_code_and_nothing_else(tmp_path: Path):
    folder = toys.write_model(tmp_path)

    def digest() -> str:
        return loader.load("model", str(folder)).code_hash

    first = digest()
    (folder / "README.md").write_text("another text")
    (folder / "card.toml").write_text('name = "blob"\ntitle = "another"\n')
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "model.pyc").write_bytes(b"x")
    assert digest() == first
    (folder / "weights.bin").write_bytes(b"x")
    with_weights = digest()
    (folder / "model.py").write_text(toys.MODEL + "\n")
    assert len({first, with_weights, digest()}) == 3


def test_the_code_hash_covers_the_building_blocks_that_are_used(tmp_path: Path, monkeypatch):
    spellings = (
        "from ebbench.nn.penalty import two_sided_penalty",
        "from ebbench.nn import noise, penalty",
        "import ebbench.nn.penalty as p",
    )
    using = [toys.write_model(tmp_path / f"a{i}", f"{s}\n{toys.MODEL}") for i, s in enumerate(spellings)]
    # Words are no import.
    plain = toys.write_model(tmp_path / "b", f"# ebbench.nn.penalty\n{toys.MODEL}")
    folders = [*using, plain]
    before = [loader.load("model", str(f)).code_hash for f in folders]
    read = Path.read_bytes

    def changed(path: Path) -> bytes:
        return read(path) + (b"# changed" if path.name == "penalty.py" else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
    after = [loader.load("model", str(f)).code_hash for f in folders]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True] * 3 + [False]
