"""`ebbench show`: a task, a model, a result."""

import shutil
from pathlib import Path

import pytest

import toys

GOLDEN = Path(__file__).parents[1] / "golden" / "result-v3.json"


def test_a_task(cli, plugins):
    said = cli("show", "dots")
    assert said.code == 0
    for text in ("task dots: Dots", "As it should be.", "points: int = 256", "How many.", "lower is better"):
        assert text in said.out


def test_a_model(cli, plugins):
    said = cli("show", "blob")
    assert said.code == 0
    for text in ("steps: int = 400", "Learning rate.", "shifted", "by=0.0", "smoke, default", "Not trained."):
        assert text in said.out


def test_a_folder(cli, plugins):
    assert "model blob" in cli("show", plugins / "blob").out


def test_documentation_of_a_knob_is_inherited_and_may_run_over_lines(cli, plugins):
    code = """
from dataclasses import dataclass

from ebbench import Model


@dataclass(frozen=True)
class Common:
    width: int = 3
    \"\"\"Channels
    in the first layer.\"\"\"
    silent: bool = False


class Odd(Model):
    @dataclass(frozen=True)
    class Config(Common):
        depth: int = 2
        \"\"\"Layers.\"\"\"

    def sample(self, n):
        return None
"""
    toys.write_model(plugins, code, name="odd")
    out = cli("show", "odd").out
    knobs = out[out.index("knobs (--set)") :].splitlines()
    assert [line.strip() for line in knobs[1:6]] == [
        "width: int = 3",
        "Channels in the first layer.",
        "silent: bool = false",
        "depth: int = 2",
        "Layers.",
    ]


@pytest.mark.parametrize("name", ["cpu-clean-mala-mnist-s3-0123456789", "results/a/b.json"])
def test_a_result(cli, tmp_path, name):
    (tmp_path / "results" / "a").mkdir(parents=True)
    shutil.copy(GOLDEN, tmp_path / "results" / "a" / "b.json")
    said = cli("show", name)
    assert said.code == 0
    for text in ("stackedmnist v1", "0.0313", "7,800 steps", "claimed", "width=24", "--seeds 3"):
        assert text in said.out


def test_a_result_of_a_folder_says_where_its_command_works(cli, plugins, tmp_path):
    own = toys.write_model(tmp_path / "own", name="bleb")
    assert cli("run", "--task", "dots", "--model", own, "--budget", "smoke", "--quiet").code == 0
    (file,) = (tmp_path / "results").rglob("*.json")
    assert "start it  in the folder that holds bleb\n" in cli("show", file).out


def test_an_unknown_name(cli, plugins):
    said = cli("show", "blop")
    assert said.code == 2
    assert "did you mean 'blob'?" in said.err


def test_without_a_name_the_names_are_said_and_results_do_not_hide_them(cli, plugins, tmp_path):
    (tmp_path / "results").mkdir()
    shutil.copy(GOLDEN, tmp_path / "results" / "b.json")
    for said in (cli("show"), cli("show", "qqqq")):
        assert said.code == 2 and said.err.startswith("error: ")
        for text in (
            "a task (",
            "dots",
            "a model (",
            "blob",
            "a result in results (1 are there)",
            "`ebbench list`",
        ):
            assert text in said.err, said.err
        assert "cpu-clean-mala" not in said.err


def test_a_variant_is_shown_with_its_model(cli, plugins):
    assert cli("show", "blob:still").out == cli("show", "blob").out
    said = cli("show", "blob:stil")
    assert said.code == 2 and "did you mean 'still'?" in said.err


def test_a_file_that_is_not_there(cli):
    said = cli("show", "none.json")
    assert said.code == 2
    assert "none.json" in said.err


@pytest.mark.parametrize(
    "name", ["a" * 300, "~nobody-here/x", "~nobody-here", "./" + "a" * 300, "x\0y", "a" * 300 + ".json"]
)
def test_a_name_that_cannot_be(cli, plugins, name):
    said = cli("show", name)
    assert said.code == 2 and said.err.startswith("error: ") and said.out == ""


def test_defaults_are_shown_as_they_may_be_given(cli, plugins):
    code = """
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ebbench import Model


class Mode(Enum):
    fast = "f"


class Odd(Model):
    @dataclass(frozen=True)
    class Config:
        mode: Mode = Mode.fast
        weights: Path = Path("w.pt")
        maps: list[int] = field(default_factory=lambda: [1, 2])

    def sample(self, n, *, mode: Mode = Mode.fast):
        return None
"""
    card = 'name = "odd"\ntitle = "Odd"\nmeasured_on = "two cores"\nfiles = ["w.pt"]\n'
    toys.write_model(plugins, code, name="odd", card=card + "[budgets.cpu.default]\nminutes = 20\n")
    out = cli("show", "odd").out
    for text in ("mode: Mode = f", "weights: Path = w.pt", "maps: list[int] = [1, 2]", "mode=f"):
        assert text in out
    for text in ("two cores", "files:        w.pt", "minutes=20"):
        assert text in out
