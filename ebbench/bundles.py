"""A submission as one file: results, the arrays that their metrics come from, the card, the code as text.

A bundle is a zip file:

    manifest.json              format, and the SHA-256 of every other entry
    card.toml, README.md       of the model
    model/<file>               its code, which nobody runs unless asked to
    results/<run id>.json      what is claimed
    artefacts/<run id>.npz     what the metrics are computed from (artefacts.py)

It comes from a stranger. Nothing in it is trusted before it is checked: names are of these forms and no
others, sizes are bounded before anything is unpacked, arrays are read without pickle, and nothing is ever
extracted to a path that the bundle names.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import stat
import struct
import tokenize
import tomllib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ebbench import loader, result
from ebbench.errors import BundleError, StorageError
from ebbench.files import write_atomically

FORMAT = 1
RUN = r"[A-Za-z0-9][A-Za-z0-9._+=,@-]{0,250}"
ENTRIES = re.compile(
    rf"manifest\.json|card\.toml|README\.md|model/[A-Za-z0-9_][A-Za-z0-9_.-]{{0,100}}"
    rf"|results/{RUN}\.json|artefacts/{RUN}\.npz"
)
ARRAY = re.compile(r"(?:[a-z0-9 -]{1,40}/)?(?:samples\.[a-z_]{1,40}|scores\.\d{1,4}\.[a-z_]{1,40})\.npy")
PLAIN = re.compile(r"(?:[a-z0-9 -]{1,40}/)?samples\.npy")
# Entries, bytes of a text, of an archive of arrays, and of all together when unpacked.
MOST_ENTRIES, MOST_TEXT, MOST_ARRAYS, MOST_ALL = 1000, 32 << 20, 2 << 30, 8 << 30
MOST_HEADER = 4096
# What zipfile raises for entries that are encrypted, of an unknown kind, broken, or before the file's begin.
BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    OSError,
)
# What numpy raises for a header of an array that is none: it tokenizes and evaluates a literal.
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
    """A bundle that was checked: its card, the SHA-256 and the text of its entries, its results by run id."""

    path: Path
    sha256: str
    card: loader.ModelCard
    digests: Mapping[str, str]
    texts: Mapping[str, bytes]
    results: Mapping[str, result.Result]

    def arrays(self, run_id: str) -> dict[str, np.ndarray]:
        """The arrays of one result. Raises BundleError for what is no plain array."""
        name = f"artefacts/{run_id}.npz"
        with zipfile.ZipFile(self.path) as whole, whole.open(name) as packed:
            content = _limited(packed, MOST_ARRAYS, name, self.path)
        return read_arrays(io.BytesIO(content), name)


def write(
    path: Path,
    *,
    folder: Path | None,
    card: bytes,
    results: Mapping[str, result.Result],
    arrays: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Pack a bundle; `folder` is the model's, whose code goes along, `card` the text of its card."""
    entries: dict[str, bytes] = {"card.toml": card}
    if folder is not None:
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name not in ("card.toml", "README.md"):
                entries[f"model/{file.name}"] = file.read_bytes()
        if (folder / "README.md").is_file():
            entries["README.md"] = (folder / "README.md").read_bytes()
    for run_id, made in results.items():
        text = result.canonical(made.model_dump(mode="json")) + "\n"
        entries[f"results/{run_id}.json"] = text.encode()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(arrays[run_id]))  # type: ignore[arg-type]
        entries[f"artefacts/{run_id}.npz"] = buffer.getvalue()
    for name in entries:
        if not ENTRIES.fullmatch(name):
            raise BundleError(
                f"'{name}' cannot go into a bundle",
                where=str(folder or path),
                expected="files directly in the model's folder, named in letters, digits, '_', '.' and '-'",
                fix="move or rename the file",
            )
    files = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(entries.items())}
    manifest = json.dumps({"format": FORMAT, "files": files}, indent=2).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in [("manifest.json", manifest), *sorted(entries.items())]:
            # The same time in every bundle: the same content is the same file.
            packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise StorageError(
            f"the bundle cannot be written: {error.strerror or error}", where=str(path)
        ) from error


def read(path: Path) -> Bundle:
    """Check a bundle and read all of it but the arrays. Raises BundleError for anything out of order."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(
            f"the bundle cannot be read: {error.strerror or error}",
            where=str(path),
            expected="a bundle of `ebbench submit`",
        ) from error
    try:
        with zipfile.ZipFile(path) as packed:
            digests, texts = _entries(packed, path)
    except BROKEN as error:
        raise _refused(path, f"it is no good zip file: {error}", "a bundle of `ebbench submit`") from error
    results = {}
    for name, text in texts.items():
        if name.startswith("results/"):
            made = result.parse(text, where=f"{path.name}: {name}")
            if name != f"results/{made.run_id}.json":
                raise _refused(path, f"{name} holds the run id '{made.run_id}'", "the run id as its name")
            results[made.run_id] = made
            if f"artefacts/{made.run_id}.npz" not in digests:
                raise _refused(path, f"{name} has no artefacts", f"artefacts/{made.run_id}.npz")
    if not results:
        raise _refused(path, "it holds no results", "at least one results/<run id>.json")
    return Bundle(path, digest, read_card(texts["card.toml"], path), digests, texts, results)


def _entries(packed: zipfile.ZipFile, path: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """The manifest, which must name every entry, and the entries but for the arrays, which it must fit."""
    infos = packed.infolist()
    if len(infos) > MOST_ENTRIES:
        raise _refused(path, f"{len(infos):,} entries", f"at most {MOST_ENTRIES:,}")
    names = [info.filename for info in infos]
    for info in infos:
        if not ENTRIES.fullmatch(info.filename):
            raise _refused(
                path, f"an entry called {info.filename[:80]!r}", "the entries of a bundle, no others"
            )
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _refused(path, f"{info.filename} is no plain file", "plain files, no links")
        most = MOST_ARRAYS if info.filename.startswith("artefacts/") else MOST_TEXT
        if info.file_size > most:
            raise _refused(path, f"{info.filename} holds {info.file_size:,} bytes", f"at most {most:,}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _refused(path, f"{twice} stands twice", "each entry once")
    if sum(info.file_size for info in infos) > MOST_ALL:
        raise _refused(path, "it unpacks to too much", f"at most {MOST_ALL:,} bytes")
    for needed in ("manifest.json", "card.toml"):
        if needed not in names:
            raise _refused(path, f"there is no {needed}", "a bundle of `ebbench submit`")
    manifest = _manifest(packed, path)
    if set(manifest) != set(names) - {"manifest.json"}:
        odd = sorted(set(manifest) ^ (set(names) - {"manifest.json"}))
        raise _refused(
            path, f"the manifest and the entries differ in {', '.join(odd[:3])}", "all of them in both"
        )
    texts = {}
    for name in manifest:
        most = MOST_ARRAYS if name.startswith("artefacts/") else MOST_TEXT
        with packed.open(name) as entry:
            content = _limited(entry, most, name, path)
        found = hashlib.sha256(content).hexdigest()
        if found != manifest[name]:
            raise _refused(path, f"{name} has the SHA-256 {found}", f"{manifest[name]}, as the manifest says")
        if not name.startswith("artefacts/"):
            texts[name] = content
    return manifest, texts


def _manifest(packed: zipfile.ZipFile, path: Path) -> dict[str, str]:
    with packed.open("manifest.json") as entry:
        content = _limited(entry, MOST_TEXT, "manifest.json", path)
    expected = f'{{"format": {FORMAT}, "files": {{name: SHA-256}}}}'
    try:
        raw: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"manifest.json is no JSON: {error}", expected) from error
    files = raw.get("files") if isinstance(raw, dict) else None
    if not isinstance(files, dict) or raw.get("format") != FORMAT:
        raise _refused(path, "manifest.json is not understood", expected)
    if not all(isinstance(v, str) and re.fullmatch(r"[0-9a-f]{64}", v) for v in files.values()):
        raise _refused(path, "manifest.json has a value that is no SHA-256", expected)
    return files


def _limited(entry: Any, most: int, name: str, path: Path) -> bytes:
    """All of an entry, however much its header says, up to `most` bytes."""
    content: bytes = entry.read(most + 1)
    if len(content) > most:
        raise _refused(path, f"{name} unpacks to more than it says", f"at most {most:,} bytes")
    return content


def read_arrays(file: BinaryIO, where: str, *, plain: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an npz file: uint8 or float32, in C order, none of them pickled. Raises BundleError.

    With `plain` an array may be called just "samples".
    """
    made = {}
    try:
        with zipfile.ZipFile(file) as packed:
            infos = packed.infolist()
            names = [info.filename for info in infos]
            if len(infos) > MOST_ENTRIES or len(set(names)) < len(names):
                raise _refused(where, f"{len(infos):,} arrays", f"at most {MOST_ENTRIES:,}, each once")
            if sum(info.file_size for info in infos) > MOST_ARRAYS:
                raise _refused(where, "the arrays are too large", f"at most {MOST_ARRAYS:,} bytes")
            for info in infos:
                if not (plain and PLAIN.fullmatch(info.filename)) and not ARRAY.fullmatch(info.filename):
                    names_known = f"{'samples, ' if plain else ''}samples.NAME, scores.N.NAME"
                    raise _refused(where, f"an array called {info.filename[:80]!r}", names_known)
                with packed.open(info) as entry:
                    made[info.filename.removesuffix(".npy")] = _array(entry, info, where)
    except BROKEN as error:
        raise _refused(
            where, f"it is no good npz file: {error}", "arrays written by `ebbench submit`"
        ) from error
    return made


def _array(entry: Any, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    expected = "uint8 or float32 in C order, without pickle"
    try:
        version = np.lib.format.read_magic(entry)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in reader:
            raise ValueError(f"npy version {version}")
        shape, fortran, kind = reader[version](entry, max_header_size=MOST_HEADER)
    except HEADER_ERRORS as error:
        raise _refused(where, f"{info.filename} is no array: {str(error)[:200]}", expected) from error
    if kind not in KINDS or fortran or any(not isinstance(n, int) or n < 0 for n in shape):
        raise _refused(where, f"{info.filename} is {kind} {shape}", expected)
    # By Python's integers: the product must not wrap around.
    size = kind.itemsize
    for n in shape:
        size *= n
    if size > info.file_size:
        raise _refused(
            where, f"{info.filename} says {shape} and holds {info.file_size:,} bytes", f"{size:,} bytes"
        )
    content = entry.read(size + 1)
    if len(content) != size:
        raise _refused(where, f"{info.filename} holds other than {size:,} bytes of values", expected)
    return np.frombuffer(content, kind).reshape(shape)


def read_card(text: bytes, where: Path | str) -> loader.ModelCard:
    """A model's card out of its text. Raises BundleError."""
    try:
        return loader.ModelCard.model_validate(tomllib.loads(text.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise _refused(
            where, f"card.toml is no model's card: {str(error)[:300]}", "name, title, ..."
        ) from error


def _refused(where: Path | str, found: str, expected: str) -> BundleError:
    name = where.name if isinstance(where, Path) else where
    # What a stranger wrote, names of entries among it, may be as long as he likes.
    return BundleError(f"the bundle is refused: {found[:500]}", where=name, expected=expected)
