"""The box: what a stranger's code can do in it, tried."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ebbench.isolation import box

pytestmark = pytest.mark.skipif(bool(box.why_not()), reason=box.why_not() or "there is a box")


def run(tmp_path: Path, code: str, *more: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run Python code in a box whose scratch folder is `tmp_path / "scratch"`."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    command = box.boxed([sys.executable, "-I", "-c", textwrap.dedent(code)], scratch, more)
    variables = box.environment(scratch, {"SCRATCH": str(scratch), "OUTSIDE": str(tmp_path)})
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=seconds)


def test_it_writes_in_its_scratch_folder_alone(tmp_path: Path):
    victim = tmp_path / "board.json"
    victim.write_text("honest")
    code = """
    import os, pathlib, tempfile
    scratch, outside = pathlib.Path(os.environ["SCRATCH"]), pathlib.Path(os.environ["OUTSIDE"])
    (scratch / "made").write_text("here")
    tempfile.mkstemp()
    for attempt in (
        lambda: (outside / "board.json").write_text("forged"),
        lambda: (outside / "board.json").unlink(),
        lambda: (outside / "new").touch(),
        lambda: os.chmod(outside, 0o777),
        lambda: os.rename(scratch / "made", outside / "made"),
        lambda: os.link(outside / "board.json", scratch / "link") or (scratch / "link").write_text("forged"),
        lambda: pathlib.Path("/proc/sys/kernel/hostname").write_text("x"),
    ):
        try:
            attempt()
        except OSError:
            continue
        print("done")
    """
    done = run(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert "done" not in done.stdout and victim.read_text() == "honest"
    assert (tmp_path / "scratch" / "made").read_text() == "here"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.json", "scratch"]


def test_it_cannot_open_itself(tmp_path: Path):
    code = """
    import ctypes, os, subprocess
    libc = ctypes.CDLL(None, use_errno=True)
    outside = os.environ["OUTSIDE"].encode()
    remount = 32 | 4096
    print(libc.mount(b"none", outside, None, remount, None), libc.umount(b"/proc"))
    print(libc.mount(b"none", b"/", None, remount, None), libc.unshare(0x10000000 | 0x00020000))
    print(libc.mount(b"none", b"/", None, remount, None), libc.mount(b"none", outside, None, remount, None))
    open(os.path.join(os.environ["OUTSIDE"], "out"), "w")
    """
    done = run(tmp_path, code)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["-1", "-1"] and lines[1][0] == "-1" and lines[2] == ["-1", "-1"], done.stdout
    assert done.returncode != 0 and not (tmp_path / "out").exists()


def test_it_has_no_network_and_no_services(tmp_path: Path):
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        code = f"""
        import os, socket
        for address in (("127.0.0.1", {server.getsockname()[1]}), ("192.0.2.1", 80)):
            try:
                socket.create_connection(address, timeout=2)
                print("connected")
            except OSError:
                pass
        print([name for name in ("/run", "/var/run", "/dev/shm") if os.path.exists(name)])
        """
        done = run(tmp_path, code)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr


def test_it_sees_no_other_process_and_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "secret.json").write_text("{}")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a").write_text("1")
    code = """
    import os, pathlib
    outside = pathlib.Path(os.environ["OUTSIDE"])
    print(sorted(os.listdir(outside)), os.listdir(outside / "given"))
    print([n for n in os.listdir("/proc") if n.isdigit()])
    print("EBBENCH_KEY" in os.environ, "ADA" in os.environ)
    print(set(os.listdir("/")) & {"home", "root", "tmp", "mnt", "run", "srv", "var", "work"})
    """
    monkeypatch.setenv("ADA", "secret")
    done = run(tmp_path, code, str(tmp_path / "given"))
    lines = done.stdout.splitlines()
    assert lines[:3] == ["['given', 'scratch'] ['a']", "['1', '2']", "False False"], done.stdout + done.stderr
    for name in eval(lines[3]):
        # On the way to what is shown, and with nothing else in it.
        assert any(Path(path).parts[1] == name for path in [*box.shown(), str(tmp_path)])


def test_a_child_that_lives_on_ends_with_the_box(tmp_path: Path):
    code = """
    import os, subprocess, sys
    late = os.path.join(os.environ["SCRATCH"], "late")
    child = f"import time; time.sleep(1.5); open({late!r}, 'w')"
    subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    """
    began = time.monotonic()
    assert run(tmp_path, code).returncode == 0
    # The child had the pipe, and would have kept it.
    assert time.monotonic() - began < 1.4
    time.sleep(max(0.0, began + 1.8 - time.monotonic()))
    assert not (tmp_path / "scratch" / "late").exists()


def test_memory_is_bounded(tmp_path: Path):
    code = """
    import os
    most = int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        bytearray(most)
    except MemoryError:
        print("no room")
    """
    assert run(tmp_path, code).stdout == "no room\n"


def test_who_takes_back_the_signal_of_its_parent_ends_with_it_too(tmp_path: Path):
    # What is killed is the process that was started, as the engine does it.
    code = """
    import ctypes, os, time
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    os.setsid()
    open(os.path.join(os.environ["SCRATCH"], "begun"), "w")
    time.sleep(1.0)
    open(os.path.join(os.environ["SCRATCH"], "late"), "w")
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = box.boxed([sys.executable, "-I", "-c", textwrap.dedent(code)], scratch)
    variables = box.environment(scratch, {"SCRATCH": str(scratch)})
    process = subprocess.Popen(command, env=variables, start_new_session=True)
    while not (scratch / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(1.3)
    assert not (scratch / "late").exists()
