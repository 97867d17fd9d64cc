"""Files are whole, old or new."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from optics4f.files import refuse_overwriting, written_whole

ROOT = Path(__file__).parents[2]


def test_a_finished_block_leaves_the_new_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "masks.h5"
    with written_whole(path) as part:
        part.write_bytes(b"new")
        assert not path.exists()  # nothing to see before it is complete
        assert part.parent == path.parent
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "masks.h5"
    path.write_bytes(b"old")
    with pytest.raises(interruption), written_whole(path) as part:
        part.write_bytes(b"half")
        raise interruption
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "masks.h5"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert path.read_bytes() == b"old"


WRITER = """
import os, signal, sys
from optics4f.files import written_whole
with written_whole(sys.argv[1]) as part:
    part.write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read() if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""


def writer(path: Path, what: str) -> subprocess.Popen:
    """A process that is killed, or waits, amid writing."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), what], cwd=ROOT, **pipes)
    assert child.stdout.readline() == b"writing\n"
    return child


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_what_a_killed_process_left_goes_with_the_next_writing_of_the_same_file(tmp_path):
    path, neighbour = tmp_path / "masks.h5", tmp_path / "masks.h5.h5"
    lives = writer(path, "wait")
    for killed in (path, neighbour):
        with writer(killed, "die") as child:
            child.wait(20)
    foreign = tmp_path / ".masks.h5.another-machine.4194999.part"
    own = [tmp_path / ".masks.h5.part", tmp_path / f".masks.h5.{os.uname().nodename}.notes.part"]
    for file in (foreign, *own):
        file.write_bytes(b"of somebody")
    assert len(list(tmp_path.iterdir())) == 6
    with written_whole(path) as part:
        part.write_bytes(b"new")
    left = {file.name for file in tmp_path.iterdir()}
    halves = {name for name in left if name.endswith(".part")} - {file.name for file in (foreign, *own)}
    assert path.read_bytes() == b"new"
    assert len(halves) == 2  # of the neighbour, and of the process that still writes
    assert any(name.endswith(f".{lives.pid}.part") for name in halves)
    assert {file.name for file in (foreign, *own)} < left
    lives.communicate(timeout=20)
    assert lives.returncode == 0 and path.read_bytes() == b"half"  # it ended well: its file is whole


def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path):
    source, link = tmp_path / "masks.h5", tmp_path / "link.h5"
    source.write_bytes(b"masks")
    link.symlink_to(source)
    roundabout = tmp_path / "." / "sub" / ".." / "masks.h5"
    (tmp_path / "sub").mkdir()
    for out in (source, link, roundabout):
        with pytest.raises(ValueError, match=r"the output must be another file than the input .*masks\.h5, got"):
            refuse_overwriting(out, tmp_path / "other.h5", source)
    refuse_overwriting(tmp_path / "page.html", source, tmp_path / "none.h5")
    refuse_overwriting(source)
    assert source.read_bytes() == b"masks"
