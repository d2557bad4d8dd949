"""Settings: checked by their annotations, held as these say, and plain in JSON."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

import toys
from ebbench.errors import ContractError, UsageError
from ebbench.plugins import configs, introspection, loader

CODE = """
from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch

from ebbench import Model


@dataclass(frozen=True)
class Optimiser:
    lr: float = 0.1


@dataclass(frozen=True)
class Common:
    kind: ClassVar[int] = 1
    size: int = 3


class Kinds(Model):
    class Mode(str, enum.Enum):
        fast = "f"
        slow = "s"

    class Level(enum.Enum):
        low = 1
        high = 2

    @dataclass(frozen=True)
    class Config(Common):
        mode: Mode = "f"
        level: Level | None = None
        levels: list[Level] = field(default_factory=list)
        weights: Path = Path("w.pt")
        betas: list = (0.5, 0.9)
        maps: list[int] = field(default_factory=lambda: [1])
        shape: tuple[int, ...] = (1, 2)
        table: dict = None
        temperature: float | None = None
        norm: Literal["one", "two"] = "one"
        optimiser: Optimiser = Optimiser()
        area: int = field(default=0, init=False)

    @torch.no_grad()
    def sample(self, n, *, temperature: float = None, mode: Mode = Mode.fast, steps=3, free=None): ...
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = toys.write_model(tmp_path_factory.mktemp("kinds"), CODE, name="kinds")
    return loader.load("model", str(folder)).cls


@pytest.mark.parametrize(
    ("key", "given", "held", "plain"),
    [
        ("mode", "s", "Mode.slow", "s"),
        ("mode", "slow", "Mode.slow", "s"),
        ("level", 2, "Level.high", 2),
        ("level", "high", "Level.high", 2),
        ("level", "none", "None", None),
        ("levels", ["low", 2], "[<Level.low: 1>, <Level.high: 2>]", [1, 2]),
        ("weights", "a/b.pt", "a/b.pt", "a/b.pt"),
        ("betas", [0.1, 0.2], "[0.1, 0.2]", [0.1, 0.2]),
        ("maps", [3, 4], "[3, 4]", [3, 4]),
        ("shape", [3, 4], "(3, 4)", [3, 4]),
        ("table", {"a": [1]}, "{'a': [1]}", {"a": [1]}),
        ("temperature", 2, "2.0", 2.0),
        ("temperature", "None", "None", None),
        ("norm", "two", "two", "two"),
        ("optimiser", {"lr": 0.2}, "Optimiser(lr=0.2)", {"lr": 0.2}),
        ("size", 7, "7", 7),
    ],
)
def test_a_field_holds_what_its_annotation_says(kinds, key: str, given: Any, held: str, plain: Any):
    for config in (
        configs.build_config(kinds.Config, {key: given}, "--set"),
        configs.change_config(kinds.Config(), {key: given}, "--set"),
    ):
        assert str(getattr(config, key)).endswith(held)
        said = configs.plain(config)
        assert said[key] == plain and type(said[key]) is type(plain)
        # What JSON holds is what may be given again.
        again = json.loads(json.dumps(said))
        del again["area"]
        if again["table"] is not None:
            assert configs.plain(configs.build_config(kinds.Config, again, "--set")) == said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mode", "fastest"),
        ("level", 3),
        ("levels", ["middle"]),
        ("weights", 3),
        ("betas", "a"),
        ("betas", [float("inf")]),
        ("maps", [1.5]),
        ("maps", ["1"]),
        ("shape", [True]),
        ("temperature", "warm"),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("norm", "three"),
        ("optimiser", {"lr": "x"}),
        ("size", 1.0),
        ("size", "none"),
        ("area", 1),
        ("none", 1),
    ],
)
def test_a_value_that_does_not_fit_is_named(kinds, key: str, value: Any):
    with pytest.raises(UsageError, match=f"'{key}'") as caught:
        configs.build_config(kinds.Config, {key: value}, "--set")
    assert caught.value.where == "--set" and caught.value.expected


def test_choices_are_said_in_words(kinds):
    with pytest.raises(UsageError) as caught:
        configs.build_config(kinds.Config, {"norm": "three"}, "--set")
    assert caught.value.expected == "one of one, two" and "Literal" not in str(caught.value)


def test_knobs_are_checked_by_their_annotation(kinds):
    given = {"temperature": 0.5, "mode": "slow", "steps": 4, "free": [1]}
    checked = configs.check_knobs(given, kinds.sample, "--set")
    assert checked == {"temperature": 0.5, "mode": kinds.Mode.slow, "steps": 4, "free": [1]}
    for key, value in (("temperature", "warm"), ("mode", "x"), ("steps", 1.5), ("other", 1)):
        with pytest.raises(UsageError, match=f"'{key}'"):
            configs.check_knobs({key: value}, kinds.sample, "--set")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("clip: float = float('inf')", "Config.clip is inf"),
        ("clip: tuple = (1.0, float('nan'))", "Config.clip is nan"),
        ("clip: frozenset = frozenset()", "Config.clip is frozenset"),
        ("clip: object = object()", "Config.clip is <object"),
        ("clip: dict = field(default_factory=lambda: {1: 2})", "Config.clip is {1: 2}"),
        ("clip: float", "Config.clip has no default"),
        ("clip: Missing = 1", "'clip', Missing, cannot be resolved"),
        ("clip: torch.device = None", "device of Config.clip cannot be given"),
        ("clip: int = 1\n        def __post_init__(self): raise KeyError('clip')", "KeyError: 'clip'"),
        ("clip: int = 1\n        def __post_init__(self): raise SystemExit('clip')", "SystemExit: clip"),
    ],
)
def test_a_wrong_field_is_named_when_the_class_is_loaded(tmp_path: Path, field: str, said: str):
    code = f"""
    from __future__ import annotations

    from dataclasses import dataclass, field

    import torch
    from ebbench import Model


    class Odd(Model):
        @dataclass(frozen=True)
        class Config:
            {field}

        def sample(self, n): ...
    """.replace("\n        def", "\n            def")
    folder = toys.write_model(tmp_path, textwrap.dedent(code), name="odd")
    with pytest.raises(ContractError) as caught:
        _ = loader.load("model", str(folder)).cls
    assert said in caught.value.what + caught.value.where
    assert "odd/model.py, Odd.Config" in caught.value.where


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("@dataclass(frozen=True)", "", "not a dataclass"),
        ("@dataclass(frozen=True)", "@dataclass", "not frozen"),
        ("by: float = 0.0", "by: float", "'by'"),
        ("n, *, by: float = 0.0", "n, by", "'by'"),
        ("by: float = 0.0", "by: float = float('inf')", "'by'"),
        ("by: float = 0.0", "by: 'Missing' = 0.0", "'by'"),
        ("by: float = 0.0", "by: torch.device = None", "'by'"),
    ],
)
def test_a_config_or_a_sampler_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, said: str):
    assert old in toys.MODEL
    folder = toys.write_model(tmp_path, toys.MODEL.replace(old, new))
    with pytest.raises(ContractError, match=said) as caught:
        _ = loader.load("model", str(folder)).cls
    assert "blob/model.py" in caught.value.where


def test_the_options_of_a_task_are_checked_too(tmp_path: Path):
    code = toys.TASK.replace("points: int = 256", "points: float = float('inf')")
    with pytest.raises(ContractError, match="Options.points is inf"):
        _ = loader.load("task", str(toys.write_task(tmp_path, code))).cls


def test_a_base_s_fields_count_and_a_bare_heir_is_no_dataclass(tmp_path: Path):
    body = "from dataclasses import dataclass\nfrom ebbench import Model\n\n\n@dataclass(frozen=True)\n"
    body += (
        "class Common:\n    size: int = 3\n\n\nclass Odd(Model):\n    class Config(Common):\n        {}\n\n"
    )
    body += "    def sample(self, n): ...\n"
    folder = toys.write_model(tmp_path, body.format("'''Nothing of its own.'''"), name="odd")
    assert introspection.field_types(loader.load("model", str(folder)).cls.Config, "") == {"size": int}
    (folder / "model.py").write_text(body.format("depth: int = 2"))
    with pytest.raises(ContractError, match="not a dataclass"):
        _ = loader.load("model", str(folder)).cls
