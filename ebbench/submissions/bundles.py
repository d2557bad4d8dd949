"""Write and read bundles. A bundle is a submission in one file.

It holds results, the arrays that their metrics come from, the model's card, and the code as text. It is a zip
file:

    manifest.json              the format, and the SHA-256 of every other entry
    card.toml, README.md       of the model
    model/<file>               the model's code, which runs only if the user asks for it
    task/<file>                a task of the author's own, as text (submissions/tasks.py)
    results/<run id>.json      the claimed results
    artefacts/<run id>.npz     the arrays that the metrics are computed from (running/replay.py)

A bundle comes from a stranger. Nothing in it is trusted before it is checked. Entries have names of these
forms only. Sizes are bounded before anything is unpacked. Arrays are read without pickle. Nothing is ever
extracted to a path that the bundle names.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ebbench.errors import BundleError, PluginError, UsageError
from ebbench.plugins import cards
from ebbench.record import resultfiles, schema
from ebbench.submissions import archives

# A run id. It is short enough that a file name with a prefix and a suffix fits the limit of file systems.
RUN = r"[A-Za-z0-9][A-Za-z0-9._+=,@-]{0,149}"

ARRAY = re.compile(
    r"(?:[a-z0-9 -]{1,40}/)?(?:samples\.[\w-]{1,40}|scores\.\d{1,4}\.[\w-]{1,40})\.npy", re.ASCII
)

BARE = re.compile(r"(?:[a-z0-9 -]{1,40}/)?samples\.npy")

# The maximum number of entries, and the maximum bytes of one archive of arrays, of all entries together when
# unpacked, and of all texts together. `MOST_TEXT` gives the maximum bytes of one text by its place.
MOST_ENTRIES, MOST_ARRAYS, MOST_ALL, MOST_TEXTS = 1000, 2 << 30, 8 << 30, 256 << 20

MOST_TEXT = {
    "card.toml": 16 << 10,
    "README.md": 1 << 20,
    "model": 1 << 20,
    "task": 1 << 20,
    "results": 8 << 20,
}

MOST_HEADER = 4096

KIND = archives.Kind(
    what="bundle",
    maker="ebbench submit",
    format=1,
    names=re.compile(
        rf"card\.toml|README\.md|(?:model|task)/[A-Za-z0-9_][A-Za-z0-9_.-]{{0,100}}"
        rf"|results/{RUN}\.json|artefacts/{RUN}\.npz"
    ),
    required=("card.toml",),
    most=lambda name: MOST_TEXT.get(name.partition("/")[0], MOST_ARRAYS),
    most_entries=MOST_ENTRIES,
    most_all=MOST_ALL,
    most_kept=MOST_TEXTS,
    packed=re.compile(r"artefacts/.*"),
)

# An npz file that another program wrote. It holds the same arrays as a bundle.
NPZ = replace(
    KIND,
    what="npz file",
    maker="numpy.savez(path, samples=x)",
    fix="numpy.savez(path, samples=x), x = numpy.ascontiguousarray(values, numpy.float32); images: uint8",
)

# The errors that numpy raises for an invalid header of an array: it tokenizes and evaluates a literal.
HEADER_ERRORS = (
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)

KINDS = (np.dtype(np.uint8), np.dtype(np.float32))


@dataclass(frozen=True)
class Bundle:
    """A bundle that was checked.

    `sha256` is the hash of the whole file. `digests` has the SHA-256 of each entry by name, `texts` the
    content of each entry that is not an array, and `results` the claimed results by run id.
    """

    path: Path
    sha256: str
    card: cards.ModelCard
    digests: Mapping[str, str]
    texts: Mapping[str, bytes]
    results: Mapping[str, schema.Result]

    def arrays(self, run_id: str) -> Arrays:
        """The arrays of one result. Each is unpacked when it is first used. Raises BundleError."""
        name = f"artefacts/{run_id}.npz"
        return Arrays(io.BytesIO(archives.entry(self.path, KIND, name)), name)


def write(
    path: Path,
    *,
    folder: Path | None,
    card: bytes,
    results: Mapping[str, schema.Result],
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    task: Mapping[str, bytes] | None = None,
) -> None:
    """Write a bundle to `path`.

    `folder` is the model's folder, whose files become the code of the bundle; None for a bundle without code.
    `card` is the text of the model's card. `results` and `arrays` are by run id. `task` has the entries of a
    task of the author's own (submissions/tasks.py). Raises BundleError if a file cannot go into a bundle, and
    StorageError if the bundle cannot be written.
    """
    entries: dict[str, bytes] = {"card.toml": card, **(task or {})}
    if folder is not None:
        for file in sorted(folder.iterdir()):
            if (
                file.is_file()
                and not file.name.startswith(".")
                and file.name not in ("card.toml", "README.md")
            ):
                entries[f"model/{file.name}"] = file.read_bytes()
            elif file.is_dir() and not file.name.startswith((".", "__pycache__")):
                raise BundleError(
                    f"'{file.name}' cannot go into a bundle",
                    where=str(folder),
                    expected="a folder of files, without folders",
                    fix="move its files into the model's folder",
                )
        if (folder / "README.md").is_file():
            entries["README.md"] = (folder / "README.md").read_bytes()
    for run_id, made in results.items():
        text = schema.canonical(made.model_dump(mode="json")) + "\n"
        entries[f"results/{run_id}.json"] = text.encode()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(arrays[run_id]))  # type: ignore[arg-type]
        entries[f"artefacts/{run_id}.npz"] = buffer.getvalue()
    for name in entries:
        if not KIND.names.fullmatch(name):
            raise BundleError(
                f"'{name}' cannot go into a bundle",
                where=str(folder or path),
                expected="files directly in the model's folder, named in letters, digits, '_', '.' and '-'",
                fix="move or rename the file",
            )
    archives.write(path, KIND, entries)


def check_place(path: Path, *, folder: Path | None, results: Path) -> None:
    """Check that a bundle may be written to `path`. Only an earlier bundle is ever overwritten.

    Raises UsageError if `path` is a folder, a link or another file, or lies in the model's folder or in the
    folder of results.
    """
    expected = "a new file, or an earlier bundle"
    fix = "choose another --out; nothing was written"
    if path.is_symlink() or (path.exists() and not path.is_file()):
        kind = "a link" if path.is_symlink() else "not a file"
        raise UsageError(f"{path} is {kind}", where="--out", expected=expected, fix=fix)
    for inside in (folder, results):
        if inside is not None and path.resolve().is_relative_to(inside.resolve()):
            raise UsageError(
                f"{path} lies in {inside}", where="--out", expected=f"a place outside of {inside}", fix=fix
            )
    if path.exists() and not _is_bundle(path):
        raise UsageError(
            f"{path} exists already and is not a bundle", where="--out", expected=expected, fix=fix
        )


def _is_bundle(path: Path) -> bool:
    """Whether a file looks like a bundle: it is a zip file with a manifest."""
    try:
        with zipfile.ZipFile(path) as packed:
            return archives.MANIFEST in packed.namelist()
    except archives.BROKEN:
        return False


def read(path: Path) -> Bundle:
    """Check a bundle and read all of it except the arrays. Raises BundleError for any violation."""
    digest, digests, texts = archives.read(path, KIND, lambda name: not name.startswith("artefacts/"))
    results = {}
    if (
        any(name.startswith("task/") for name in texts)
        and not {"task/task.py", "task/card.toml"} <= texts.keys()
    ):
        raise KIND.refused(path, "its task is incomplete", "task/task.py and task/card.toml")
    for name, text in texts.items():
        if name.startswith("task/") and not is_text(text):
            raise KIND.refused(path, f"{name} is not text", "a task's folder of text files in UTF-8")
        if name.startswith("results/"):
            made = resultfiles.parse(text, where=f"{path.name}: {name}")
            if name != f"results/{made.run_id}.json":
                raise KIND.refused(path, f"{name} holds the run id '{made.run_id}'", "the run id as its name")
            results[made.run_id] = made
            if f"artefacts/{made.run_id}.npz" not in digests:
                raise KIND.refused(path, f"{name} has no artefacts", f"artefacts/{made.run_id}.npz")
    if not results:
        raise KIND.refused(path, "it holds no results", "at least one results/<run id>.json")
    return Bundle(path, digest, read_card(texts["card.toml"], path), digests, texts, results)


def is_text(content: bytes) -> bool:
    """Whether `content` is text in UTF-8 without a null character."""
    try:
        return "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def read_arrays(file: BinaryIO, where: str, *, plain: bool = False) -> dict[str, np.ndarray]:
    """Read all arrays of an npz file. `Arrays` describes the checks and `plain`. Raises BundleError."""
    return dict(Arrays(file, where, plain=plain))


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of an npz file by name: uint8 or float32, in C order, not pickled.

    All headers are read at once. The values of an array are read when the array is first used. So a caller
    can look at `header` and leave an array that it does not need unpacked. With `plain`, an array may be
    called just "samples". Raises BundleError.
    """

    def __init__(self, file: BinaryIO, where: str, *, plain: bool = False) -> None:
        self._where = where
        self._form = form = NPZ if plain else KIND
        self._fix = (
            "a file of numpy.savez(path, samples=x)" if plain else "arrays written by `ebbench submit`"
        )
        self._read: dict[str, np.ndarray] = {}
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        try:
            self._packed = zipfile.ZipFile(file)
            infos = self._packed.infolist()
            names = [info.filename for info in infos]
            if len(infos) > MOST_ENTRIES or len(set(names)) < len(names):
                raise form.refused(where, f"{len(infos):,} arrays", f"at most {MOST_ENTRIES:,}, each once")
            if sum(info.file_size for info in infos) > MOST_ARRAYS:
                raise form.refused(where, "the arrays are too large", f"at most {MOST_ARRAYS:,} bytes")
            for info in infos:
                if not (plain and BARE.fullmatch(info.filename)) and not ARRAY.fullmatch(info.filename):
                    names_known = f"{'samples, ' if plain else ''}samples.NAME, scores.N.NAME"
                    raise form.refused(where, f"an array called {info.filename[:80]!r}", names_known)
                name = info.filename.removesuffix(".npy")
                with self._packed.open(info) as entry:
                    self._infos[name], self._headers[name] = info, _header(entry, info, where, form)
        except archives.BROKEN as error:
            raise form.refused(where, f"it is not a valid npz file: {error}", self._fix) from error

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """The shape and dtype of an array by its header. No values are unpacked."""
        return self._headers[name]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            info = self._infos[name]
            try:
                with self._packed.open(info) as entry:
                    self._read[name] = _array(entry, info, self._where, self._form)
            except archives.BROKEN as error:
                raise self._form.refused(
                    self._where, f"it is not a valid npz file: {error}", self._fix
                ) from error
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        # The method of Mapping would ask for the value, which unpacks it.
        return name in self._infos

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)


_EXPECTED = "uint8 or float32 in C order, without pickle"


def _header(
    entry: Any, info: zipfile.ZipInfo, where: str, form: archives.Kind
) -> tuple[tuple[int, ...], np.dtype]:
    """Read the shape and dtype of an npy entry. Afterwards the entry stands where its values begin."""
    try:
        version = np.lib.format.read_magic(entry)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in reader:
            raise ValueError(f"npy version {version}")
        shape, fortran, kind = reader[version](entry, max_header_size=MOST_HEADER)
    except HEADER_ERRORS as error:
        raise form.refused(
            where, f"{info.filename} is not an array: {str(error)[:200]}", _EXPECTED
        ) from error
    order = " in Fortran order" if fortran else ""
    if kind not in KINDS or fortran or any(type(n) is not int or n < 0 for n in shape):
        raise form.refused(where, f"{info.filename} is {kind} {shape}{order}", _EXPECTED)
    size = _size(shape, kind)
    if size > info.file_size:
        raise form.refused(
            where, f"{info.filename} has shape {shape}, but {info.file_size:,} bytes", f"{size:,} bytes"
        )
    return shape, kind


def _size(shape: tuple[int, ...], kind: np.dtype) -> int:
    # Python's integers cannot overflow; numpy's could.
    return math.prod(shape, start=kind.itemsize)


def _array(entry: Any, info: zipfile.ZipInfo, where: str, form: archives.Kind) -> np.ndarray:
    shape, kind = _header(entry, info, where, form)
    size = _size(shape, kind)
    content = entry.read(size + 1)
    if len(content) != size:
        raise form.refused(where, f"{info.filename} does not hold {size:,} bytes of values", _EXPECTED)
    return np.frombuffer(content, kind).reshape(shape)


def read_card(text: bytes, where: Path | str) -> cards.ModelCard:
    """Parse the text of a model's card. Raises BundleError."""
    try:
        card = cards.read_card("model", text, of="submitted", where=str(where))
    except PluginError as error:
        raise KIND.refused(
            where, f"card.toml is not a model's card: {error.what[:300]}", error.expected
        ) from error
    assert isinstance(card, cards.ModelCard)
    return card
