"""docs/submitting.md: its commands and its Python, run in their order in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ebbench.isolation.box import why_not
from ebbench.record import resultfiles

PAGE = Path(__file__).resolve().parents[2] / "docs" / "submitting.md"


@pytest.mark.medium
def test_the_page_of_submitting_runs_as_it_stands(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ran = 0
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S):
        if language == "python":
            subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)
            continue
        for line in block.splitlines():
            name, *words = shlex.split(line)
            if name == "export":
                for word in words:
                    monkeypatch.setenv(*word.split("=", 1))
                continue
            assert name == "ebbench", line
            words += ["--unboxed"] if "--rerun" in words and why_not() else []
            said = cli(*words)
            assert said.code == 0, f"{line}\n{said.out}\n{said.err}"
            ran += 1
    assert ran >= 9
    made, problems = resultfiles.load_all(tmp_path / "board")
    assert problems == []
    assert {(one.model.name, one.seed, one.confirmed) for one in made} == {
        *(("mine", seed, "reproduced") for seed in range(5)),
        ("afar", 0, "recomputed"),
        ("afar", 1, "recomputed"),
    }
