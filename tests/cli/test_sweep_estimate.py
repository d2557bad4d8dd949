"""`ebbench sweep --estimate`: how long the rest of a plan takes, by results and by cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import toys

# Both samplers of one training, which counts once.
PLAN = """
[[runs]]
tasks = ["dots"]
models = ["blob"]
budgets = ["smoke"]
samplers = ["", "shifted"]
seeds = "0-2"

[[runs]]
tasks = ["dots"]
models = ["blob"]
budgets = ["smoke"]
seeds = "0"
set = { steps = 600 }

[[runs]]
tasks = ["dots"]
models = ["blob:still"]
budgets = ["smoke"]
seeds = "0"
"""
RUN = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0", "--quiet")


@pytest.fixture
def plan(plugins: Path, tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def estimated(cli, *words: str) -> tuple[dict[str, float | None], str]:
    """Minutes by label, None where nothing is known, and the whole text."""
    said = cli("sweep", "plan.toml", "--estimate", *words)
    assert said.code == 0, said.err
    found = re.findall(r"^(dots .*?) +\d+ runs? +(?:([\d.]+) min|unknown)", said.out, re.MULTILINE)
    return {label: float(minutes) if minutes else None for label, minutes in found}, said.out


def test_nothing_is_known_before_the_first_result_but_that_no_step_takes_no_time(cli, plan, tmp_path):
    minutes, text = estimated(cli)
    assert minutes == {
        "dots blob smoke": None,
        "dots blob smoke shifted": None,
        "dots blob smoke steps=600": None,
        "dots blob:still smoke": 0.0,
    }
    assert "0 done before, 0 cannot be run, 8 left" in text
    assert "7 runs of which nothing is known" in text
    assert not (tmp_path / "results").exists()


def test_the_seconds_of_a_result_are_those_of_the_other_seeds_and_grow_with_the_steps(cli, plan, tmp_path):
    assert cli(*RUN).code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    result = json.loads(path.read_text())
    # 2 minutes for 60 steps, and 1 for the score.
    result["training"]["seconds"], result["scoring"]["seconds"] = 120.0, 60.0
    path.write_text(json.dumps(result))
    minutes, text = estimated(cli, "--workers", "2")
    assert minutes == {
        "dots blob smoke": 6.0,
        # That of seed 0, whose first run is done; seeds 1 and 2 share theirs with the first sampler.
        "dots blob smoke shifted": 2.0,
        "dots blob smoke steps=600": 21.0,
        "dots blob:still smoke": 0.0,
    }
    assert "7 runs: 0.5 hours one after the other, at least 0.3 with 2 workers" in text
    # Two evaluations along training take two minutes more, however long the training is.
    result["training"]["evaluations"] = {"step": [0, 60], "seconds": [0.0, 120.0], "series": {}}
    path.write_text(json.dumps(result))
    minutes, _ = estimated(cli)
    assert (minutes["dots blob smoke"], minutes["dots blob smoke steps=600"]) == (10.0, 23.0)


def test_a_card_says_it_where_no_result_does(cli, plan, plugins):
    card = toys.CARD.format(name="blob").replace("steps = 60", "steps = 60\nminutes = 3", 1)
    (plugins / "blob" / "card.toml").write_text(card)
    minutes, text = estimated(cli)
    assert minutes["dots blob smoke"] == 9.0
    assert minutes["dots blob smoke shifted"] == 0.0
    assert minutes["dots blob smoke steps=600"] == 30.0
    assert "by card" in text


def test_steps_are_not_compared_with_epochs(cli, plan, plugins, tmp_path):
    code = toys.MODEL.replace(
        'lr: float = 1e-2\n        """Learning rate."""',
        'lr: float = 1e-2\n        """Learning rate."""\n        epochs: int = 0\n        """Epochs."""',
    )
    (plugins / "blob" / "model.py").write_text(code)
    assert cli(*RUN).code == 0
    plan.write_text(PLAN.replace("steps = 600", "epochs = 2"))
    minutes, _ = estimated(cli)
    assert minutes["dots blob smoke epochs=2"] is None and minutes["dots blob smoke"] is not None


def test_what_leaves_the_plan_to_another_machine_has_no_estimate(cli, plan):
    said = cli("sweep", "plan.toml", "--estimate", "--plan-as-job")
    assert said.code == 2 and "--plan-as-job" in said.err


def test_a_run_that_cannot_be_made_is_named(cli, plan, plugins):
    (plugins / "dots" / "task.py").write_text(toys.TASK.replace('self.source = "dots"', "1 / 0"))
    _, text = estimated(cli)
    assert "8 cannot be run, 0 left" in text and "division by zero" in text


def test_a_model_that_cannot_be_built_for_the_task_is_named(cli, plan, plugins):
    card = toys.CARD.format(name="blob").replace("steps = 60", "steps = 60\nminutes = 3", 1)
    refuses = "if config.steps == 600: raise ValueError('not so many')"
    built = "super().__init__(data, config)"
    code = toys.MODEL.replace(built, f"{built}\n        {refuses}")
    (plugins / "blob" / "model.py").write_text(code)
    (plugins / "blob" / "card.toml").write_text(card)
    minutes, text = estimated(cli)
    assert "1 cannot be run, 7 left" in text and minutes["dots blob smoke"] == 9.0
    assert "cannot be run: dots blob smoke steps=600 seed 0 (" in text and "not so many" in text


@pytest.mark.parametrize("words", [("sweep", "plan.toml", "--estimate"), ("status", "plan.toml")])
def test_a_file_is_no_folder_of_results(cli, plan, words):
    said = cli(*words, "--results", "plan.toml")
    assert said.code == 2 and "plan.toml is a file" in said.err and "--results" in said.err
