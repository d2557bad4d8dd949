"""How pages are written. A result's page needs its file alone, so that processes can share them out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from ebbench.site import charts, content

from ebbench.board import labels
from ebbench.errors import ResultError, StorageError
from ebbench.record.resultfiles import Problem, read
from ebbench.record.schema import EXTERNAL, Result

HERE = Path(__file__).parent
# Where the project's Markdown lies in a checkout; an installed wheel has none of it.
PROJECT = HERE.parent
# The pages of words: file, title, where they come from.
WORDS = (
    ("findings", "Findings", "docs/findings.md"),
    ("protocols", "Protocols", "docs/protocols.md"),
    ("submit", "Submit", "docs/submitting.md"),
    ("statistics", "About the statistics", "docs/table.md"),
)


class Pages:
    """The templates, and the folder `out` that the pages go to."""

    def __init__(self, out: Path, project: Path) -> None:
        self.out = out
        self.jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.jinja.filters |= {
            "spelled": content.spelled,
            "hours": content.hours,
            "number": content.number,
            "web": content.web_address,
        }
        self.jinja.globals |= {
            "words": [(name, title) for name, title, path in WORDS if (project / path).exists()],
            "result_page": result_page,
            "place": labels.place,
            "changed": labels.changed,
            "cost": content.cost,
            "external": EXTERNAL,
            "difference": content.difference,
            "called": charts.called,
            "method_page": lambda name: f"methods/{content.slug(name)}.html",
            "task_page": lambda name: f"tasks/{content.slug(name)}.html",
        }

    def page(self, path: str, template: str, **values: Any) -> None:
        """Render `template` into the file `path` of the site."""
        root = "../" * path.count("/")
        self.write(path, self.jinja.get_template(template).render(root=root, path=path, **values))

    def write(self, path: str, text: str) -> None:
        """Write the file `path` of the site."""
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def result_page(result: Result) -> str:
    """The page of a result, from the site's root."""
    return f"results/{content.slug(result.task.name)}/{content.slug(result.model.name)}/{result.run_id}.html"


def show_results(out: Path, project: Path, files: Sequence[Path]) -> list[Result | Problem]:
    """Write the pages of the results in `files`, with JSON and pictures; return what each file holds."""
    pages = Pages(out, project)
    made: list[Result | Problem] = []
    for file in files:
        try:
            result = read(file)
        except (ResultError, StorageError) as error:
            made.append(Problem(file, error.what))
            continue
        made.append(result)
        page = result_page(result)
        folder = out / Path(page).parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / f"{result.run_id}.json")
        pictures = content.pictures(result, file)
        for _, picture in pictures:
            shutil.copyfile(picture, folder / picture.name)
        pages.page(
            page,
            "result.html",
            title=result.run_id,
            result=result,
            raw=content.readable(result),
            pictures=[(name, picture.name) for name, picture in pictures],
        )
    return made
