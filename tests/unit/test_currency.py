"""Whether the checkout would make a result again: each thing that may have changed is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebbench.board.currency import Today
from ebbench.record import resultfiles, schema

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def made(cli, plugins):
    """A result of the toy model, just made."""
    assert cli("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--set", "steps=3").code == 0
    ((found,), _) = resultfiles.load_all("results")
    return found


def changed(result: schema.Result, **fields: object) -> schema.Result:
    raw = result.model_dump(mode="json")
    for path, value in fields.items():
        *parents, last = path.split("__")
        place = raw
        for name in parents:
            place = place[name]
        place[last] = value
    return schema.build(raw)


def test_what_was_just_made_is_current(made):
    assert Today().state(made) == ("current", "")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hash_kind": "files"}, "another kind"),
        ({"engine": 7}, "the engine was version 7"),
        ({"task__version": 9}, "the task was version 9"),
        ({"task__code_hash": "0"}, "the task's code has changed"),
        ({"task__data_code_hash": "0"}, "the code that reads the data has changed"),
        ({"model__code_hash": "0"}, "the model's code has changed"),
        ({"config__lr": 9.0}, "the card gives other settings"),
        ({"model__variant": "gone"}, "cannot make its settings"),
    ],
)
def test_what_has_changed_is_named(made, fields, reason):
    state, said = Today().state(changed(made, **fields))
    assert state == "older code" and reason in said


def test_a_change_of_the_code_itself_is_seen_and_one_of_a_comment_is_not(made, plugins):
    model = plugins / "blob" / "model.py"
    model.write_text("# A comment.\n" + model.read_text())
    assert Today().state(made)[0] == "current"
    model.write_text(model.read_text().replace("0.1 * torch", "0.2 * torch"))
    assert Today().state(made) == ("older code", "the model's code has changed")
    task = plugins / "dots" / "task.py"
    task.write_text(task.read_text().replace("- 0.5", "- 0.25"))
    assert "the task's code has changed" in Today().state(made)[1]


def test_what_is_not_here_is_said(made):
    for fields in ({"model__name": "nobody"}, {"task__name": "nothing"}, {"budget": "external"}):
        assert Today().state(changed(made, **fields))[0] == "not here"


@pytest.mark.medium
def test_the_committed_results_load_and_say_their_kind_of_hash():
    found, problems = resultfiles.load_all(RESULTS)
    assert found and not problems
    today = Today()
    for result in found:
        state, reason = today.state(result)
        assert (result.hash_kind == "files") == ("another kind" in reason)
        assert state != "not here"
