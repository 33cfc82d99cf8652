"""test_whole_file.py - One file that appears when it is whole; what a path leads to is written into, never replaced."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import needs_processes, needs_threads
from toy_gpt_train.disk import whole_file
from toy_gpt_train.staging import write_texts
from toy_gpt_train.tokenizers.char import CharTokenizer

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a right that users of Windows lack")
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")


# A text whose bytes arrive in two blocks, so that a pipe must be read while it is written.
CONTENT = b"line\n" * 40_000


def written(path: Path, content: bytes = CONTENT) -> None:
    with whole_file(path) as file:
        file.write(content[:7])
        file.write(content[7:])


@contextmanager
def reader_of(pipe: Path) -> Iterator[list[bytes]]:
    """Read a pipe in another thread; the list has its content afterwards."""
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    thread.start()
    yield read
    thread.join()


@needs_links
def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    for old in (None, b"old"):
        if old is not None:
            target.write_bytes(old)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(ZeroDivisionError), whole_file(link) as file:
            file.write(b"half" + bytes(1 // 0))
        assert (target.read_bytes() if target.exists() else None) == old
        written(link)
        assert link.is_symlink()
        assert target.read_bytes() == CONTENT
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link.txt", "target.txt"]
    link.unlink()
    link.symlink_to("folder/../folder/target.txt")
    written(link, b"by a relative link")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"by a relative link")


@needs_links
def test_a_link_to_a_folder_or_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "to_folder").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("to_folder", "circle"):
        with pytest.raises(OSError, match=name):
            written(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "to_folder"]


@needs_threads
@needs_pipes
def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with reader_of(pipe) as read:
        written(pipe)
    assert read == [CONTENT]
    with reader_of(pipe) as read, pytest.raises(ZeroDivisionError), whole_file(pipe) as file:
        file.write(b"half" + bytes(1 // 0))
    assert read == [b""]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@needs_threads
@needs_pipes
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser makes devices")
def test_a_device_is_written_into_and_stays(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, Path("/dev/null").stat().st_rdev)
        device.write_bytes(b"")
    except PermissionError:
        pytest.skip("no devices in this container")
    written(device)
    assert stat.S_ISCHR(device.stat().st_mode)
    (tmp_path / "link").symlink_to(device)
    written(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "null"]


@needs_threads
@needs_pipes
@needs_processes
@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_file_of_this_process_is_written_into(tmp_path: Path, name: str) -> None:
    # The shell's >(gzip > file) is such a name.
    if not Path(name.format(0)).parent.is_dir():
        pytest.skip("no such names here")
    read_end, write_end = os.pipe()
    text = tmp_path / "text.txt"
    text.write_bytes(b"a\nb\nc\n")
    out = name.format(write_end)
    command = ["data", "sample", "--text", str(text), "--fraction", "1", "--out", out]
    done = subprocess.run(
        [sys.executable, "-m", "toy_gpt_train", *command], pass_fds=[write_end], capture_output=True, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}: 3 lines\n".encode(), b"")
    with os.fdopen(read_end, "rb") as file:
        assert file.read() == b"a\nb\nc\n"


@needs_threads
@needs_pipes
@needs_processes
def test_standard_output_in_a_file_keeps_all_that_is_written(tmp_path: Path) -> None:
    text, shell_file = tmp_path / "text.txt", tmp_path / "out.txt"
    text.write_bytes(b"a\nb\nc\n")
    command = ["data", "sample", "--text", str(text), "--fraction", "1", "--out", "/dev/stdout"]
    with shell_file.open("wb") as file:
        file.write(b"before\n")
        file.flush()
        done = subprocess.run([sys.executable, "-m", "toy_gpt_train", *command], stdout=file, check=False)
    assert done.returncode == 0
    assert shell_file.read_bytes() == b"before\na\nb\nc\n/dev/stdout: 3 lines\n"


@pytest.mark.slow
@needs_threads
@needs_pipes
@pytest.mark.parametrize("command", ["sample", "encode", "decode", "stdlib"])
def test_every_out_may_be_a_pipe(tmp_path: Path, toy_gpt: Callable[..., Any], command: str) -> None:
    text, pipe, plain = tmp_path / "text.txt", tmp_path / "pipe", tmp_path / "plain"
    text.write_bytes(b"ab\nba\n")
    os.mkfifo(pipe)
    CharTokenizer.from_text("ab\n").save(tmp_path / "chars")
    tokens = tmp_path / "tokens"
    assert toy_gpt("data", "encode", "--text", text, "--tokenizer", tmp_path / "chars", "--out", tokens).code == 0
    options = {
        "sample": ("--text", text, "--lines", 2),
        "encode": ("--text", text, "--tokenizer", tmp_path / "chars"),
        "decode": ("--tokens", tokens, "--tokenizer", tmp_path / "chars"),
        "stdlib": ("--megabytes", "0.1"),
    }[command]
    assert toy_gpt("data", command, *options, "--out", plain).code == 0
    with reader_of(pipe) as read:
        assert toy_gpt("data", command, *options, "--out", pipe).code == 0
    assert read == [plain.read_bytes()]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@needs_links
def test_files_that_are_written_together_follow_links(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "real.txt").write_bytes(b"old")
    (folder / "a.txt").symlink_to(elsewhere / "real.txt")
    write_texts(folder, {"a.txt": "new a", "b.txt": "new b"})
    assert (folder / "a.txt").is_symlink()
    assert (elsewhere / "real.txt").read_bytes() == b"new a"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b.txt", "elsewhere", "folder", "real.txt"]


@needs_threads
@needs_pipes
def test_a_pipe_is_none_of_several_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.txt")
    (tmp_path / "a.txt").write_bytes(b"old")
    with pytest.raises(OSError, match=r"a device or a pipe is in the place of this file: .*b\.txt"):
        write_texts(tmp_path, {"a.txt": "new", "b.txt": "new"})
    assert (tmp_path / "a.txt").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@needs_processes
def test_leftovers_of_the_same_file_go_and_others_stay(tmp_path: Path) -> None:
    mine, others = [".out.1.999999999.tmp", ".out.999999999.tmp"], [".other.999999999.tmp", ".out.x.tmp", "out.1.tmp"]
    for name in (*mine, *others):
        (tmp_path / name).write_bytes(b"left")
    written(tmp_path / "out")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(["out", ".out.1.999999999.tmp", *others])
