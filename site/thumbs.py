"""Small copies of results' pictures, so that a page with many of them is light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

# Twice the width of a card on a phone is more than a sheet of samples has.
WIDTH = 400
QUALITY = 60
# Pixels of a picture that is opened: a file of a few bytes may claim more.
MOST_PIXELS = 16_000_000


@dataclass(frozen=True)
class Thumb:
    """A small picture: its address from the site's root, its size and its words; `cut` if it is a part."""

    address: str
    width: int
    height: int
    alt: str
    cut: bool


def size_of(source: Path) -> tuple[int, int] | None:
    """The width and height of a PNG, from its first bytes; None where it is none."""
    try:
        with source.open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def write(source: Path, out: Path, address: str, alt: str, *, whole: bool = False) -> Thumb | None:
    """Write a small copy of `source` as WebP; return None where it is no picture or has too many pixels.

    Of a tall picture the copy has the top alone, unless `whole`.
    """
    try:
        with Image.open(source) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return None
            picture = opened.convert("RGB")
        if picture.width > WIDTH:
            picture = picture.resize((WIDTH, max(1, round(picture.height * WIDTH / picture.width))))
        # The upper rows of a sheet are as good as all.
        cut = not whole and picture.height > picture.width * 0.6
        if cut:
            picture = picture.crop((0, 0, picture.width, round(picture.width * 0.4)))
        (out / address).parent.mkdir(parents=True, exist_ok=True)
        picture.save(out / address, "WEBP", quality=QUALITY, method=6)
    # The bytes of a file may make a decoder fail in any way.
    except Exception:
        return None
    return Thumb(address, picture.width, picture.height, alt, cut)
