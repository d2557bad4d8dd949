"""The user's own pictures: a folder or zip file, at any depth, converted to squares of one size.

Folder names are not labels, so torchvision's ImageFolder layout (a folder per class) is treated like any
other folder. Nothing is written and nothing downloaded.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ebbench.errors import DataError, DataMissing
from ebbench.storage.files import home

Images = NDArray[np.uint8]
Crop = Literal["centre", "celeba"]
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Width and height of CelebA's aligned pictures, and the side of the central square to keep.
CELEBA, CELEBA_SIDE = (178, 218), 108
# Maximum number of unreadable pictures that an error names; the others are only counted.
MOST_NAMED = 50


@dataclass(frozen=True)
class Pictures:
    """A folder or zip file and the sorted names of its pictures; `state` shows whether it has changed."""

    path: Path
    names: tuple[str, ...]
    state: tuple[int, ...]


def locate(path: str, data_dir: Path | None) -> Path:
    """The folder or zip file called `path`: as given, else in `data_dir` or the data folders.

    Raises DataMissing if it is in none of them.
    """
    given = Path(path).expanduser()
    shared = os.environ.get("EBBENCH_DATA", "")
    folders = [data_dir] if data_dir is not None else [Path(shared)] if shared else []
    places = [given, *(folder / given for folder in [*folders, home() / "data"])]
    for place in places:
        if place.exists():
            return place
    raise DataMissing(
        f"there are no pictures at '{path}'",
        where="--set path",
        expected="a folder of pictures, or a zip of them; looked for " + ", ".join(map(str, places)),
        fix="give the path of one, or put it in the folder of --data-dir or EBBENCH_DATA",
    )


def listed(path: Path) -> Pictures:
    """The pictures in a folder or zip file, by file suffix; hidden files are ignored.

    Raises DataError for a file that is not a zip file, and if there is no picture.
    """
    if path.is_dir():
        found = []
        for folder, folders, files in os.walk(path, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inner = Path(folder).relative_to(path)
            found += [(inner / name).as_posix() for name in files if _is_picture(name)]
        names = tuple(sorted(found))
        stats = [(path / name).stat() for name in names]
        state = (len(names), sum(s.st_size for s in stats), sum(s.st_mtime_ns for s in stats))
    else:
        with _zipped(path) as archive:
            # macOS adds a hidden file in the folder __MACOSX for each file.
            inside = [info.filename for info in archive.infolist() if not info.is_dir()]
        names = tuple(sorted(name for name in inside if _is_picture(PurePosixPath(name).name)))
        stat = path.stat()
        state = (len(names), stat.st_size, stat.st_mtime_ns)
    if not names:
        raise DataError(
            "there is no picture in it",
            where=str(path),
            expected="files whose names end in " + ", ".join(SUFFIXES) + ", at any depth",
            fix="name the folder or zip that holds the pictures themselves",
        )
    return Pictures(path, names, state)


@lru_cache(maxsize=4)
def digest(pictures: Pictures) -> str:
    """SHA-256 of the sorted names and the bytes of all pictures, without the folder's name."""
    whole = hashlib.sha256()
    for name, content in _contents(pictures, pictures.names):
        own = hashlib.sha256(content).hexdigest()
        whole.update(f"{own} {name}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


@lru_cache(maxsize=1)
def load(pictures: Pictures, names: tuple[str, ...], size: int, crop: Crop) -> Images:
    """The pictures called `names`, in that order, as squares of `size` pixels: uint8 (n, 3, size, size).

    The array is cached and shared: copy it before changing it. Raises DataError, which names the pictures
    that cannot be read.
    """
    images = np.empty((len(names), 3, size, size), np.uint8)
    bad = []
    for i, (name, content) in enumerate(_contents(pictures, names)):
        try:
            with Image.open(BytesIO(content)) as opened:
                images[i] = square(opened, size, crop)
        # Pillow's readers may raise anything on a broken file: OSError, ValueError, SyntaxError, ...
        except Exception as error:
            bad.append(f"{name}: {_said(error)}")
    if bad:
        more = [f"and {len(bad) - MOST_NAMED:,} more"] if len(bad) > MOST_NAMED else []
        raise DataError(
            f"{len(bad):,} of {len(names):,} pictures cannot be used",
            where="\n    ".join([str(pictures.path), *bad[:MOST_NAMED], *more]),
            expected="pictures that are whole, of 8 bits a channel"
            + (f", of {CELEBA[0]}x{CELEBA[1]} pixels" if crop == "celeba" else ""),
            fix="repair or remove them" + (", or leave crop=celeba out" if crop == "celeba" else ""),
        )
    return images


def chosen(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    """All names, or `most` of them, evenly spaced in their order."""
    if most <= 0 or most >= len(names):
        return names
    return tuple(names[i * len(names) // most] for i in range(most))


def square(picture: Image.Image, size: int, crop: Crop) -> Images:
    """One picture as uint8 (3, size, size), cropped to a square and resized by Pillow's antialiased bicubic.

    "centre" keeps the largest central square. "celeba" keeps the central 108x108 pixels of an aligned CelebA
    picture, as DCGAN's code does. Grey becomes RGB, and transparent areas become white. Raises ValueError for
    a picture without CelebA's size under "celeba", or with more than 8 bits per channel.
    """
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"it has more than 8 bits a channel (mode {picture.mode})")
    width, height = picture.size
    side = min(width, height)
    if crop == "celeba":
        if (width, height) != CELEBA:
            raise ValueError(f"it is of {width}x{height} pixels, and no aligned picture of CelebA")
        side = CELEBA_SIDE
    left, top = (width - side) // 2, (height - side) // 2
    cut = opaque(picture.crop((left, top, left + side, top + side)))
    resized = cut if side == size else cut.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)


def opaque(picture: Image.Image) -> Image.Image:
    """The picture in RGB, with transparent areas white."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("RGB")
    return picture.convert("RGB")


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _said(error: Exception) -> str:
    """The problem in a few words; Pillow's message names only its buffer, which tells nothing."""
    text = str(error).split("\n")[0]
    return "it is no picture, or a broken one" if not text or "BytesIO" in text else text


def _contents(pictures: Pictures, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The bytes of each picture, by name. Raises DataError for one that cannot be read."""
    with _reading(pictures.path) as read:
        for name in names:
            try:
                content = read(name)
            # RuntimeError: a zip file with a password. KeyError, BadZipFile: a truncated one.
            except (OSError, RuntimeError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
                raise DataError(
                    f"a picture cannot be read: {error}",
                    where=f"{pictures.path}: {name}",
                    expected="a file that can be read, in a zip without a password",
                    fix="copy the pictures anew",
                ) from error
            yield name, content


@contextmanager
def _reading(path: Path) -> Iterator[Callable[[str], bytes]]:
    if path.is_dir():
        yield lambda name: (path / name).read_bytes()
    else:
        with _zipped(path) as archive:
            yield archive.read


@contextmanager
def _zipped(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"it is neither a folder nor a zip: {error}",
            where=str(path),
            expected="a folder of pictures, or a zip of them",
            fix="unpack it and name the folder; the pictures in a database (LSUN) are written to files first",
        ) from error
    with archive:
        yield archive
