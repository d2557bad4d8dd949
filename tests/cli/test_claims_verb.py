"""`ebbench claims`: the rows of a board decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CLAIM = """
[[claim]]
id = "small"
paper = "A paper"
source = "Table 1"
says = "The error is below a half."
confidence = "verbatim"
metric = "error"
budget = "cpu"
of = { model = "blob" }
value = 0.5
"""


@pytest.mark.medium
def test_a_claim_is_judged_by_what_was_run(cli, plugins: Path):
    assert cli("claims", "--task", "dots").out.strip() == "no claims"
    (plugins / "dots" / "claims.toml").write_text(CLAIM)
    said = cli("claims", "--task", "dots")
    assert said.code == 0 and "not run: The error is below a half." in said.out
    words = ("--task", "dots", "--model", "blob", "--quiet", "--seeds", "0-1")
    assert cli("run", *words, "--budget", "smoke").code == 0
    assert "not run" in cli("claims", "--task", "dots").out
    assert cli("run", *words, "--budget", "cpu").code == 0
    said = cli("claims", "--task", "dots", "--format", "json")
    (found,) = json.loads(said.out)
    assert found["outcome"] == "exceeded" and len(found["runs"]) == 2 and found["claim"]["value"] == 0.5
    assert "1 claims: 1 exceeded" in cli("claims", "--task", "dots").out


def test_mistakes_are_said(cli, plugins: Path):
    assert cli("claims", "--format", "yaml").code == 2
    assert cli("claims", "--task", "nothing").code == 2
    (plugins / "dots" / "claims.toml").write_text("[[claim]]\nid = 3\n")
    said = cli("claims", "--task", "dots")
    assert said.code == 2 and "dots/claims.toml" in said.err


def test_a_place_without_results_is_said(cli, plugins, tmp_path):
    said = cli("claims", "--task", "dots", "--results", "nowhere", "--format", "json")
    assert said.code == 0 and said.out.strip() == "[]" and "no results in nowhere" in said.err
    (tmp_path / "file").write_text("")
    said = cli("claims", "--results", "file")
    assert said.code == 2 and "file is a file" in said.err and not said.out
