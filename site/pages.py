"""How pages are written. The page of a result needs only its file, so processes can share the work."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from ebbench.site import addresses, reference, result_page, views, wording, words

from ebbench.board import labels
from ebbench.board.names import Names
from ebbench.board.tiers import own_task, tier_of
from ebbench.errors import ResultError, StorageError
from ebbench.record.resultfiles import Problem, read
from ebbench.record.schema import EXTERNAL, Result

# The look of a verdict on a claim.
KIND_OF = {
    "reproduced": "good",
    "exceeded": "good",
    "contradicted": "bad",
    "not reproduced": "open",
    "at another budget only": "open",
    "not run": "none",
}
HERE = Path(__file__).parent
# Where the project's Markdown lies in a checkout; an installed wheel has none of it.
PROJECT = HERE.parent
# Characters of a run id. A file system allows 255 bytes for a name with its ending.
LONGEST_RUN_ID = 200


class Pages:
    """The templates, and the folder `out` that the pages go to."""

    def __init__(self, out: Path, project: Path) -> None:
        self.out, self.project = out, project
        self.jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.jinja.filters |= {
            "spelled": views.spelled,
            "hours": views.hours,
            "number": views.number,
            "breakable": wording.breakable,
            "picture": wording.picture,
            "powers": wording.powers,
            "css_string": wording.css_string,
            "web": addresses.web_address,
            "listed": result_page.listed,
        }
        self.jinja.globals |= {
            "nav": _nav(project),
            # The documents that exist. An installed package has none.
            "worded": {words.NAMED[path][0] for path in words.FIRST if (project / path).exists()},
            "wide": False,
            "kind_of": KIND_OF,
            "result_page": addresses.result_page,
            "method_page": addresses.method_page,
            "task_page": addresses.task_page,
            "place": labels.place,
            "changed": labels.changed,
            "cost": views.cost,
            "external": EXTERNAL,
            "difference": views.difference,
            "called": wording.called,
            "name_and_settings": wording.name_and_settings,
            "configuration": wording.configuration,
            "settings_of": wording.settings,
            "made_at": wording.made_at,
            "place_of": reference.place,
            "method_title": wording.title,
            "metric_title": wording.metric,
            "words_of": wording.words,
            "metric_unit": wording.unit,
            "code_of": views.code,
            "commit_of": views.commit,
            "own_task": own_task,
        }

    def page(self, path: str, template: str, **values: Any) -> None:
        """Render `template` into the file `path` of the site."""
        root = "../" * path.count("/")
        self.write(path, self.jinja.get_template(template).render(root=root, path=path, **values))

    def write(self, path: str, content: str | bytes) -> None:
        """Write the file `path` of the site."""
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def _nav(project: Path) -> list[tuple[str, str]]:
    """The pages in the navigation bar of every page."""
    first = [("index.html", "Board"), ("compare.html", "Compare"), ("claims.html", "Claims")]
    named = [words.NAMED[path] for path in words.FIRST if (project / path).exists()]
    return [*first, *named, ("docs.html", "Docs")]


def show_results(
    out: Path, project: Path, files: Sequence[Path], names: Names, refused: Mapping[Path, Sequence[str]] = {}
) -> list[Result | Problem]:
    """Write the pages, JSON and pictures of the results in `files`. Return what each file holds.

    `refused` says for some files why their row is invalid. Only the whole row tells, so the board shows such
    a result a second time.
    """
    pages = Pages(out, project)
    with collector_at_rest():
        return [_show(pages, file, names, refused.get(file, ())) for file in files]


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Switch off the cyclic garbage collector. It took a third of a build's time and found hardly a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _show(pages: Pages, file: Path, names: Names, refused: Sequence[str]) -> Result | Problem:
    try:
        result = read(file)
        content = file.read_bytes()
        pictures = [(name, path.name, path.read_bytes()) for name, path in result_page.pictures(result, file)]
    except (ResultError, StorageError) as error:
        return Problem(file, error.what)
    except OSError as error:
        return Problem(file, f"a picture of it cannot be read: {error.strerror or error}")
    if not result.metrics:
        return Problem(file, "it holds no metric")
    if len(result.run_id) > LONGEST_RUN_ID:
        return Problem(file, f"its run id has {len(result.run_id)} characters; {LONGEST_RUN_ID} are allowed")
    try:
        sections = result_page.sections(result)
    except RecursionError:
        return Problem(file, "it is nested too deeply to be shown")
    tier, reason = tier_of(result, names)
    pages.page(
        addresses.result_page(result),
        "result.html",
        title=result.run_id,
        result=result,
        tier=tier,
        reason=reason,
        refused=refused,
        command=labels.command(result),
        sections=sections,
        part_metrics=result_page.metrics_of_parts(result),
        pictures=[(name, picture) for name, picture, _ in pictures],
    )
    pages.write(f"{addresses.result_folder(result)}/{result.run_id}.json", content)
    for _, picture, pixels in pictures:
        pages.write(f"{addresses.result_folder(result)}/{picture}", pixels)
    return result
