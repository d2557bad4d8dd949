"""`ebbench run --workers`: what is wrong with all seeds is said once, as it is without --workers."""

from __future__ import annotations

import toys
from ebbench.sweeps.summary import Summary


def test_a_task_that_cannot_be_built_is_one_mistake(cli, plugins, tmp_path):
    task = toys.TASK.replace('self.source = "dots"', "raise FileNotFoundError('no such table')")
    (plugins / "dots" / "task.py").write_text(task)
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-2", "--quiet")
    alone, several = cli(*words), cli(*words, "--workers", "2")
    assert several.code == alone.code == 2 and "no such table" in several.err
    assert several.err == alone.err and several.out == ""


def test_data_that_are_missing_are_one_mistake(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.setenv("EBBENCH_OFFLINE", "1")
    words = ("run", "--task", "kdd99", "--model", "meg", "--budget", "smoke", "--seeds", "0-1", "--quiet")
    alone, several = cli(*words), cli(*words, "--workers", "2")
    assert several.code == alone.code == 2 and "kddcup.data_10_percent.gz is not here" in several.err
    assert several.err == alone.err and several.out == ""


def test_no_data_are_asked_for_where_every_result_is_there(cli, plugins, tmp_path, monkeypatch):
    task, mark = plugins / "dots" / "task.py", "        values = torch.rand(self.options.points"
    reads = f"        with open('{tmp_path / 'calls'}', 'a') as file: file.write('read;')\n"
    code = task.read_text().replace(mark, reads + mark)
    task.write_text(code.replace('{"dots": "0" * 64}', 'store.hashes("kdd99")'))
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet")
    assert cli(*words).code == 0 and (tmp_path / "calls").read_text() == "read;"
    said = cli(*words, "--workers", "2")
    assert said.code == 0 and (tmp_path / "calls").read_text() == "read;"


def test_a_run_that_was_stopped_says_that_the_same_command_goes_on(cli, plugins, tmp_path, monkeypatch):
    stopped = Summary(done=["dots blob smoke seed 0"], left=["dots blob smoke seed 1"], signal=2)
    monkeypatch.setattr("ebbench.sweeps.sweep.sweep", lambda *_, **__: stopped)
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-1")
    said = cli(*words, "--workers", "2", "--json")
    assert said.code == 130 and "1 done, 0 done before, 0 failed, 1 left" in said.err
    assert "the same command goes on" in said.err and said.out == ""
    assert "the same command goes on" in cli(*words, "--workers", "2", "--quiet").out


def test_a_part_of_a_task_that_has_none_is_said(cli, plugins, tmp_path):
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--quiet")
    said = cli(*words, "--until", "training", "--part", "x")
    assert said.code == 2 and "there is no part 'x'" in said.err and "leave out --part" in said.err
