"""Code that makes numbers does not change under the version that the numbers carry."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import toys

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "pin_versions.py"))
PINS = json.loads(SCRIPT["PINS"].read_text(encoding="utf-8"))
TODAY = SCRIPT["today"]()


def complaint(name: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    """What is wrong with the pins of a task or of the engine, and the cure; "" where nothing is."""
    differing = SCRIPT["changes"]({name: before}, {name: after}).get(name, [])
    if not differing:
        return ""
    cure = "run `python scripts/pin_versions.py`"
    if "version" in differing:
        return f"the version of '{name}' is another than the pinned one: {cure}"
    where = "ENGINE in ebbench/contract.py" if name == "engine" else f"`version` in tasks/{name}/task.py"
    return (
        f"the code of '{name}' has changed ({', '.join(differing)}) and its version has not: raise {where} "
        f"if a number can move; then, or if none can, {cure}"
    )


@pytest.mark.parametrize("name", sorted(PINS | TODAY))
def test_code_and_version_are_those_that_are_pinned(name: str):
    said = complaint(name, PINS.get(name, {}), TODAY.get(name, {}))
    assert not said, said


def test_a_change_under_the_same_version_is_told_with_its_cure():
    before = {"version": 1, "code_hash": "a", "data_code_hash": "b"}
    said = complaint("kdd99", before, before | {"code_hash": "c"})
    assert "(code_hash)" in said and "tasks/kdd99/task.py" in said and "pin_versions.py" in said
    assert "ENGINE" in complaint("engine", before, before | {"device.py": "c"})
    assert complaint("kdd99", before, before | {"version": 2, "code_hash": "c"}).startswith("the version")
    assert complaint("kdd99", before, dict(before)) == ""


def test_a_task_s_hash_moves_with_its_code_and_not_with_its_comments(tmp_path: Path):
    from ebbench.plugins import loader

    def code_hash(name: str, code: str) -> str:
        return loader.load("task", str(toys.write_task(tmp_path / name, code))).code_hash

    plain = code_hash("plain", toys.TASK)
    assert code_hash("comment", "# A word.\n" + toys.TASK) == plain
    assert code_hash("changed", toys.TASK.replace("- 0.5)", "- 0.25)")) != plain


def test_the_script_says_what_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pins = tmp_path / "pins.json"
    main = SCRIPT["main"]
    monkeypatch.setitem(main.__globals__, "PINS", pins)
    monkeypatch.setitem(main.__globals__, "today", lambda: TODAY)
    main()
    assert "toy2d (version" in capsys.readouterr().out
    main()
    assert capsys.readouterr().out == "nothing has changed\n"
    assert json.loads(pins.read_text()) == TODAY
