"""Handle the author's own task in a bundle: its folder as text. It runs only if the user allows it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ebbench.board.tiers import OWN_TASK, own_task
from ebbench.errors import BundleError, PluginError, UsageError
from ebbench.plugins import cards, loader
from ebbench.record.schema import Result
from ebbench.storage.files import write_atomically
from ebbench.submissions.bundles import Bundle, is_text
from ebbench.submissions.checking import Check, first_bad
from ebbench.submissions.naming import like

FOLDER = "task/"


def to_pack(runs: Sequence[Result], named: str) -> loader.Plugin | None:
    """The task whose folder goes into the bundle of `runs`; None if every board has all tasks of the runs.

    `named` is the folder or name that the user gave. If it is "", the task is looked for in the folder where
    the command runs. Raises UsageError for a task that ebbench has, for a task that none of the runs uses,
    and if the runs use more than one task of the author's own.
    """
    of_runs = {run.task.name for run in runs}
    if named:
        plugin = loader.load("task", named)
        if plugin.name in loader.built_in("task") or plugin.name not in of_runs:
            raise UsageError(
                f"'{plugin.name}' is a task that every board has"
                if plugin.name in loader.built_in("task")
                else f"none of the runs uses task '{plugin.name}'",
                where="--task",
                expected="the folder of your own task that the runs use",
                fix="leave out --task, or give the folder of the right task",
            )
        of_runs -= {plugin.name}
    missing = sorted(of_runs - set(loader.names("task")))
    if len(missing) > (0 if named else 1):
        raise UsageError(
            f"the runs use {len(missing) + bool(named)} tasks of your own",
            where="--task" if named else "the results",
            expected="one such task in a bundle",
            fix="submit the runs of each task separately, named by --runs",
        )
    if named:
        return plugin
    return loader.load("task", missing[0]) if missing else None


def pack(plugin: loader.Plugin) -> dict[str, bytes]:
    """The entries of a task's folder. Raises BundleError for a folder in it or a file that is not text."""
    entries = {}
    for file in sorted(plugin.folder.iterdir()):
        if file.name.startswith((".", "__pycache__")):
            continue
        if not file.is_file() or not is_text(content := file.read_bytes()):
            raise BundleError(
                f"'{file.name}' of the task cannot go into a bundle",
                where=str(plugin.folder),
                expected="a folder of text files in UTF-8, without folders",
                fix="move it away; the task's code must make its data or find them elsewhere",
            )
        entries[FOLDER + file.name] = content
    return entries


def has_own(bundle: Bundle) -> bool:
    """Whether a bundle brings a task."""
    return any(name.startswith(FOLDER) for name in bundle.texts)


def named(bundle: Bundle) -> str:
    """The name of the task that a bundle brings, or "" if it brings none. Raises BundleError."""
    return _card(bundle).name if has_own(bundle) else ""


@contextmanager
def usable(bundle: Bundle, board: Sequence[Result], *, trusted: bool) -> Iterator[str]:
    """Within this context, the task that a bundle brings can be loaded by its name. Yields its code's hash.

    Yields "" if the bundle brings no task, or if a task of that name with the same code is installed here.
    In the second case the installed one runs. With `trusted`, THE TASK'S CODE RUNS IN THIS PROCESS when it is
    loaded. Raises UsageError if the code would have to run and is not `trusted`, and BundleError if the task
    does not match its name or its results.
    """
    if not has_own(bundle):
        yield ""
        return
    with tempfile.TemporaryDirectory() as scratch:
        plugin = unpacked(bundle, Path(scratch))
        first_bad(checks(bundle, plugin, board))
        if plugin.name in loader.names("task"):
            yield ""
            return
        if not trusted:
            raise UsageError(
                f"the bundle brings its own task '{plugin.name}': scoring it would run its author's code",
                where=f"{bundle.path.name}: task/task.py",
                expected="--trust-task, after you have read the code",
                fix="read all of task/, then give --trust-task. Or give --claimed, which runs "
                "nothing and adds the results as claimed",
            )
        with loader.lent(plugin):
            yield plugin.code_hash


def unpacked(bundle: Bundle, folder: Path) -> loader.Plugin:
    """Write the task's folder of a bundle below `folder`. None of its code runs.

    The names in a checked bundle are plain file names, so no file can land elsewhere.
    """
    place = folder / _card(bundle).name
    for name, text in bundle.texts.items():
        if name.startswith(FOLDER):
            write_atomically(place / name.removeprefix(FOLDER), text)
    return loader.Plugin("task", place)


def checks(bundle: Bundle, plugin: loader.Plugin, board: Sequence[Result]) -> Iterable[Check]:
    """Check that a task of a bundle may have its name and title, and is the one that the results used."""
    card, name = "task/card.toml", plugin.name
    built_in = {one: loader.load("task", one) for one in loader.built_in("task")}
    taken = [text for one, own in built_in.items() for text in (one, own.card.title)]
    for field, said in (("name", name), ("title", plugin.card.title)):
        similar = like(said, taken)
        cure = f"it looks like '{similar}', a task of this project: choose another"
        yield Check(card, field, said, "a different one" if similar else said, cure)
    try:
        code = (plugin.code_hash, plugin.data_code_hash)
    except PluginError as error:
        raise BundleError(f"the task is refused: {error.what}", where="task/") from error
    if name not in built_in and name in loader.names("task"):
        here = loader.load("task", name).code_hash
        yield Check(
            card, "code", code[0], here, f"a task '{name}' with other code is here: choose another name"
        )
    other = next(
        (made for made in board if made.task.name == name and own_task(made) not in ("", code[0])), None
    )
    found = f"that of a task of {other.model.name} on the board" if other else name
    yield Check(card, "name", found, name, "choose another: the code is not the same")
    own = [made for made in bundle.results.values() if made.task.name == name]
    yield Check("task", "results", str(min(len(own), 1)), "1", "leave out a task that no result uses")
    cure = "submit the code that was run, with all that it imports, in the task's folder"
    for made in own:
        file, said_ = f"results/{made.run_id}.json", (made.task.code_hash, made.task.data_code_hash)
        yield Check(file, "task.code_hash", " ".join(said_), " ".join(code), cure)


def details(run: Result, bundle: Bundle, code: str) -> dict[str, Any]:
    """What the board keeps with a result: the hash `code` if the result is of the bundle's own task."""
    return {OWN_TASK: code} if code and run.task.name == named(bundle) else {}


def _card(bundle: Bundle) -> cards.TaskCard:
    try:
        card = cards.read_card(
            "task", bundle.texts["task/card.toml"], of="the bundle", where="task/card.toml"
        )
    except PluginError as error:
        raise BundleError(f"the task is refused: {error.what}", where=f"{bundle.path.name}: task/") from error
    assert isinstance(card, cards.TaskCard)
    return card
