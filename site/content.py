"""What the pages say: results and cards, arranged for the templates."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbench.site import charts
from markupsafe import Markup, escape

from ebbench import contract
from ebbench.board import labels
from ebbench.board import table as tables
from ebbench.board.row import Cell, Reference, Row
from ebbench.contract import Metric
from ebbench.plugins import cards, introspection, loader
from ebbench.record.schema import Result

# Columns of a task's table beside the primary metrics, and methods in one chart; more is read by nobody.
MOST_METRICS, MOST_LINES = 6, 8
# From what is most worth showing to the least.
BUDGETS = ("paper", "cpu", "smoke")
LONGEST_LIST = 24


@dataclass(frozen=True)
class TaskView:
    """A task with its rows. `results` are by run id; `groups` are rows that may be compared, with a title."""

    name: str
    title: str
    card: cards.Card | None
    protocols: Mapping[str, str]
    version: int | None
    metrics: Sequence[Metric]
    published: Sequence[contract.Published]
    readme: str
    rows: Sequence[Row]
    results: Mapping[str, Result]

    @property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows by what they share, what stands for the task first."""
        return sorted(labels.groups(self.rows), key=lambda titled: self._standing(titled[1]))

    def _standing(self, group: Sequence[Row]) -> tuple[int, ...]:
        """Default protocol, the largest budget, the metric that the task names first, most models."""
        first = group[0]
        names = [metric.name for metric in self.metrics]
        protocol = list(self.protocols).index(first.protocol) if first.protocol in self.protocols else 9
        budget = BUDGETS.index(first.budget) if first.budget in BUDGETS else len(BUDGETS)
        metric = min((names.index(name) for name in first.metrics if name in names), default=len(names))
        models = sum(row.kind == "model" for row in group)
        return (protocol, budget, metric, -models, len(first.options))

    @property
    def shown(self) -> list[Metric]:
        """The metrics of the table: primary ones, those that were published, then the first others."""
        scored = {name for row in self.rows for name in row.metrics}
        of_papers = {name for row in self.rows for name in row.published}
        metrics = [metric for metric in self.metrics if metric.name in scored]
        if not metrics:
            return [
                Metric(name=name, unit="", better="neither", doc="") for name in sorted(scored)[:MOST_METRICS]
            ]
        first = [m for m in metrics if m.primary or m.name in of_papers]
        others = [m for m in metrics if m not in first]
        return [*first, *others[: max(0, MOST_METRICS - len(first))]]

    @property
    def primary(self) -> list[Metric]:
        """The primary metrics that were scored."""
        return [metric for metric in self.shown if metric.primary] or self.shown[:1]

    @property
    def headline(self) -> list[Row]:
        """The group that stands for the task."""
        return self.groups[0][1] if self.rows else []

    def results_of(self, row: Row) -> list[Result]:
        """The results of a row, by seed."""
        return [self.results[run] for run in row.runs]


@dataclass(frozen=True)
class MethodView:
    """A method with its rows on every task."""

    name: str
    title: str
    card: cards.ModelCard | None
    capabilities: Sequence[str]
    samplers: Sequence[str]
    scores: Sequence[str]
    readme: str
    sources: Sequence[Path]
    tasks: Sequence[tuple[TaskView, list[Row]]]

    @property
    def control(self) -> bool:
        """Whether all of it is a control."""
        return bool(self.card and self.card.kind == "control")


def task(name: str, results: Sequence[Result], plugin: loader.Plugin | None) -> TaskView:
    """The view of a task; `plugin` is None where no task of that name is known here."""
    cls = plugin.cls if plugin else None
    metrics = cls.metrics if cls else ()
    published = cls.published if cls else ()
    return TaskView(
        name=name,
        title=plugin.card.title if plugin else name,
        card=plugin.card if plugin else None,
        protocols=dict(cls.protocols) if cls else {},
        version=cls.version if cls else None,
        metrics=metrics,
        published=published,
        readme=_readme(plugin),
        rows=tables.rows(results, name, metrics=metrics, published=published),
        results={result.run_id: result for result in results},
    )


def methods(
    tasks: Sequence[TaskView], plugins: Mapping[str, loader.Plugin | None], results: Sequence[Result]
) -> list[MethodView]:
    """The view of every method, models before controls, by title."""
    titles = {result.model.name: result.model.title for result in results}
    made = []
    for name, plugin in plugins.items():
        rows = [(task, [row for row in task.rows if row.model == name]) for task in tasks]
        cls = plugin.cls if plugin else None
        sources = [] if plugin is None else [plugin.folder / file for file in ("model.py", "card.toml")]
        made.append(
            MethodView(
                name=name,
                title=plugin.card.title if plugin else titles.get(name) or name,
                card=plugin.card if plugin else None,
                capabilities=introspection.capabilities(cls) if cls else (),
                samplers=list(introspection.samplers(cls)) if cls else (),
                scores=list(introspection.scores(cls)) if cls else (),
                readme=_readme(plugin),
                sources=[path for path in sources if path.is_file()],
                tasks=[(task, found) for task, found in rows if found],
            )
        )
    return sorted(made, key=lambda m: (m.control, not m.tasks, m.title.lower()))


def difference(cell: Cell | None, reference: Reference | None) -> float | None:
    """Our mean less the published value."""
    return None if cell is None or reference is None else cell.interval.mean - reference.value


def cost(results: Sequence[Result]) -> dict[str, Any]:
    """What a row's trainings cost on average: seconds, on what, parameters, samples a second."""
    training = [result.training for result in results]
    trained_on = [result.training.provenance or result.provenance for result in results]
    rates = [r.scoring.samples_per_second for r in results if r.scoring.samples_per_second]
    first = trained_on[0]
    hardware = first.gpu.name if first.gpu else f"{first.cpu.model}, {first.cpu.threads} threads"
    shared = any(machine.gpu is not None and machine.gpu.shared for machine in trained_on)
    hardware += ", shared" if shared else ""
    return {
        "seconds": None if shared else sum(t.seconds for t in training) / len(training),
        "hardware": hardware.replace(", 1 threads", ", 1 thread"),
        "parameters": max(t.parameters for t in training),
        "rate": sum(rates) / len(rates) if rates else None,
    }


def task_charts(task: TaskView) -> list[tuple[str, str, Markup]]:
    """The charts of a task's page: title, what it shows, the SVG."""
    made: list[tuple[str, str, Markup]] = []
    for i, (title, group) in enumerate(task.groups):
        for metric in task.primary:
            able = [row for row in group if metric.name in row.metrics]
            if len(able) > 1 and not _all_equal(able, metric):
                chart = charts.intervals(
                    group, metric, f"{metric.name} by method: {title}", f"g{i}-{metric.name}"
                )
                said = "each seed (dots), mean (bar), 95 % interval (line), published (cross); controls muted"
                made.append((f"{metric.name}: {title}", said, chart))
    best = [row for row in task.headline if row.kind == "model"][:MOST_LINES]
    named = {charts.called(row): task.results_of(row) for row in best}
    for metric in task.primary:
        followed = {}
        for name, results in named.items():
            score = results[0].score
            series = f"{score}.{metric.name}" if score else metric.name
            if series in results[0].training.evaluations.series:
                followed[name] = (series, results)
        by_series: dict[str, dict[str, list[Result]]] = defaultdict(dict)
        for name, (series, results) in followed.items():
            by_series[series][name] = list(results)
        for series, group in by_series.items():
            chart = charts.along(group, series, f"{metric.name} along training", f"e-{series}", y=metric.name)
            if chart:
                made.append((f"{metric.name} along training ({series})", "a line a seed", chart))
    drawn = {}
    often = {}
    for name, results in named.items():
        details = results[0].details
        curves = details.get("drawn")
        chosen = curves.get(results[0].score) if isinstance(curves, dict) else None
        if isinstance(chosen, dict) and {"recall", "precision"} <= set(chosen):
            drawn[name] = chosen
        if isinstance(details.get("modes_by_count"), list):
            often[name] = details["modes_by_count"]
    if drawn:
        chart = charts.precision_recall(drawn, "precision against recall by method", "pr")
        made.append(("Precision and recall", "by the declared score, the first seed of each", chart))
    if often:
        chart = charts.counts(often, "how often each mode was met", "modes")
        made.append(("How often each mode was met", "the first seed of each", chart))
    return made


def _all_equal(rows: Sequence[Row], metric: Metric) -> bool:
    return len({row.metrics[metric.name].interval.mean for row in rows}) == 1


def gallery(task: TaskView, files: Mapping[int, Path]) -> list[tuple[str, str, str, Result]]:
    """Pictures side by side: row, which picture, its file on the site, its result; the first seed of each."""
    made = []
    for row in task.headline:
        result = task.results_of(row)[0]
        for name, picture in pictures(result, files[id(result)]):
            if not name.endswith("curves"):
                made.append((charts.called(row), name, f"{_folder(result)}/{picture.name}", result))
    return made


def pictures(result: Result, file: Path) -> list[tuple[str, Path]]:
    """The pictures of the result in `file` that are shown: PNGs beside it, no links (to who knows what)."""
    beside = [(name, file.parent / picture) for name, picture in result.pictures.items()]
    return [(n, p) for n, p in beside if p.is_file() and not p.is_symlink() and p.suffix == ".png"]


def method_charts(method: MethodView) -> list[tuple[str, str, Markup]]:
    """The training curves of a method on each task: one chart a series."""
    made = []
    for number, (task, rows) in enumerate(method.tasks):
        headline = [row for row in rows if row in task.headline and not row.variant] or rows
        results = [r for r in task.results_of(headline[0]) if len(r.training.curves.step) > 1]
        if not results:
            continue
        for series in list(results[0].training.curves.series)[:MOST_LINES]:
            chart = charts.along(
                {method.title: results},
                series,
                f"{series} of {method.title} on {task.title}",
                f"c{number}-{series}",
            )
            if chart:
                made.append((f"{task.title}: {series}", f"{headline[0].budget} budget, a line a seed", chart))
    return made


def method_pictures(method: MethodView, files: Mapping[int, Path]) -> list[tuple[str, str, str, Result]]:
    """The pictures of a method's first seed on each task."""
    made = []
    for task, rows in method.tasks:
        result = task.results_of(rows[0])[0]
        for name, picture in pictures(result, files[id(result)]):
            if not name.endswith("curves"):
                made.append((task.title, name, f"{_folder(result)}/{picture.name}", result))
    return made


def columns(task: TaskView) -> int:
    """The columns of a task's table."""
    of_papers = {name for row in task.rows for name in row.published}
    return 9 + sum(3 if metric.name in of_papers else 1 for metric in task.shown)


def notes(task: TaskView) -> list[str]:
    """What was left out or is not ranked, row by row."""
    return [
        f"{charts.called(row)}, {row.budget}, {row.protocol}: {note}"
        for row in task.rows
        for note in row.notes
    ]


def commands(method: MethodView) -> list[str]:
    """The command of each row, for all of its seeds."""
    made = []
    for task, rows in method.tasks:
        for row in rows:
            command = task.results_of(row)[0].provenance.command
            seeds = ",".join(map(str, row.seeds))
            made.append(re.sub(r"--seeds \S+$", f"--seeds {seeds}", command))
    return made


def _folder(result: Result) -> str:
    return f"results/{slug(result.task.name)}/{slug(result.model.name)}"


def readable(result: Result) -> list[tuple[str, Markup]]:
    """Everything in a result, section after section: its title, and its facts as HTML."""
    whole = result.model_dump(mode="json")
    top = [(key, _text(value)) for key, value in whole.items() if not isinstance(value, dict | list)]
    sections = [("identity", _facts(top))]
    for key, value in whole.items():
        if isinstance(value, dict | list) and value:
            pairs: list[tuple[str, str]] = []
            _flatten(value, "", pairs)
            sections.append((key, _facts(pairs)))
    return sections


# Stands between texts that are escaped as one; in a result it becomes "?", as no text of people has it.
MARK = "\x01"


def _facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """A list of terms; escaped as one text, since thousands of pages have hundreds of them each."""
    texts = [text for pair in pairs for text in pair]
    joined = MARK.join(texts)
    if joined.count(MARK) >= len(texts):
        joined = MARK.join(text.replace(MARK, "?") for text in texts)
    parts = str(escape(joined)).split(MARK) if texts else []
    terms = zip(parts[::2], parts[1::2], strict=True)
    html = "".join(f"<dt>{key}</dt><dd>{value}</dd>\n" for key, value in terms)
    return Markup(f'<dl class="facts">\n{html}</dl>')


def _flatten(value: Any, prefix: str, pairs: list[tuple[str, str]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{prefix}.{key}" if prefix else key, pairs)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, inner in enumerate(value):
            _flatten(inner, f"{prefix}[{i}]", pairs)
    else:
        pairs.append((prefix, _text(value)))


# json.dumps with an option makes an encoder at each call.
AS_JSON = json.JSONEncoder(ensure_ascii=False).encode


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        return f"{len(value)} values: {AS_JSON(value[:6])[1:-1]}, ... (all in the JSON)"
    return AS_JSON(value)


def bibtex(task: TaskView, all_methods: Sequence[MethodView]) -> str:
    """The papers of a task and of the methods with a row on it."""
    cards = {task.name: task.card} if task.card else {}
    cards |= {m.name: m.card for m in all_methods if m.card and any(t.name == task.name for t, _ in m.tasks)}
    entries = []
    for name, card in cards.items():
        if card is None or not card.paper:
            continue
        authors = re.split(r",\s*|;\s*", card.authors)
        fields = {
            "title": card.paper,
            "author": " and ".join(author for author in authors if author),
            "year": str(card.year or ""),
            "url": card.url,
        }
        key = f"{re.sub(r'[^a-z0-9]', '', name)}{card.year or ''}"
        lines = [f"  {field} = {{{_bibtex_text(value)}}}," for field, value in fields.items() if value]
        entries.append("\n".join([f"@misc{{{key},", *lines, "}"]))
    return "\n\n".join(entries) + "\n" if entries else ""


def _bibtex_text(text: str) -> str:
    return " ".join(re.sub(r"[{}\\]", "", text).replace("&", r"\&").replace("%", r"\%").split())


def spelled(cell: Cell) -> str:
    """Mean and half-width, as the command line has it."""
    return labels.spelled(cell.interval.mean, cell.interval.half_width)


def number(value: float | None) -> str:
    """A number in few digits."""
    return "" if value is None else f"{value:.6g}"


def hours(seconds: float | None) -> str:
    """A duration in words; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def web_address(text: str) -> str:
    """An address that may be linked: a card may come from a stranger, and "javascript:" is an address too."""
    return text if re.match(r"https?://[^\s]+$", text) else ""


def slug(name: str) -> str:
    """A name as part of a file's name: no separators, no surprises."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"


def _readme(plugin: loader.Plugin | None) -> str:
    path = plugin.folder / "README.md" if plugin else None
    if path is None or not path.is_file():
        return ""
    # The page has a title of its own.
    return re.sub(r"\A#[^\n]*\n", "", path.read_text(encoding="utf-8"))
