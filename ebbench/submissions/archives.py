"""Read and write zip files with a manifest, the transport format, and check them on arrival.

`manifest.json` holds a format and the SHA-256 of every other entry. Nothing in an archive is trusted before
it is checked: names must match the patterns of its kind, sizes are bounded before anything is decompressed,
every entry must be the one in the manifest, and nothing is extracted to a path that the archive chooses.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbench.errors import BundleError, StorageError
from ebbench.storage.files import write_atomically

MANIFEST = "manifest.json"

MOST_MANIFEST = 32 << 20

# Maximum compression ratio of entries that are compressed themselves, and the size below which it is not
# checked.
MOST_RATIO, FREE = 50, 1 << 20
# Bytes to hash at a time.
PIECE = 1 << 20

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# What zipfile raises for entries that are encrypted, of an unknown kind, broken, or at a negative offset.
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


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of archive: its name (`what`), the command that makes it (`maker`), and what it may contain.

    - `format`: the number of the format that the manifest must state.
    - `names`: the pattern that every entry's name must match.
    - `required`: the entries that must be present.
    - `most`: a function that gives the maximum decompressed bytes of an entry by its name.
    - `most_entries`, `most_all`: the maximum number of entries, and of their decompressed bytes together.
    - `most_kept`: the maximum bytes of the entries that are kept in memory.
    - `packed`: the pattern of entries that are compressed themselves. Such an entry is a zip bomb if it
      decompresses to many times its size.
    - `fix`: the advice that a refusal gives.
    """

    what: str
    maker: str
    format: int
    names: re.Pattern[str]
    required: Collection[str]
    most: Callable[[str], int]
    most_entries: int
    most_all: int
    most_kept: int
    packed: re.Pattern[str] | None = None
    fix: str = ""

    def refused(self, where: Path | str, found: str, expected: str = "") -> BundleError:
        """Return the error for a refused archive; the reason is cut, as it may quote long untrusted text."""
        name = where.name if isinstance(where, Path) else where
        return BundleError(
            f"the {self.what} is refused: {found[:500]}",
            where=name,
            expected=expected or f"a {self.what} of `{self.maker}`",
            fix=self.fix,
        )


def write(path: Path, kind: Kind, entries: Mapping[str, bytes]) -> None:
    """Write an archive of `entries`; equal content gives equal files. Raises StorageError."""
    files = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(entries.items())}
    manifest = json.dumps({"format": kind.format, "files": files}, indent=2).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in [(MANIFEST, manifest), *sorted(entries.items())]:
            packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise StorageError(
            f"the {kind.what} cannot be written: {error.strerror or error}",
            where=str(path),
            fix="choose another place with --out",
        ) from error


def read(path: Path, kind: Kind, keep: Callable[[str], bool]) -> tuple[str, dict[str, str], dict[str, bytes]]:
    """Check a whole archive. Return its SHA-256, the SHA-256 of each entry, and the content of kept entries.

    `keep` says by name whether the content of an entry is kept. Raises BundleError for any violation, and
    StorageError if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(
            f"the {kind.what} cannot be read: {error.strerror or error}",
            where=str(path),
            expected=f"a {kind.what} of `{kind.maker}`",
        ) from error
    try:
        if (count := _count(path)) > kind.most_entries:
            raise kind.refused(path, f"{count:,} entries", f"at most {kind.most_entries:,}")
        with zipfile.ZipFile(path) as packed:
            return (digest, *_entries(packed, path, kind, keep))
    except BROKEN as error:
        raise kind.refused(path, f"it is not a valid zip file: {error}") from error


def _count(path: Path) -> int:
    """The number of entries that the end of a zip file states; zipfile would read all entries to count."""
    with path.open("rb") as file:
        end = file.seek(0, io.SEEK_END)
        file.seek(max(0, end - 65_557))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    return int.from_bytes(tail[at + 10 : at + 12], "little") if at >= 0 else 0


def entry(path: Path, kind: Kind, name: str) -> bytes:
    """The content of one entry of a checked archive."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open(name) as file:
            return limited(file, name, path, kind)
    except BROKEN as error:
        raise kind.refused(path, f"it is not a valid zip file: {error}") from error


def limited(file: Any, name: str, path: Path, kind: Kind) -> bytes:
    """The content of an entry, whatever size its header states. Raises BundleError above the kind's limit."""
    most = MOST_MANIFEST if name == MANIFEST else kind.most(name)
    content: bytes = file.read(most + 1)
    if len(content) > most:
        raise kind.refused(path, f"{name} unpacks to more than its stated size", f"at most {most:,} bytes")
    return content


def _entries(
    packed: zipfile.ZipFile, path: Path, kind: Kind, keep: Callable[[str], bool]
) -> tuple[dict[str, str], dict[str, bytes]]:
    """Check all entries. Return the manifest and the content of the kept entries.

    The manifest must list every entry with its SHA-256.
    """
    infos = packed.infolist()
    if len(infos) > kind.most_entries:
        raise kind.refused(path, f"{len(infos):,} entries", f"at most {kind.most_entries:,}")
    if odd_ones := [info for info in infos if info.compress_type not in METHODS]:
        raise kind.refused(
            path, f"{odd_ones[0].filename[:80]!r} is compressed by an unusual method", "deflated or stored"
        )
    names = [info.filename for info in infos]
    for info in infos:
        if info.filename != MANIFEST and not kind.names.fullmatch(info.filename):
            raise kind.refused(
                path, f"an entry called {info.filename[:80]!r}", f"only the entries of a {kind.what}"
            )
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFREG):
            raise kind.refused(path, f"{info.filename} is not a plain file", "plain files, no links")
        most = MOST_MANIFEST if info.filename == MANIFEST else kind.most(info.filename)
        if info.file_size > most:
            raise kind.refused(path, f"{info.filename} holds {info.file_size:,} bytes", f"at most {most:,}")
        packed_twice = kind.packed is not None and kind.packed.fullmatch(info.filename)
        if packed_twice and info.file_size > max(FREE, MOST_RATIO * info.compress_size):
            raise kind.refused(
                path,
                f"{info.filename} unpacks {info.compress_size:,} bytes to {info.file_size:,}",
                "arrays that are compressed once",
            )
    # On a case-insensitive file system, these would be one file.
    if len({name.casefold() for name in names}) < len(names):
        (twice, _), *_ = Counter(name.casefold() for name in names).most_common(1)
        raise kind.refused(path, f"{twice} appears twice", "each entry once")
    if sum(info.file_size for info in infos) > kind.most_all:
        raise kind.refused(path, "it is too large when unpacked", f"at most {kind.most_all:,} bytes")
    if sum(info.file_size for info in infos if keep(info.filename)) > kind.most_kept:
        raise kind.refused(path, "its texts are too large", f"at most {kind.most_kept:,} bytes together")
    for needed in (MANIFEST, *kind.required):
        if needed not in names:
            raise kind.refused(path, f"there is no {needed}")
    manifest = _manifest(packed, path, kind)
    if set(manifest) != set(names) - {MANIFEST}:
        odd = sorted(set(manifest) ^ (set(names) - {MANIFEST}))
        raise kind.refused(
            path, f"the manifest and the entries differ in {', '.join(odd[:3])}", "all of them in both"
        )
    kept = {}
    for name in manifest:
        with packed.open(name) as file:
            content, found = _hashed(file, name, path, kind, keep(name))
        if found != manifest[name]:
            raise kind.refused(
                path, f"{name} has the SHA-256 {found}", f"{manifest[name]}, as the manifest says"
            )
        if content is not None:
            kept[name] = content
    return manifest, kept


def _hashed(file: Any, name: str, path: Path, kind: Kind, keep: bool) -> tuple[bytes | None, str]:
    """The content of an entry, or None if it is not kept, and its SHA-256.

    An entry that is not kept is never in memory as a whole.
    """
    if keep:
        content = limited(file, name, path, kind)
        return content, hashlib.sha256(content).hexdigest()
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
        if size > kind.most(name):
            raise kind.refused(
                path, f"{name} unpacks to more than its stated size", f"at most {kind.most(name):,} bytes"
            )
    return None, digest.hexdigest()


def _manifest(packed: zipfile.ZipFile, path: Path, kind: Kind) -> dict[str, str]:
    with packed.open(MANIFEST) as file:
        content = limited(file, MANIFEST, path, kind)
    expected = f'{{"format": {kind.format}, "files": {{name: SHA-256}}}}'
    try:
        raw: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise kind.refused(path, f"manifest.json is not JSON: {error}", expected) from error
    files = raw.get("files") if isinstance(raw, dict) else None
    if not isinstance(files, dict) or raw.get("format") != kind.format:
        raise kind.refused(path, "manifest.json does not have the expected form", expected)
    if not all(isinstance(v, str) and re.fullmatch(r"[0-9a-f]{64}", v) for v in files.values()):
        raise kind.refused(path, "manifest.json has a value that is not a SHA-256", expected)
    return files
