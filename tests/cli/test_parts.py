"""A task that asks for an energy, in several parts, with numbers taken along training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toys
from ebbench.record import resultfiles
from ebbench.storage.runstore import locked

TASK = toys.TASK.replace('needs = "sample"', 'needs = "energy"').replace(
    "    def score(self, model, scoring):",
    """    def parts(self, seed):
        points = self.options.points
        if points == 64:
            return {"": self}
        return {f"{n} points": DotsTask(self.Options(n), self.protocol, self.store) for n in (points, 64)}

    def combine(self, scores):
        return Score({"error": sum(s.metrics["error"] for s in scores.values()) / len(scores), "spread": 0.0})

    def evaluate(self, model, scoring):
        made = scoring.scores(torch.full((5, 2), 0.5))
        return {f"{name}.mean": values.mean() for name, values in made.items()}

    def score(self, model, scoring):
        values = scoring.scores(torch.full((5, 2), 0.5))[scoring.declared]
        assert scoring.evaluations.series[f"{scoring.declared}.mean"][-1] == values.mean()
        return Score({"error": values.mean(), "spread": 0.0}, {"declared": scoring.declared})

    def unused(self, model, scoring):""",
)
MODEL = (
    toys.MODEL.replace("import Model, sampler", "import Model, sampler, score")
    + """
    def energy(self, x):
        return self.net(torch.cat([x, x[:, :1]], 1)).sum(1).detach()

    @score("square")
    def square(self, x):
        return self.energy(x).square()
"""
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    toys.write_task(folder, TASK)
    toys.write_model(folder, MODEL)
    monkeypatch.setenv("EBBENCH_PATH", str(folder))
    return folder


def test_parts_are_trained_scored_and_combined(cli, folder: Path, tmp_path: Path):
    ran = cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    assert ran.code == 0, ran.err
    assert "part 2 of 2: 64 points" in ran.err
    (path,) = (tmp_path / "results").rglob("*.json")
    made = resultfiles.read(path)
    assert [part.name for part in made.parts] == ["256 points", "64 points"]
    assert made.metrics["error"] == sum(part.metrics["error"] for part in made.parts) / 2
    assert made.score == "energy" == made.parts[0].details["declared"] and "-energy-" in made.run_id
    assert made.training.steps == sum(part.training.steps for part in made.parts) == 120
    assert len({part.training.hash for part in made.parts} | {made.training.hash}) == 3
    first = made.parts[0].training.evaluations
    assert first.step[0] == 0 and first.step[-1] == 60 and set(first.series) == {"energy.mean", "square.mean"}
    shown = cli("show", made.run_id)
    assert shown.code == 0 and "part 64 points" in shown.out


def test_a_part_alone_takes_the_training_of_the_whole(cli, folder: Path, tmp_path: Path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    whole = cli(*words)
    assert whole.code == 0 and "taken from the store" not in whole.err
    alone = cli(*words, "--set", "points=64", "--results", str(tmp_path / "alone"))
    assert alone.code == 0 and "taken from the store" in alone.err
    (path,), (whole_path,) = ((tmp_path / name).rglob("*.json") for name in ("alone", "results"))
    alone_result, part = resultfiles.read(path), resultfiles.read(whole_path).parts[1]
    assert alone_result.parts == []
    assert alone_result.metrics == part.metrics and alone_result.training.hash == part.training.hash


def test_the_card_declares_the_score_by_variant_protocol_and_model(cli, folder: Path, tmp_path: Path):
    card = folder / "blob" / "card.toml"
    words = ("run", "--task", "dots", "--budget", "smoke", "--json", "--quiet")

    def declared(*more: str) -> str:
        said = cli(*words, *more)
        assert said.code == 0, said.err
        return json.loads(said.out)[0]["result"]["score"]

    assert declared("--model", "blob") == "energy"
    text = 'score = "square"\n' + card.read_text()
    card.write_text(text)
    assert declared("--model", "blob") == "square"
    card.write_text(text + '\n[scores.dots]\npublished = "energy"\n')
    assert declared("--model", "blob", "--protocol", "published") == "energy"
    assert declared("--model", "blob") == "square"
    card.write_text(text.replace('summary = "Not trained."', 'summary = "Not trained."\nscore = "energy"'))
    assert declared("--model", "blob:still") == "energy"


def test_a_declared_score_that_is_not_there_is_refused(cli, folder: Path):
    card = folder / "blob" / "card.toml"
    card.write_text('score = "squire"\n' + card.read_text())
    said = cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    assert said.code == 2 and "'squire'" in said.err and "energy, square" in said.err


def test_a_score_that_is_no_energy_has_to_be_declared(cli, folder: Path):
    # A maintainer who runs none of its code can know no other default.
    code = folder / "blob" / "model.py"
    code.write_text(
        code.read_text().replace("def energy(", "def height(").replace("self.energy", "self.height")
    )
    for words in (["run", "--task", "dots", "--model", "blob", "--budget", "smoke"], ["test", "blob"]):
        said = cli(*words)
        assert said.code != 0 and 'score = "..."' in said.err + said.out, said
    card = folder / "blob" / "card.toml"
    card.write_text('score = "square"\n' + card.read_text())
    assert cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke").code == 0


def test_a_model_without_an_energy_is_refused(cli, folder: Path):
    toys.write_model(folder, name="mute")
    said = cli("run", "--task", "dots", "--model", "mute", "--budget", "smoke")
    assert said.code == 2 and "capability 'energy'" in said.err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("return self.net(torch.cat([x, x[:, :1]], 1)).sum(1).detach() / 0", "NaN or infinite"),
        ("return torch.zeros(len(x) + 1)", "shape (6,)"),
        ("return torch.tensor('no')", "energy() of model 'blob' raised"),
    ],
    ids=["infinite", "a wrong length", "raises"],
)
def test_a_score_that_is_none_ends_with_code_2(cli, tmp_path: Path, monkeypatch, wrong: str, said: str):
    folder = tmp_path / "plugins"
    toys.write_task(folder, TASK)
    right = "return self.net(torch.cat([x, x[:, :1]], 1)).sum(1).detach()"
    assert right in MODEL
    toys.write_model(folder, MODEL.replace(right, wrong))
    monkeypatch.setenv("EBBENCH_PATH", str(folder))
    ran = cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke")
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err
    assert not list((tmp_path / "results").rglob("*.json"))


RUN = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke")


def test_parts_trained_apart_are_the_same_run(cli, folder: Path, tmp_path: Path):
    assert cli(*RUN, "--results", "whole").code == 0
    (tmp_path / "home").rename(tmp_path / "home-before")
    ran = cli(*RUN, "--until", "training", "--part", "64 points", "--results", "apart")
    assert ran.code == 0 and ran.out.count("trained: blob 64 points seed 0") == 1, ran
    assert len(list((tmp_path / "home" / "runs").glob("*/state.json"))) == 1
    assert not list((tmp_path / "apart").rglob("*.json"))
    assert cli(*RUN, "--until", "training", "--results", "apart").out.count("trained:") == 2
    ran = cli(*RUN, "--results", "apart")
    assert ran.code == 0 and ran.err.count("trained before, taken from the store") == 2
    one, other = (resultfiles.read(next((tmp_path / name).rglob("*.json"))) for name in ("whole", "apart"))
    assert one.metrics == other.metrics and one.run_id == other.run_id


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--part", "64 points"), "--part needs --until"),
        (("--until", "training", "--part", "65 points"), "did you mean '64 points'?"),
        (("--until", "base"), "blob does not build on another model"),
        (("--until", "tomorrow"), "one of base, training"),
        (("--until", "training", "--force"), "--until makes no result to print or repeat"),
    ],
)
def test_an_end_that_cannot_be(cli, folder: Path, words: tuple[str, ...], said: str):
    ran = cli(*RUN, *words)
    assert ran.code == 2 and said in ran.err, ran


def test_a_training_that_another_process_is_at_is_left_to_it(cli, folder: Path, tmp_path: Path):
    assert cli(*RUN, "--until", "training").code == 0
    for place in sorted((tmp_path / "home" / "runs").iterdir()):
        with locked(place, print):
            ran = cli(*RUN, "--no-wait")
            assert ran.code == 75 and place.name[:10] in ran.err, ran
            assert cli(*RUN, "--no-wait", "--until", "training").code == 75
    assert cli(*RUN, "--no-wait").code == 0
