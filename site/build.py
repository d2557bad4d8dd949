"""`results/` and the cards -> a folder of plain files.

No network, no server, no script needed to read it. A build is whole or not there: it is made beside the
old one and takes its place at the end. A result file that is none is left out, named, and reported.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from ebbench.site import charts, content, matrix
from markdown_it import MarkdownIt
from markupsafe import Markup

from ebbench import export, loader
from ebbench.errors import EbbenchError, StorageError, UsageError
from ebbench.result import EXTERNAL, Problem, Result, load_files

HERE = Path(__file__).parent
# Where the project's Markdown lies in a checkout; an installed wheel has none of it.
PROJECT = HERE.parent
MARK = ".ebbench-site"
# The pages of words: file, title, where they come from.
WORDS = (
    ("findings", "Findings", "docs/findings.md"),
    ("protocols", "Protocols", "docs/protocols.md"),
    ("submit", "Submit", "docs/submitting.md"),
    ("statistics", "About the statistics", "docs/table.md"),
)


def build(results: Path, out: Path, project: Path = PROJECT) -> list[Problem]:
    """Render the results in the folder `results` into `out`, and say which files were left out.

    Raises UsageError where `out` holds something else than an earlier build, StorageError where it cannot
    be written.
    """
    out = out.absolute()
    if out.exists() and not (out / MARK).exists() and any(out.iterdir()):
        raise UsageError(
            "the folder holds something that is no site",
            where=f"--out {out}",
            expected="a folder that is not there, is empty, or holds an earlier build",
            fix="choose another folder; nothing was changed",
        )
    found, problems = load_files(results)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        made.chmod(0o755)
        (made / MARK).write_text("made by `ebbench site build`; it is replaced as a whole\n")
        _Site(found, problems, made, project).render()
        _replace(out, made)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return problems


class _Site:
    """One build: what is shown, and the templates that show it."""

    def __init__(
        self, files: Mapping[Path, Result], problems: list[Problem], out: Path, project: Path
    ) -> None:
        self.out, self.project, self.problems = out, project, problems
        self.found = found = list(files.values())
        self.files = {id(result): path for path, result in files.items()}
        by_task: dict[str, list[Result]] = defaultdict(list)
        for result in found:
            by_task[result.task.name].append(result)
        known = loader.names("task")
        self.tasks = [
            content.task(name, by_task[name], _plugin("task", name) if name in known else None)
            for name in sorted({*known, *by_task}, key=lambda name: (not by_task[name], name))
        ]
        models = {r.model.name for r in found} | set(loader.names("model"))
        self.methods = content.methods(
            self.tasks,
            {name: _plugin("model", name) if name in loader.names("model") else None for name in models},
            found,
        )
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
        words = [name for name, _, path in WORDS if (project / path).exists()]
        self.jinja.globals |= {
            "words": [(name, title) for name, title, _ in WORDS if name in words],
            "result_page": self._result_page,
            "place": export.place,
            "cost": content.cost,
            "external": EXTERNAL,
            "difference": content.difference,
            "called": charts.called,
            "method_page": lambda name: f"methods/{content.slug(name)}.html",
            "task_page": lambda name: f"tasks/{content.slug(name)}.html",
        }

    def render(self) -> None:
        """Write every page."""
        shutil.copytree(HERE / "static", self.out / "static")
        latest = sorted(self.found, key=lambda r: (r.created, r.run_id), reverse=True)[:10]
        shown = [task for task in self.tasks if task.rows]
        self._page(
            "index.html",
            "home.html",
            title="ebbench",
            tasks=self.tasks,
            matrix=matrix.rows(shown, self.methods),
            metrics={task.name: matrix.metric_of(task).name for task in shown},
            columns=shown,
            latest=latest,
            problems=self.problems,
        )
        for task in self.tasks:
            self._task(task)
        for method in self.methods:
            self._method(method)
        for result in self.found:
            self._result(result)
        self._words()

    def _task(self, task: content.TaskView) -> None:
        page = f"tasks/{content.slug(task.name)}"
        downloads = {}
        if task.rows:
            downloads = {
                "csv": export.as_csv(task.rows, task.metrics),
                "json": export.as_json(task.rows, task.metrics),
                "tex": export.as_latex(task.rows, task.shown),
            }
        if cited := content.bibtex(task, self.methods):
            downloads["bib"] = cited
        for ending, text in downloads.items():
            self._write(f"{page}.{ending}", text)
        self._page(
            f"{page}.html",
            "task.html",
            title=task.title,
            task=task,
            published={name for row in task.rows for name in row.published},
            columns=content.columns(task),
            notes=content.notes(task),
            readme=self._markdown(task.readme),
            charts=content.task_charts(task),
            gallery=content.gallery(task, self.files),
            downloads=[(ending, f"{content.slug(task.name)}.{ending}") for ending in downloads],
        )

    def _method(self, method: content.MethodView) -> None:
        page = f"methods/{content.slug(method.name)}"
        sources = []
        for path in method.sources:
            name = f"{page}-{path.name}.txt"
            self._write(name, path.read_text(encoding="utf-8"))
            sources.append((path.name, Path(name).name))
        self._page(
            f"{page}.html",
            "method.html",
            title=method.title,
            method=method,
            commands=content.commands(method),
            readme=self._markdown(method.readme),
            charts=content.method_charts(method),
            pictures=content.method_pictures(method, self.files),
            sources=sources,
        )

    def _result(self, result: Result) -> None:
        page = self._result_page(result)
        folder = self.out / Path(page).parent
        folder.mkdir(parents=True, exist_ok=True)
        source = self.files[id(result)]
        shutil.copyfile(source, folder / f"{result.run_id}.json")
        pictures = content.pictures(result, self.files)
        for _, picture in pictures:
            shutil.copyfile(picture, folder / picture.name)
        self._page(
            page,
            "result.html",
            title=result.run_id,
            result=result,
            raw=content.readable(result),
            pictures=[(name, picture.name) for name, picture in pictures],
        )

    def _words(self) -> None:
        for name, title, path in WORDS:
            source = self.project / path
            if source.exists():
                text = self._markdown(source.read_text(encoding="utf-8"))
                self._page(f"{name}.html", "words.html", title=title, text=text)
        figures = self.project / "docs" / "figures"
        if figures.is_dir():
            shutil.copytree(figures, self.out / "figures")

    def _page(self, path: str, template: str, **values: Any) -> None:
        root = "../" * path.count("/")
        text = self.jinja.get_template(template).render(root=root, path=path, **values)
        self._write(path, text)

    def _write(self, path: str, text: str) -> None:
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _result_page(self, result: Result) -> str:
        return (
            f"results/{content.slug(result.task.name)}/{content.slug(result.model.name)}/{result.run_id}.html"
        )

    def _markdown(self, text: str) -> Markup:
        """Markdown as HTML; tags in it are shown, not obeyed, and links to other Markdown go to its page."""
        html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
        html = re.sub(r'href="([^":]+)\.md(#[^"]*)?"', self._other_page, html)
        return Markup(html)

    def _other_page(self, match: re.Match[str]) -> str:
        target = Path(match[1])
        if target.name == "README" and target.parent.name in {task.name for task in self.tasks}:
            return f'href="tasks/{content.slug(target.parent.name)}.html"'
        pages = {Path(path).stem: name for name, _, path in WORDS}
        return f'href="{pages[target.name]}.html"' if target.name in pages else 'href="index.html"'


def _plugin(kind: loader.Kind, name: str) -> loader.Plugin | None:
    """A plug-in whose code loads, else None: a board must stand though one submission does not."""
    try:
        plugin = loader.load(kind, name)
        _ = plugin.card, plugin.cls
    except EbbenchError:
        return None
    return plugin


def _replace(out: Path, made: Path) -> None:
    """Put `made` in the place of `out`; at no moment is half of a site there."""
    old = made.with_name(made.name + ".old")
    if out.exists():
        os.replace(out, old)
    try:
        os.replace(made, out)
    except OSError:
        if old.exists():
            os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _unwritable(out: Path, error: OSError) -> StorageError:
    return StorageError(
        f"the site cannot be written: {error.strerror or error}",
        where=f"--out {out}",
        expected="a folder that can be written, with room in it",
        fix="choose another with --out; the old site is as it was",
    )
