"""The first moments of the three programs: how threads wait, and Ctrl-C before a command has begun its work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from optics4f import start
from optics4f.console import errors_in_one_line

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = "interrupted: nothing is half-written.\n"
PROGRAMS = {
    "optics4f": "optics4f verify missing.h5",
    "kd": "kd train missing.toml",
    "experiments": "experiments demo missing.toml",
}

# Runs a program, and presses Ctrl-C at its n-th import from typer on, the first that is not of Python itself.
# PyTorch in C++ imports as well: there an exception in Python code meets code that does not know of any.
PRESSED = """
import os, runpy, signal, sys
at, program, sys.argv = int(sys.argv[1]), sys.argv[2], sys.argv[2:]
imports = 0

def hook(event, arguments):
    global imports
    if event == "import" and (imports or arguments[0] == "typer"):
        if not imports:
            handler = getattr(signal.getsignal(signal.SIGINT), "__name__", None)
            open("first", "w").write(f"{handler} {os.environ.get('OMP_WAIT_POLICY')}")
        imports += 1
        if imports == at:
            signal.raise_signal(signal.SIGINT)

sys.addaudithook(hook)
try:
    runpy.run_module(program, run_name="__main__", alter_sys=True)
finally:
    open("imports", "w").write(str(imports))
"""


def pressed(name, at, folder):
    """The program after Ctrl-C at its import number ``at``; 0 is never."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PRESSED, str(at), *PROGRAMS[name].split()]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def imports_of(name, folder):
    """How often a program imports until it says that its file is missing."""
    whole = pressed(name, 0, folder)
    assert whole.returncode == 2 and whole.stderr.startswith("error: "), whole.stderr
    return int((folder / "imports").read_text())


def wrong_ends(name, moments, folder):
    """Moments at which Ctrl-C is not one line and 130, with what happens instead."""
    ends = {at: pressed(name, at, folder) for at in moments}
    return {
        at: (end.returncode, end.stderr[-300:])
        for at, end in ends.items()
        if (end.returncode, end.stdout, end.stderr) != (130, "", INTERRUPTED)
    }


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_while_a_program_starts_is_one_line(name, tmp_path):
    assert wrong_ends(name, (1, 150, 1000), tmp_path) == {}
    assert (tmp_path / "first").read_text() == "_end_at_once PASSIVE"  # both before anything else is imported


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_at_any_moment_of_the_start_is_one_line(name, tmp_path):
    imports = imports_of(name, tmp_path)
    assert imports > 1500  # PyTorch is among them
    assert wrong_ends(name, range(2, imports * 95 // 100, imports // 15), tmp_path) == {}


@pytest.fixture
def ended(monkeypatch):
    """What a program that would end on the spot has said, by code; the handler of the tests comes back."""
    said = []

    def end(code):
        said.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(start.os, "_exit", end)
    monkeypatch.setattr(start.os, "write", lambda file, text: said.append(text))
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    start.prepare()
    yield said
    signal.signal(signal.SIGINT, before)


def press():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_is_an_exception_in_the_body_of_a_command_alone(ended):
    with pytest.raises(SystemExit):
        press()
    assert ended == [INTERRUPTED.encode(), 130]
    with start.raising_on_ctrl_c(), pytest.raises(KeyboardInterrupt):
        press()
    assert len(ended) == 2
    with pytest.raises(SystemExit):
        press()
    assert len(ended) == 4


def test_the_body_of_a_command_is_what_tells_its_errors_in_one_line(ended):
    with pytest.raises(typer.Exit) as end, errors_in_one_line():
        press()
    assert (end.value.exit_code, ended) == (130, [])


@pytest.mark.parametrize("terminal", [True, False])
def test_an_import_in_the_body_of_a_command_is_ended_on_the_spot(terminal, ended, tmp_path, monkeypatch):
    (tmp_path / "pressed_when_imported.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pressed_when_imported", raising=False)
    monkeypatch.setattr(start.os, "isatty", lambda file: terminal)
    with start.raising_on_ctrl_c(), pytest.raises(SystemExit):
        import pressed_when_imported  # noqa: F401
    bar = b"\r\x1b[K\x1b[?25h" if terminal else b""  # which is wiped away, and had hidden the cursor
    assert ended == [bar + INTERRUPTED.encode(), 130]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_handler_that_somebody_else_chose_stays(handler):
    signal.signal(signal.SIGINT, handler)
    start.prepare()
    with start.raising_on_ctrl_c():
        assert signal.getsignal(signal.SIGINT) is handler


def test_how_threads_wait_is_left_to_whoever_has_said_it(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    start.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


# A reader that goes.


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", ["devices", "devices meadowlark-1920x1152", "new meadowlark-1920x1152", "--help"])
def test_a_reader_that_goes_ends_the_program_without_a_word(words, buffered):
    here, there = os.pipe()
    os.close(here)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "" if buffered else "1"}
    program = [sys.executable, "-m", "optics4f", *words.split()]
    end = subprocess.run(program, stdout=there, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    os.close(there)
    assert (end.returncode, end.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to a device that is full")
@pytest.mark.parametrize("buffered", [True, False])
def test_a_disk_that_is_full_is_told_in_one_line(buffered):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "" if buffered else "1"}
    program = [sys.executable, "-m", "optics4f", "devices"]
    with Path("/dev/full").open("w") as full:
        end = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, timeout=60)
    assert end.returncode == 2 and end.stderr.startswith("error: ") and end.stderr.count("\n") == 1
    assert "No space left on device" in end.stderr


def test_standard_output_that_is_closed_is_no_error():
    program = [sys.executable, "-m", "optics4f", "new", "meadowlark-1920x1152"]
    places = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "stderr": subprocess.PIPE, "text": True}
    end = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *program], **places, timeout=60)
    assert (end.returncode, end.stderr) == (0, "")


def test_another_pipe_that_breaks_is_an_error(capsys):
    with pytest.raises(typer.Exit) as end, errors_in_one_line():
        raise BrokenPipeError("worker 3 has gone")
    assert (end.value.exit_code, capsys.readouterr().err) == (2, "error: worker 3 has gone\n")
