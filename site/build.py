"""The build of the site: it turns `results/` and the cards into a folder of plain files.

A reader needs no network, no server and no script. The build works in a hidden folder and publishes its files
when all are made. It leaves out what it cannot show: a file that is no result, a plug-in that does not load,
a chart of odd values. The site names each of these, and the build reports it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ebbench.site import (
    charts,
    citing,
    comparisons,
    grids,
    home,
    matrix,
    method_page,
    more_pages,
    sources,
    task_page,
    task_table,
    views,
    wording,
    words,
)
from ebbench.site.addresses import method_page as method_address
from ebbench.site.addresses import result_page as result_address
from ebbench.site.addresses import slug
from ebbench.site.addresses import task_page as task_address
from ebbench.site.filled import Board
from ebbench.site.known import Known, Plugins, of_submission
from ebbench.site.pages import HERE, PROJECT, Pages, collector_at_rest, show_results
from ebbench.site.place import Place
from ebbench.site.prose import METHODS, TASKS, Prose
from markupsafe import Markup

import ebbench
from ebbench.board import claims as judging
from ebbench.board import names
from ebbench.board.currency import Today
from ebbench.board.names import Names
from ebbench.board.tiers import RANKED, own_task, tier_of
from ebbench.errors import EbbenchError, UsageError, shown
from ebbench.record.resultfiles import Problem, result_files
from ebbench.record.schema import Result

# How many results one process shows at a time. With fewer than two such shares, a second process would take
# longer to start than it saves.
SHARE = 250
MOST_PROCESSES = 8
# The folders of a checkout that a site may not be inside of.
SOURCES = ("site", "tasks", "baselines", "docs", "tests", "scripts", "benchmarks", ".git")


def build(results: Path, out: Path, project: Path = PROJECT, commands: Any = None) -> list[Problem]:
    """Render the results in the folder `results` into `out`, and return what was left out.

    `commands` is the command line (click). It gets a page of its own; without it there is no such page.

    Raises UsageError where there is no folder of results, where `out` holds something else than an earlier
    build, and where `out` lies among results or sources. Raises StorageError where `out` cannot be written.
    """
    if not results.is_dir():
        # An empty site would take the place of a full one.
        raise UsageError(
            "there is no folder of results",
            where=f"--results {shown(results)}",
            expected="a folder that `ebbench run` writes to; it may be empty",
            fix="name the right one; nothing was changed",
        )
    package = Path(ebbench.__file__).parent
    place = Place(out, [results, package, *(project / name for name in SOURCES if (project / name).exists())])
    # The collector comes back after the files are published: its first pass over all results takes seconds.
    with collector_at_rest(), place.building() as made:
        plugins = Plugins()
        decided = names.read(results)
        found, problems = _results(results, made, project, plugins, decided)
        site = _Site(results, found, plugins, Pages(made, project), project, decided)
        problems += site.render(problems, commands)
    return problems


def _results(
    folder: Path, out: Path, project: Path, plugins: Plugins, decided: Names
) -> tuple[dict[Path, Result], list[Problem]]:
    """Read the results and write their pages. Processes share this, most of the work on a large board."""
    files = result_files(folder)
    shares = [files[i : i + SHARE] for i in range(0, len(files), SHARE)]
    processes = min(len(shares), os.cpu_count() or 1, MOST_PROCESSES)
    if processes < 2:
        held = show_results(out, project, files, decided)
    else:
        # Spawn, do not fork: this process may have threads that hold locks.
        # They do without the collector also while they hand their results over.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, spawn, initializer=gc.disable) as pool:
            parts: list[Future[list[Result | Problem]]] = [
                pool.submit(show_results, out, project, share, decided) for share in shares
            ]
            plugins.load()
            held = [one for part in parts for one in part.result()]
    found = {file: one for file, one in zip(files, held, strict=True) if isinstance(one, Result)}
    problems = [one for one in held if isinstance(one, Problem)]
    return _with_ids_of_their_own(found, problems, folder, out, project, decided), problems


def _with_ids_of_their_own(
    found: Mapping[Path, Result],
    problems: list[Problem],
    folder: Path,
    out: Path,
    project: Path,
    decided: Names,
) -> dict[Path, Result]:
    """Return the results without those whose run id another file has. A row finds its results by run id.

    Of several files with one run id, one stays. A result of a ranked tier comes before one of another tier.
    Then a file at the path that a run of that name has comes before one elsewhere. Then the path decides.
    """

    def standing(file: Path) -> tuple[bool, bool, Path]:
        result = found[file]
        own = folder / result.task.name / result.model.name / f"{result.run_id}.json"
        return (tier_of(result, decided)[0] not in RANKED, file != own, file)

    first: dict[str, Path] = {}
    kept, again = {}, []
    for file in sorted(found, key=standing):
        result = found[file]
        if result.run_id not in first:
            first[result.run_id] = file
            kept[file] = result
            continue
        other = first[result.run_id]
        problems.append(Problem(file, f"its run id is that of {other.name} in {other.parent.name}/"))
        (out / result_address(result)).unlink(missing_ok=True)
        (out / result_address(result)).with_suffix(".json").unlink(missing_ok=True)
        again.append(other)
    # Two results with one run id may share a page. It was removed with the second: write the first's anew.
    show_results(out, project, again, decided)
    return {file: result for file, result in found.items() if file in kept}


def _title_of(task: views.TaskView, shown: judging.Shown) -> str:
    """The name on the pages of a row behind a verdict."""
    row = next(row for row in task.rows if row.runs == shown.runs)
    called = wording.called(row, [row])
    return f"{called}, {shown.apart}" if shown.apart else called


class _Site:
    """One build: it gathers and writes what every page shows, except the results' own pages."""

    def __init__(
        self,
        results: Path,
        files: Mapping[Path, Result],
        plugins: Plugins,
        pages: Pages,
        project: Path,
        decided: Names,
    ) -> None:
        self.pages, self.project, self.names = pages, project, decided
        self.found: list[Result] = []
        self.problems: list[Problem] = []
        self.files = {id(result): path for path, result in files.items()}
        by_task: dict[str, dict[Path, Result]] = defaultdict(dict)
        # By name and code: the tasks that came with submissions and are not installed here.
        brought: dict[tuple[str, str], dict[Path, Result]] = defaultdict(dict)
        today = Today(plugins.loaded)
        for path, result in files.items():
            own = own_task(result)
            if own and own != today.task_code(result.task.name):
                brought[result.task.name, own][path] = result
            else:
                by_task[result.task.name][path] = result
        known_tasks = {*plugins.names["task"], *by_task}
        self.tasks = []
        for name in sorted(known_tasks, key=lambda name: (not by_task[name], name)):
            task, problems = views.task(name, by_task[name], plugins.known("task", name), today, decided)
            self.tasks.append(task)
            self.found += task.results.values()
            self.problems += problems
        self.grids = grids.read(results)
        submitted = []
        for (name, own), those in sorted(brought.items()):
            task, problems = views.task(name, those, Known(), today, decided, own)
            submitted.append(task)
            self.found += task.results.values()
            self.problems += problems
        models = {result.model.name for result in self.found} | set(plugins.names["model"])
        known = {name: plugins.known("model", name) for name in models}
        known |= self._submitted(results, {name for name, one in known.items() if not one.here})
        self.methods = views.methods([*self.tasks, *submitted], known, self.found)
        self.problems += plugins.problems
        self.claims = list(self._judged())
        self.counted = judging.counted(one for _, found in self.claims for one in found)
        self.documents = words.documents(project, Board.of(self.tasks))
        self.prose = Prose(
            words={one.source: one.page for one in self.documents},
            tasks=frozenset(known_tasks),
            methods=frozenset(models),
        )

    def _submitted(self, results: Path, names: set[str]) -> dict[str, Known]:
        """What the board keeps of the submitted models among `names`, by name."""
        found: dict[str, Known] = {}
        for result in self.found:
            details = result.verification.details if result.verification else {}
            bundle = str(details.get("bundle", ""))
            if result.model.name in names - found.keys() and re.fullmatch("[0-9a-f]{64}", bundle):
                found[result.model.name] = of_submission(results / "submissions" / bundle[:16])
        return found

    def render(self, problems: Sequence[Problem], commands: Any) -> list[Problem]:
        """Write the pages and return the problems met meanwhile. The home page names these and `problems`."""
        shutil.copytree(HERE / "static", self.pages.out / "static")
        cards = {
            task.name: home.card(task, self.files, self.pages.out) for task in self.tasks if task.headline
        }
        for task in self.tasks:
            self._task(task, cards.get(task.name))
        refused = {
            self.files[id(task.results[run])]: notes
            for task in self.tasks
            for run, notes in task.refused.items()
        }
        show_results(self.pages.out, self.project, list(refused), self.names, refused)
        for method in self.methods:
            self._method(method)
        shown = [task for task in self.tasks if task.headline]
        rows = matrix.rows(shown, self.methods)
        more_pages.prose(self.pages, self.prose, self.documents, commands)
        more_pages.docs(self.pages, self.prose, self.documents, self.tasks, self.methods, commands)
        more_pages.compare(self.pages, shown, rows, self.methods)
        more_pages.changed(self.pages, self.prose, self.tasks)
        self._claims()
        self._home(shown, list(cards.values()), rows, [*problems, *self.problems])
        return self.problems

    def _home(
        self,
        shown: Sequence[views.TaskView],
        cards: Sequence[home.Card],
        rows: Sequence[matrix.MatrixRow],
        problems: Sequence[Problem],
    ) -> None:
        self.pages.page(
            "index.html",
            "home.html",
            title="ebbench",
            leaders=home.leaders(shown),
            cards=cards,
            tasks_without=[task for task in self.tasks if not task.headline],
            matrix=rows,
            metrics={task.name: matrix.metric_of(task) for task in shown},
            columns=shown,
            claims=self.counted if self.claims else {},
            latest=self._latest(10),
            problems=problems,
        )

    def _claims(self) -> None:
        self.pages.page(
            "claims.html",
            "claims.html",
            title="Claims",
            counts=self.counted,
            groups=self.claims,
            title_of=_title_of,
            has_protocols=(self.project / "docs" / "protocols.md").exists(),
        )

    def _judged(self) -> Iterator[tuple[views.TaskView, list[judging.Verdict]]]:
        """The claims of each task that has some, with their verdicts."""
        for task in self.tasks:
            if task.known.folder is None or not task.metrics:
                continue
            try:
                claims = judging.read(task.known.folder)
            except EbbenchError as error:
                self.problems.append(Problem(task.known.folder / judging.FILE, error.what))
                continue
            first = next(iter(task.known.protocols))
            found = [judging.judge(task.name, one, task.rows, task.metrics, first) for one in claims]
            if found:
                yield task, found

    def _latest(self, most: int) -> list[tuple[str, Result]]:
        """The newest of the results that were made or reproduced here, each with its tier."""
        newest = sorted(self.found, key=lambda r: (r.created, r.run_id), reverse=True)
        with_tiers = ((tier_of(result, self.names)[0], result) for result in newest)
        return list(islice(((tier, result) for tier, result in with_tiers if tier in RANKED), most))

    def _task(self, task: views.TaskView, card: home.Card | None) -> None:
        page = task_address(task.name)
        gallery = task_page.gallery(task, self.files)
        downloads = dict(task.downloads)
        if cited := citing.bibtex(task, self.methods):
            downloads["bib"] = cited
        for ending, text in downloads.items():
            self.pages.write(f"tasks/{slug(task.name)}.{ending}", text)
        self.pages.page(
            page,
            "task.html",
            title=task.title,
            task=task,
            published={name for row in task.rows for name in row.published},
            sentences=list(task_table.sentences(task)),
            blocks=task_table.blocks(task),
            shown=task_table.metrics(task),
            first=task_table.first(task),
            columns=task_table.columns(task),
            families={one.name: one.families for one in self.methods},
            metrics=more_pages.meanings(self.pages, task),
            notes=task_page.notes(task),
            readme=self._readme(task, TASKS, page),
            charts=self._charts(chain(task_page.drawings(task), grids.drawings(task, self.grids)), page),
            gallery=gallery,
            heroes=task_page.heroes(gallery),
            card=card,
            findings=words.about(self.documents, f"{TASKS}/{task.name}"),
            downloads=[(ending, f"{slug(task.name)}.{ending}") for ending in downloads],
            sources=self._sources(task, page),
        )

    def _method(self, method: views.MethodView) -> None:
        page = method_address(method.name)
        standings = method_page.standings(method)
        pictures = method_page.gallery(method, self.files)
        self.pages.page(
            page,
            "method.html",
            title=method.title,
            method=method,
            commands=method_page.commands(method, standings),
            findings=words.about(self.documents, f"{METHODS}/{method.name}"),
            comparisons=list(comparisons.of(method)),
            readme=self._readme(method, METHODS, page),
            charts=self._charts(method_page.drawings(method), page),
            standings=standings,
            leads=[one.task.title for one in standings if one.leads],
            trails=[one.task.title for one in standings if one.trails],
            unranked=[task.title for task in method_page.unranked(method, standings)],
            hero=next(iter(pictures), None),
            pictures=pictures[1:],
            cited=citing.entries({method.name: method.card}) if method.card else "",
            sources=self._sources(method, page),
            coloured=self._coloured(method),
        )

    def _charts(self, drawings: charts.Charts, page: str) -> list[tuple[charts.Chart, Markup]]:
        drawn, problems = charts.drawn(drawings, page)
        self.problems += problems
        return drawn

    def _readme(self, view: views.TaskView | views.MethodView, kind: str, page: str) -> Markup:
        return self.prose.html(view.known.readme, source=f"{kind}/{view.name}/README.md", page=page)

    def _sources(self, view: views.TaskView | views.MethodView, page: str) -> list[tuple[str, str]]:
        """Copy the code and the card of a plug-in beside its page; return each copy's name and address."""
        made = []
        for path in view.known.sources:
            name = f"{page.removesuffix('.html')}-{path.name.removesuffix('.txt')}.txt"
            self.pages.write(name, path.read_bytes())
            made.append((self._file_name(view, path), Path(name).name))
        return made

    def _file_name(self, view: views.TaskView | views.MethodView, path: Path) -> str:
        """The name of a source file in the plug-in's folder.

        The board keeps a submitted file under a name that begins with its place in the bundle ("model-").
        """
        plain = path.name.removesuffix(".txt")
        return plain.removeprefix("model-") if view.known.submitted else plain

    def _coloured(self, method: views.MethodView) -> Iterator[tuple[str, Markup]]:
        """The code of a method in colours, file by file."""
        for path in method.known.sources:
            name = self._file_name(method, path)
            text = path.read_text(encoding="utf-8", errors="replace")
            yield name, sources.coloured(text, name, ids="")
