"""The folder that a site is published in. It may also hold files that no build made; these stay untouched.

A build writes its files into a hidden folder inside. Then it moves them to their places one by one. Each move
replaces a whole file at once, and a page moves before the pages that link to it. At the end the build removes
the files of the earlier build that it did not make again. So a reader gets an old page or a new one, never
half of one, and meets no dead link. While the files move, which takes a fraction of a second, old and new
pages are mixed. (The two folders cannot simply be swapped: the published one would lose its `.git`, its mount
or a server's open handle on it.)

Before the first file moves, the build writes a list of all files that builds made. So the next build can
clear up after one that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ebbench.errors import EbbenchError, StorageError, UsageError, shown

# The name of the file that lists what builds made. A folder that holds this file is a site.
LIST = ".ebbench-site"
FORMAT = 1
# The most files that an error names.
MOST_NAMED = 5


class Place:
    """The folder to publish in. It need not exist yet. A link to it stays a link."""

    def __init__(self, out: Path, keep: Sequence[Path]) -> None:
        """Check that `out` can hold a site; change nothing.

        `keep` are the folders that a site may neither lie in nor contain: results, sources. Raises UsageError
        where `out` is unfit (see `_check`), StorageError where the system does not let it be read.
        """
        self.shown = f"--out {shown(out)}"
        try:
            # RuntimeError: a link that leads to itself.
            self.folder = out.expanduser().resolve()
            self._check(keep)
        except (OSError, RuntimeError) as error:
            raise self.unwritable(error) from error

    def _check(self, keep: Sequence[Path]) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise self._refused("a file is in the site's place", "a folder, or a name that is free")
        for folder in keep:
            kept = folder.resolve()
            if self.folder == kept or kept in self.folder.parents:
                raise self._refused(
                    f"the site would be among the files of {shown(folder)}", "a folder outside of it"
                )
            if self.folder in kept.parents:
                raise self._refused(
                    f"the folder holds {shown(folder)}, which is no part of a site",
                    "a folder of the site's own",
                )
        if self.folder.exists():
            self._made_before()

    def _made_before(self) -> frozenset[str]:
        """The files that earlier builds made. Raises UsageError for a folder that holds something else."""
        try:
            text = (self.folder / LIST).read_text(encoding="utf-8")
        except FileNotFoundError:
            if all(path.name.startswith(LIST) for path in self.folder.iterdir()):
                return frozenset()
            raise self._refused(
                "the folder holds something that is no site",
                "a folder that is not there, is empty, or holds an earlier build",
            ) from None
        try:
            found = json.loads(text)
            files = frozenset(found["files"]) if found["format"] == FORMAT else None
        except (ValueError, TypeError, KeyError):
            files = None
        if files is None or not all(isinstance(name, str) and _inside(name) for name in files):
            raise UsageError(
                "the site in the folder has no list of its files, so that yours cannot be told from them",
                where=f"{self.shown}: {LIST}",
                expected="a site that this version of ebbench built",
                fix="choose another folder, or remove the old site by hand; nothing was changed",
            )
        return files

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """Give a hidden folder to build in, and publish its files when the block ends without an error.

        Raises UsageError where another build is at work or a file of the user's is in the way. Raises
        StorageError where the folder cannot be written. What was published before is then as it was.
        """
        is_new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                for left in self.folder.glob(f"{LIST}-*"):
                    shutil.rmtree(left, ignore_errors=True)
                made = Path(tempfile.mkdtemp(prefix=f"{LIST}-", dir=self.folder))
                try:
                    yield made
                    self._publish(made)
                finally:
                    shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            raise self.unwritable(error) from error
        finally:
            if is_new:
                # This removes the folder only if it is empty.
                with contextlib.suppress(OSError):
                    self.folder.rmdir()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the folder against other builds. The system releases the lock when this process ends."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._refused("another build is at work in the folder", "one build at a time") from None
            yield
        finally:
            os.close(handle)

    def _publish(self, made: Path) -> None:
        new = sorted(_files_below(made))
        old = self._made_before()
        self._check_ways(new, old)
        self._write_list({*old, *new}, made)
        for parent in _parents(new):
            (self.folder / parent).mkdir(exist_ok=True)
        # A page of the first level links to those of lower ones.
        for name in sorted(new, key=lambda name: (-name.count("/"), name == "index.html", name)):
            os.replace(made / name, self.folder / name)
        for name in sorted(old.difference(new)):
            (self.folder / name).unlink(missing_ok=True)
        for parent in reversed(_parents(old)):
            # One that holds something stays.
            with contextlib.suppress(OSError):
                (self.folder / parent).rmdir()
        self._write_list(new, made)

    def _check_ways(self, new: Sequence[str], old: frozenset[str]) -> None:
        """Raises UsageError where a file, folder or link that no build made is in the way of one."""
        in_the_way = set()
        for parent in _parents({*new, *old}):
            folder = self.folder / parent
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                in_the_way.add(parent)
        for name in {*new, *old}:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink() or name not in old and os.path.lexists(path):
                in_the_way.add(name)
        if in_the_way:
            named = ", ".join(sorted(in_the_way)[:MOST_NAMED])
            more = len(in_the_way) - MOST_NAMED
            raise UsageError(
                "files that no build made are where the site's own would be",
                where=f"{self.shown}: {named}" + (f" and {more} more" if more > 0 else ""),
                expected="other files beside the site's, under names of their own",
                fix="move them, or choose another folder; nothing was changed",
            )

    def _write_list(self, names: Sequence[str] | set[str], made: Path) -> None:
        text = json.dumps({"format": FORMAT, "files": sorted(names)}, ensure_ascii=False, indent=0) + "\n"
        (made / LIST).write_text(text, encoding="utf-8")
        os.replace(made / LIST, self.folder / LIST)

    def _refused(self, what: str, expected: str) -> EbbenchError:
        fix = "choose another folder with --out; nothing was changed"
        return UsageError(what, where=self.shown, expected=expected, fix=fix)

    def unwritable(self, error: Exception) -> StorageError:
        """The error for a folder that cannot be made or written."""
        reason = getattr(error, "strerror", None) or error
        return StorageError(
            f"the site cannot be written: {reason}",
            where=self.shown,
            expected="a folder that can be written, with room in it",
            fix="choose another with --out; what was there is as it was",
        )


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the files in `folder` and below it, as paths relative to it."""
    for below, _, files in os.walk(folder):
        inside = os.path.relpath(below, folder)
        yield from (name if inside == os.curdir else f"{inside}/{name}" for name in files)


def _parents(names: Iterable[str]) -> list[str]:
    """The folders that hold the files of these names, each before those inside it."""
    found: set[str] = set()
    for name in names:
        while (name := posixpath.dirname(name)) and name not in found:
            found.add(name)
    return sorted(found)


def _inside(name: str) -> bool:
    """Whether a name of the list is that of a file inside the folder. Somebody may have edited the list."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
