"""Where a site is published: what no build made stays, and what is no place for a site is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ebbench.site import place
from ebbench.site.place import LIST, Place

from ebbench.errors import StorageError, UsageError


def publish(out: Path, *names: str, keep: tuple[Path, ...] = (), text: str = "new") -> None:
    """Publish files of those names in `out`."""
    with Place(out, keep).building() as made:
        for name in names:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text)


def files(folder: Path) -> set[str]:
    """Every file in a folder but the list of what builds made."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != LIST}


def test_a_second_build_replaces_the_first_and_keeps_what_neither_made(tmp_path: Path):
    out = tmp_path / "site"
    publish(out, "index.html", "tasks/a.html", "tasks/b.html", "old/deep/c.html", text="old")
    kept = {".git/HEAD", "CNAME", ".nojekyll", "tasks/notes/mine.txt"}
    for name in kept:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    publish(out, "index.html", "tasks/a.html")
    assert files(out) == {"index.html", "tasks/a.html"} | kept
    assert {(out / name).read_text() for name in kept} == {"mine"}
    assert (out / "index.html").read_text() == "new"
    assert not (out / "old").exists(), "a folder of the first build alone is gone"


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path):
    (tmp_path / "www").mkdir()
    (tmp_path / "site").symlink_to("www")
    (tmp_path / "later").symlink_to("nowhere-yet")
    for name, target in (("site", "www"), ("later", "nowhere-yet")):
        publish(tmp_path / name, "index.html")
        assert (tmp_path / name).is_symlink()
        assert files(tmp_path / target) == {"index.html"}
    assert {path.name for path in tmp_path.iterdir()} == {"www", "site", "later", "nowhere-yet"}


@pytest.mark.parametrize("in_the_way", ["index.html", "tasks/a.html"])
def test_a_file_of_the_users_in_the_way_is_named_and_kept(tmp_path: Path, in_the_way: str):
    out = tmp_path / "site"
    publish(out, "about.html", text="old")
    (out / in_the_way).parent.mkdir(exist_ok=True)
    (out / in_the_way).write_text("mine")
    with pytest.raises(UsageError, match="no build made") as refused:
        publish(out, "about.html", "index.html", "tasks/a.html")
    assert in_the_way in refused.value.where
    assert (out / in_the_way).read_text() == "mine" and (out / "about.html").read_text() == "old"


def test_nothing_is_written_or_removed_through_a_link_inside(tmp_path: Path):
    out, outside = tmp_path / "site", tmp_path / "outside"
    publish(out, "tasks/a.html", text="old")
    (out / "tasks").rename(outside)
    (out / "tasks").symlink_to(outside)
    with pytest.raises(UsageError, match="no build made"):
        publish(out, "tasks/b.html")
    assert files(outside) == {"a.html"}


def test_a_list_that_names_files_outside_is_not_obeyed(tmp_path: Path):
    out = tmp_path / "site"
    (tmp_path / "thesis.tex").write_text("years of work")
    for list_ in (
        '{"format": 1, "files": ["../thesis.tex"]}',
        "made by an earlier version",
        "[]",
        '{"format": 1}',
    ):
        out.mkdir(exist_ok=True)
        (out / LIST).write_text(list_)
        with pytest.raises(UsageError, match="no list of its files"):
            publish(out, "index.html")
        assert (tmp_path / "thesis.tex").read_text() == "years of work" and files(out) == set()


def test_what_is_no_place_for_a_site_is_refused(tmp_path: Path):
    results, mine = tmp_path / "board" / "results", tmp_path / "mine"
    results.mkdir(parents=True)
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "in-results").symlink_to(results)
    before = {path: path.stat(follow_symlinks=False).st_mtime_ns for path in tmp_path.rglob("*")}
    for name, error, words in (
        ("mine", UsageError, "no site"),
        ("file", UsageError, "a file"),
        ("file/below", StorageError, "cannot be written"),
        ("loop", StorageError, "cannot be written"),
        ("board/results", UsageError, "among the files of"),
        ("board/results/site", UsageError, "among the files of"),
        ("in-results", UsageError, "among the files of"),
        ("board", UsageError, "no part of a site"),
        ("n" * 300, StorageError, "too long"),
    ):
        with pytest.raises(error, match=words) as refused:
            publish(tmp_path / name, "index.html", keep=(results,))
        assert refused.value.where.startswith("--out") and refused.value.fix, name
    assert {path: path.stat(follow_symlinks=False).st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_build_that_fails_leaves_the_site_as_it_was(tmp_path: Path):
    out = tmp_path / "site"
    for there in (False, True):
        if there:
            publish(out, "index.html", text="old")
        for error in (RuntimeError("a bug"), OSError(28, "No space left on device")):
            with pytest.raises((RuntimeError, StorageError)), Place(out, ()).building() as made:
                (made / "index.html").write_text("half")
                raise error
        assert out.exists() is there
    assert (out / "index.html").read_text() == "old"
    assert sorted(path.name for path in out.iterdir()) == [LIST, "index.html"], "nothing is left of it"


def test_a_publication_that_is_cut_off_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "site"
    publish(out, "index.html", "tasks/a.html", "tasks/gone.html", text="old")
    moved: list[str] = []

    def replace(source: Path, target: Path) -> None:
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(Path(target).relative_to(out).as_posix())
        real(source, target)

    real = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(place.os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            publish(out, "index.html", "about.html", "tasks/a.html", "tasks/new.html")
    # Pages before what links to them, and each as a whole; what is not made any more goes last.
    assert moved == [LIST, "tasks/a.html", "tasks/new.html"]
    assert (out / "index.html").read_text() == "old" and (out / "tasks/gone.html").exists()
    publish(out, "index.html", "tasks/a.html")
    assert files(out) == {"index.html", "tasks/a.html"}, "new.html was known as a build's"


def test_two_builds_at_once_are_one_and_a_refusal(tmp_path: Path):
    out = tmp_path / "site"
    with Place(out, ()).building() as made:
        (made / "index.html").write_text("the first")
        with pytest.raises(UsageError, match="another build"):
            publish(out, "index.html")
    assert (out / "index.html").read_text() == "the first"


def test_what_a_killed_build_left_is_cleared_up(tmp_path: Path):
    out = tmp_path / "site"
    publish(out, "index.html")
    (out / f"{LIST}-killed").mkdir()
    (out / f"{LIST}-killed" / "half.html").write_text("half")
    publish(out, "index.html")
    assert files(out) == {"index.html"}
    # As it was when the first build of all was killed.
    first = tmp_path / "first"
    (first / f"{LIST}-killed").mkdir(parents=True)
    publish(first, "index.html")
    assert files(first) == {"index.html"}
