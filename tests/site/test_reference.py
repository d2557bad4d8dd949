"""The pages that are made of the code, the docs' index, and the tutorial as it stands."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from ebbench.site import reference
from ebbench.site.build import build
from typer.main import get_command

import ebbench
from ebbench.cli.main import app
from ebbench.record.schema import Result

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "results").mkdir()
    assert build(folder / "results", folder / "site", commands=get_command(app)) == []
    return folder / "site"


def defined(package: str) -> set[str]:
    """The public classes and functions of a package, as its source has them."""
    found = set()
    for path in (ROOT / "ebbench" / package).rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found.add(f"{module}.{node.name}")
    return found


def test_every_public_name_is_on_the_page_and_in_the_search(site: Path):
    page = (site / "docs" / "api.html").read_text("utf-8")
    ids = re.findall(r'<h3 id="([^"]+)"', page)
    asked = {f"ebbench.{name}" for name in ebbench.__all__} | defined("nn") | defined("metrics")
    assert {"ebbench.Model", "ebbench.nn.langevin.Chains", "ebbench.metrics.image.frechet_distance"} <= asked
    assert set(ids) == asked and len(ids) == len(asked)
    script = (site / "search-index.js").read_text("utf-8")
    entries = json.loads(script.removeprefix("const INDEX = ").removesuffix(";\n"))
    assert {entry["u"] for entry in entries} >= {f"docs/api.html#{name}" for name in asked}


def test_every_public_name_has_words():
    missing = [f"{s.title}.{e.name}" for s in reference.api() for e in s.entries if not e.doc]
    assert missing == []


def test_a_signature_is_what_a_reader_types():
    (own, *_) = reference.api()
    found = {entry.name: entry for entry in own.entries}
    assert found["sampler"].signature == "sampler(name: str) -> Callable[[F], F]"
    assert found["Metric"].signature.startswith(
        "class Metric(*, name: str, unit: str, better: Literal['higher',"
    )
    # What the engine hands in is nobody's to make.
    assert found["Run"].signature == "class Run"
    batches = next(one for one in found["Run"].members if one.name == "batches")
    assert batches.signature.startswith("batches(data: Data, *, size: int, steps: int | None = None")
    assert " at 0x" not in "".join(e.signature for s in reference.api() for e in s.entries)


def test_a_field_has_the_words_below_it():
    class Sizes:
        width: int = 3
        """Channels of the first layer."""
        plain: int = 4

        @property
        def both(self) -> int:
            """The sum."""
            return self.width + self.plain

    made = reference._entry("Sizes", Sizes)
    assert [(one.signature, one.doc) for one in made.members] == [
        ("width: int = 3", "Channels of the first layer."),
        ("both", "The sum."),
    ]


def test_every_command_is_there_with_its_options(site: Path):
    text = (site / "docs" / "commands.html").read_text("utf-8")
    for name in ("run", "verify", "site build", "data fetch", "keys new"):
        assert f'id="ebbench-{name.replace(" ", "-")}"' in text
    run = next(one for one in reference.commands(get_command(app)) if one.title == "ebbench run")
    options = {entry.name for entry in run.entries}
    assert {"--task", "--model", "--seeds", "--time-limit", "--set"} <= options
    assert all(entry.doc for entry in run.entries)


def test_every_metric_of_a_task_is_on_the_page(site: Path):
    from ebbench.plugins import loader

    text = (site / "docs" / "metrics.html").read_text("utf-8")
    for name in loader.built_in("task"):
        for metric in loader.load("task", name).cls.metrics:
            assert f"<code>{metric.name}</code>" in text


def test_the_index_of_the_docs_leads_to_every_file():
    text = (DOCS / "README.md").read_text("utf-8")
    linked = {link for link in re.findall(r"\]\(([\w./-]+)\)", text)}
    files = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert files <= linked
    assert all((DOCS / link).is_file() for link in linked)


@pytest.mark.parametrize(
    "path",
    [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_link_leads_to_a_file_and_its_heading(path: Path):
    from ebbench.site.prose import anchor

    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, heading = link.partition("#")
        target = (path.parent / name) if name else path
        assert target.exists(), link
        if heading:
            assert heading in [
                anchor(one) for one in re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
            ]


def test_documents_that_the_code_names_are_there():
    named = set()
    for folder in ("ebbench", "site", "tasks", "baselines", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".toml", ".html"):
                named |= set(re.findall(r"\bdocs/[\w-]+\.(?:md|ipynb)", path.read_text("utf-8")))
    assert len(named) > 8
    # The page of the API is the source of no file.
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == ["docs/api.md"]


def test_the_page_of_files_has_every_key_of_a_result():
    text = (DOCS / "files.md").read_text("utf-8").split("## The result")[1]
    cells = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`(\w+)`", cells)) == sorted(Result.model_fields)


def test_the_card_on_the_page_of_files_can_be_read():
    import tomllib

    from ebbench.plugins.cards import ModelCard, TaskCard

    model, task = re.findall(r"```toml\n(.*?)```", (DOCS / "files.md").read_text("utf-8"), re.S)
    card = ModelCard(**tomllib.loads(model))
    assert card.variants["untrained"].control and set(ModelCard.model_fields) - card.model_fields_set <= {
        *("paper", "authors", "year", "url")
    }
    assert TaskCard(**tomllib.loads(task)).headline == "cpu"


@pytest.mark.medium
def test_the_tutorial_runs_as_it_stands(cli, tmp_path: Path):
    text = (DOCS / "tutorial.md").read_text("utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        name, *asked = shlex.split(line)
        assert name == "ebbench"
        said = cli(*asked)
        assert said.code == 0, f"{line}\n{said.out}\n{said.err}"
    assert (tmp_path / "my-site" / "methods" / "mine.html").is_file()
    # The command line gives itself to the site.
    assert "ebbench site build" in (tmp_path / "my-site" / "docs" / "commands.html").read_text("utf-8")
    assert "my-site/index.html" in text


def test_commands_that_the_docs_name_are_commands():
    known = {one.title.removeprefix("ebbench ") for one in reference.commands(get_command(app))}
    groups = {name.split()[0] for name in known}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        text = path.read_text("utf-8")
        blocks = re.findall(r"```(?:sh)?\n(.*?)```", text, re.S)
        said = [line for block in blocks for line in block.splitlines()] + re.findall(
            r"`(ebbench [^`]+)`", text
        )
        for line in said:
            if found := re.match(r"ebbench ([a-z]+)(?: ([a-z]+))?", line):
                assert found[1] in groups, line
                assert found[1] in known or f"{found[1]} {found[2]}" in known or not found[2], line
