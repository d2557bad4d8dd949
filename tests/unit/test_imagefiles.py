"""A user's pictures: what is taken, how it is cut, and what is said of what cannot be used."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.datasets import ImageFolder

from ebbench.data import imagefiles, photographs
from ebbench.errors import DataError, DataMissing


def picture(seed: int, width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(seed)
    channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    return Image.fromarray(rng.integers(0, 256, (height, width, *channels), np.uint8), mode=None)


def write(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(folder / name)


def read(path: Path, size: int = 32, crop: imagefiles.Crop = "centre") -> np.ndarray:
    pictures = imagefiles.listed(path)
    return imagefiles.load(pictures, pictures.names, size, crop)


def test_a_folder_is_read_as_torchvision_reads_it(tmp_path: Path):
    names = ["cats/b.png", "cats/a.png", "dogs/old/c.png", "dogs/d.PNG"]
    write(tmp_path, names)
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    (tmp_path / "cats" / "._a.png").write_bytes(b"of macOS")
    pictures = imagefiles.listed(tmp_path)
    assert list(pictures.names) == sorted(names)
    theirs = [path for path, _ in ImageFolder(tmp_path, is_valid_file=lambda p: "._" not in p).samples]
    kept = [name for name in theirs if not name.endswith(".txt")]
    assert sorted(str(tmp_path / name) for name in pictures.names) == sorted(kept)


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path):
    folder = tmp_path / "pictures"
    write(folder, ["x/2.png", "x/1.png", "3.png"])
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for name in ("3.png", "x/2.png", "x/1.png"):
            archive.write(folder / name, name)
        archive.writestr("__MACOSX/x/._1.png", b"of macOS")
    packed, unpacked = (imagefiles.listed(p) for p in (tmp_path / "pictures.zip", folder))
    assert packed.names == unpacked.names
    assert imagefiles.digest(packed) == imagefiles.digest(unpacked)
    assert (read(tmp_path / "pictures.zip") == read(folder)).all()


def test_the_digest_is_of_names_and_bytes(tmp_path: Path):
    write(tmp_path / "one", ["a.png", "b.png"])
    write(tmp_path / "two", ["a.png", "b.png"])
    lines = "".join(
        f"{hashlib.sha256((tmp_path / 'one' / name).read_bytes()).hexdigest()} {name}\n"
        for name in ("a.png", "b.png")
    )
    first = imagefiles.digest(imagefiles.listed(tmp_path / "one"))
    assert first == hashlib.sha256(lines.encode()).hexdigest()
    assert first == imagefiles.digest(imagefiles.listed(tmp_path / "two"))
    picture(9).save(tmp_path / "two" / "b.png")
    assert first != imagefiles.digest(imagefiles.listed(tmp_path / "two"))
    (tmp_path / "one" / "b.png").rename(tmp_path / "one" / "c.png")
    assert first != imagefiles.digest(imagefiles.listed(tmp_path / "one"))


def test_the_centre_is_cut_and_nothing_else_moved():
    wide = picture(0, 50, 32)
    assert (imagefiles.square(wide, 32, "centre") == np.asarray(wide)[:, 9:41].transpose(2, 0, 1)).all()


def test_a_stripe_finer_than_the_pixels_becomes_grey():
    # Without antialiasing every fourth pixel of a black and white pattern is one or the other.
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    small = imagefiles.square(Image.fromarray(stripes), 32, "centre")
    assert np.abs(small.astype(int) - 127).max() <= 16


def test_celeba_s_crop_is_the_108_pixels_at_the_centre():
    face = picture(0, 178, 218)
    whole = np.asarray(face)[55:163, 35:143]
    by_hand = Image.fromarray(whole).resize((64, 64), Image.Resampling.BICUBIC)
    assert (imagefiles.square(face, 64, "celeba") == np.asarray(by_hand).transpose(2, 0, 1)).all()
    with pytest.raises(ValueError, match="40x30"):
        imagefiles.square(picture(0), 64, "celeba")


def test_grey_becomes_colour_and_what_is_transparent_white():
    grey = imagefiles.square(picture(0, 32, 32, "L"), 32, "centre")
    assert (grey == np.asarray(picture(0, 32, 32, "L"))).all()
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    clear.paste((10, 20, 30, 255), (0, 0, 16, 32))
    seen = imagefiles.square(clear, 32, "centre")
    assert (seen[:, :, 16:] == 255).all()
    assert (seen[:, :, :16] == np.array([10, 20, 30])[:, None, None]).all()


def test_every_bad_picture_is_named(tmp_path: Path):
    write(tmp_path, ["good.png", "cut.png", "deep/also-good.png"])
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "deep" / "words.jpg").write_text("these are words")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / "sixteen.png")
    with pytest.raises(DataError) as found:
        read(tmp_path)
    said = str(found.value)
    assert "3 of 5" in said and "good" not in said.replace("3 of 5", "")
    assert "cut.png" in said and "deep/words.jpg" in said and "sixteen.png: it has more than 8 bits" in said


def test_what_is_no_set_of_pictures_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in it"):
        imagefiles.listed(tmp_path / "empty")
    (tmp_path / "set.tar").write_bytes(b"no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        imagefiles.listed(tmp_path / "set.tar")
    with pytest.raises(DataMissing, match="no pictures at"):
        imagefiles.locate("nowhere", None)
    monkeypatch.setenv("EBBENCH_DATA", str(tmp_path))
    assert imagefiles.locate("empty", None) == tmp_path / "empty"
    # A folder that is named is the only one.
    with pytest.raises(DataMissing):
        imagefiles.locate("empty", tmp_path / "empty")


def test_fewer_pictures_are_spread_over_all():
    names = tuple("abcdefghij")
    assert imagefiles.chosen(names, 0) == imagefiles.chosen(names, 99) == names
    assert imagefiles.chosen(names, 3) == ("a", "d", "g")


@pytest.mark.parametrize("size", [32, 256])
def test_squares_of_the_photographs_do_not_lie_across_the_border(size: int):
    train, held_out = photographs.patches(size)
    china = load_sample_image("china.jpg").transpose(2, 0, 1)
    columns, rows = (384 - size) // 8 + 1, (427 - size) // 8 + 1
    assert len(train) == 2 * columns * rows
    row, column = rows - 1, columns - 1
    last = china[:, row * 8 : row * 8 + size, column * 8 : column * 8 + size]
    assert (train[row * columns + column] == last).all() and column * 8 + size <= 384
    assert (held_out[0] == china[:, :size, 384 : 384 + size]).all()
