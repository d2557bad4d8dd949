"""`ebbench run --workers`: what is wrong with all seeds is said once, as it is without --workers."""

from __future__ import annotations

import toys


def test_a_task_that_cannot_be_built_is_one_mistake(cli, plugins, tmp_path):
    task = toys.TASK.replace('self.source = "dots"', "raise FileNotFoundError('no such table')")
    (plugins / "dots" / "task.py").write_text(task)
    words = ("run", "--task", "dots", "--model", "blob", "--budget", "smoke", "--seeds", "0-2", "--quiet")
    alone, several = cli(*words), cli(*words, "--workers", "2")
    assert several.code == alone.code == 2 and "no such table" in several.err
    assert several.err == alone.err and several.out == ""
