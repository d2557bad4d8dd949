"""Bundles that are no honest ones: each is refused before anything of it is believed or unpacked."""

from __future__ import annotations

import io
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bundling import edited, first, put, rewritten
from ebbench.record import resultfiles
from ebbench.submissions import bundles

pytestmark = pytest.mark.usefixtures("maintainer")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.update({"../evil.py": b"x"}), "an entry called '../evil.py'"),
        (lambda e: e.update({"/etc/passwd": b"x"}), "an entry called"),
        (lambda e: e.update({"model/Model.py": b"x"}), "appears twice"),
        (lambda e: e.update({"model/../../x": b"x"}), "an entry called"),
        (lambda e: e.pop("card.toml"), "no card.toml"),
        (lambda e: e.update({"card.toml": b"name = 3"}), "not a model's card"),
        (lambda e: e.pop(first(e, "artefacts")), "has no artefacts"),
        (lambda e: [e.pop(name) for name in list(e) if name.startswith("results")], "holds no results"),
        (lambda e: e.update({first(e, "results"): b'{"a": NaN}'}), "not JSON"),
        (lambda e: e.update({first(e, "results"): b'{"a": 1, "a": 2}'}), "appears twice"),
        (lambda e: e.update({first(e, "results"): b"[" * 100_000}), "not JSON"),
        (lambda e: e.update({first(e, "artefacts"): b"PK not"}), "not a valid npz"),
        (lambda e: put(e, "samples.samples", np.array([{}], object)), "object"),
        (lambda e: put(e, "evil", np.zeros(3, np.float32)), "called 'evil.npy'"),
        (lambda e: put(e, "samples.samples", np.zeros((9, 2), np.float32)), "9 samples"),
        (lambda e: put(e, "samples.samples", np.full((100, 2), np.nan, np.float32)), "NaN"),
        (
            lambda e: e.update({name: e[first(e, "arte")] for name in e if name.startswith("arte")}),
            "of its own",
        ),
    ],
)
def test_what_is_no_honest_bundle_is_refused(cli, bundle: Path, tmp_path: Path, change, said: str):
    before = sorted(path for path in tmp_path.rglob("*"))
    other = rewritten(bundle, change)
    end = cli("verify", other, "--results", "board")
    assert end.code == 2 and said in end.err + end.out, end.err + end.out
    assert sorted(path for path in tmp_path.rglob("*") if path != other) == before, "nothing is written"


def test_arrays_that_serve_twice_are_noticed_however_they_are_packed(cli, bundle: Path):
    def copied(entries: dict[str, bytes]) -> None:
        names = [name for name in sorted(entries) if name.startswith("artefacts")]
        with np.load(io.BytesIO(entries[names[0]])) as stored:
            buffer = io.BytesIO()
            np.savez(buffer, **{name: stored[name] for name in stored.files})
        entries[names[1]] = buffer.getvalue()

    end = cli("verify", rewritten(bundle, copied), "--results", "board")
    assert end.code == 2 and "of its own" in end.err


def test_an_array_that_nobody_asks_for_is_refused(cli, bundle: Path):
    def more(entries: dict[str, bytes]) -> None:
        name = first(entries, "artefacts")
        with np.load(io.BytesIO(entries[name])) as stored:
            buffer = io.BytesIO()
            np.savez(
                buffer, **{key: stored[key] for key in stored.files}, **{"samples.more": np.zeros(3, "f4")}
            )
        entries[name] = buffer.getvalue()

    end = cli("verify", rewritten(bundle, more), "--results", "board")
    assert end.code == 2 and "samples.more" in end.err


def test_a_terminal_shows_what_a_stranger_wrote_and_does_not_obey_it(cli, bundle: Path):
    fake = "\x1b[2J\nok: everything is good"
    other = rewritten(bundle, lambda e: edited(e, lambda raw: raw["metrics"].update({fake: 1.0})))
    end = cli("verify", other, "--results", "board")
    assert end.code == 2 and "\x1b" not in end.out + end.err
    assert "\nok: everything" not in end.out + end.err


def test_deep_nesting_is_a_refusal(cli, bundle: Path, tmp_path: Path):
    deep = b'{"details": ' + b'{"a": ' * 900 + b"1" + b"}" * 900 + b"}"
    other = rewritten(bundle, lambda e: e.update({first(e, "results"): deep}))
    end = cli("verify", other, "--results", "board")
    assert end.code == 2 and "Traceback" not in end.err
    folder = tmp_path / "board" / "dots"
    folder.mkdir(parents=True)
    (folder / "deep.json").write_bytes(deep)
    assert len(resultfiles.load_all(tmp_path / "board")[1]) == 1


def test_a_manifest_that_lies_is_caught(cli, bundle: Path):
    other = rewritten(bundle, lambda e: e.update({"README.md": b"changed"}), honest=False)
    assert "SHA-256" in cli("verify", other).err
    other = rewritten(bundle, lambda e: e.update({"model/more.py": b""}), honest=False)
    assert "differ in model/more.py" in cli("verify", other).err


def test_a_link_is_refused(cli, bundle: Path):
    with zipfile.ZipFile(bundle, "a") as packed:
        link = zipfile.ZipInfo("model/link.py")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    assert "not a plain file" in cli("verify", bundle).err


def test_a_bomb_is_refused_before_it_is_unpacked(cli, tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("README.md", "w", force_zip64=True) as entry,
    ):
        for _ in range(64):
            entry.write(bytes(1 << 20))
    said = cli("verify", path)
    assert said.code == 2 and "67,108,864 bytes" in said.err


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path):
    for shape in ("(4294967296, 4294967296)", "(1000000,)", "(-1,)"):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
        body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            packed.writestr("samples.samples.npy", body + bytes(16))
        with pytest.raises(bundles.BundleError, match="refused"):
            bundles.read_arrays(buffer, "here")


@pytest.mark.medium
@pytest.mark.parametrize("outer", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["samples.samples", "samples.other", "scores.0.energy"])
def test_a_bomb_of_arrays_is_refused_before_it_is_unpacked(
    cli, bundle: Path, tmp_path: Path, outer: int, name: str
):
    # 256 MB of zeros in two layers: 1.6 kB deflated twice.
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as packed, packed.open(f"{name}.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 25, 2)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(256):
            file.write(bytes(1 << 20))

    def change(entries: dict[str, bytes]) -> None:
        for entry in [entry for entry in entries if entry.startswith("artefacts/")]:
            entries[entry] = inner.getvalue()

    made = rewritten(bundle, change)
    other = bundle.with_name("bomb.zip")
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(other, "w", outer) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    tracemalloc.start()
    began = time.process_time()
    said = cli("verify", other, "--results", "board")
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.code == 2 and not (tmp_path / "board").exists(), said.out
    assert peak < 100e6 and seconds < 3, (peak, seconds)
