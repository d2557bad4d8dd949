"""`results/` and the cards -> a folder of plain files.

No network, no server, no script needed to read it. A build is whole or not there: it is made beside the
old one and takes its place at the end. A result file that is none is left out, named, and reported.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from ebbench.site import content, matrix
from ebbench.site.pages import HERE, PROJECT, WORDS, Pages, show_results
from markdown_it import MarkdownIt
from markupsafe import Markup

from ebbench.board import export
from ebbench.errors import EbbenchError, StorageError, UsageError
from ebbench.plugins import loader
from ebbench.record.resultfiles import Problem, result_files
from ebbench.record.schema import Result

MARK = ".ebbench-site"
# Results that one process shows at a time; with fewer in all than two such shares a second process would
# take longer to start than it saves.
SHARE = 250
MOST_PROCESSES = 8


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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        made.chmod(0o755)
        (made / MARK).write_text("made by `ebbench site build`; it is replaced as a whole\n")
        found, problems = _results(results, made, project)
        _Site(found, problems, Pages(made, project), project).render()
        _replace(out, made)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return problems


def _results(folder: Path, out: Path, project: Path) -> tuple[dict[Path, Result], list[Problem]]:
    """Read the results and write their pages: most of the work on a large board, so processes share it."""
    files = result_files(folder)
    shares = [files[i : i + SHARE] for i in range(0, len(files), SHARE)]
    processes = min(len(shares), os.cpu_count() or 1, MOST_PROCESSES)
    if processes < 2:
        held = show_results(out, project, files)
    else:
        # Spawned, not forked: this process may hold threads, and locks with them.
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            parts: list[Future[list[Result | Problem]]] = [
                pool.submit(show_results, out, project, share) for share in shares
            ]
            _plugins()
            held = [one for part in parts for one in part.result()]
    found = {file: one for file, one in zip(files, held, strict=True) if isinstance(one, Result)}
    return found, [one for one in held if isinstance(one, Problem)]


def _plugins() -> None:
    """Import every plug-in; with torch that takes seconds, in which others may be at work."""
    for kind in loader.MODULES:
        for name in loader.names(kind):
            _plugin(kind, name)


class _Site:
    """One build: what is shown on every page but the results' own."""

    def __init__(
        self, files: Mapping[Path, Result], problems: Sequence[Problem], pages: Pages, project: Path
    ) -> None:
        self.pages, self.project, self.problems = pages, project, problems
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

    def render(self) -> None:
        """Write the pages."""
        shutil.copytree(HERE / "static", self.pages.out / "static")
        latest = sorted(self.found, key=lambda r: (r.created, r.run_id), reverse=True)[:10]
        shown = [task for task in self.tasks if task.rows]
        self.pages.page(
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
            self.pages.write(f"{page}.{ending}", text)
        self.pages.page(
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
            self.pages.write(name, path.read_text(encoding="utf-8"))
            sources.append((path.name, Path(name).name))
        self.pages.page(
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

    def _words(self) -> None:
        for name, title, path in WORDS:
            source = self.project / path
            if source.exists():
                text = self._markdown(source.read_text(encoding="utf-8"))
                self.pages.page(f"{name}.html", "words.html", title=title, text=text)
        figures = self.project / "docs" / "figures"
        if figures.is_dir():
            shutil.copytree(figures, self.pages.out / "figures")

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
