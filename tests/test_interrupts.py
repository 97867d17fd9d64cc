"""Ctrl-C in the middle of every command that lasts: exit code 130, one line, no half-written file, no process left."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import kd.cli
import optics4f.cli
import optics4f.files
from optics4f.bundle import Bundle, predict_frames, write_arrays, write_bundle
from optics4f.twin import toml_text
from tests.optics4f.twin_benches import CONTENT, frames_of, hidden_content, shown, specified

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "experiments/configs"
INTERRUPTED = "interrupted: nothing is half-written.\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A small bench, its masks, what it measured, and files that train and design."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.toml").write_text(toml_text(CONTENT))
    Image.fromarray(np.eye(5, 6, dtype=np.uint8) * 255).save(folder / "image.png")
    levels, images = shown(20, images=3)
    images = images.float()
    frames = predict_frames(specified(), levels, images, 0)
    write_bundle(folder / "masks.h5", Bundle(levels, toml_text(CONTENT), images, *frames, 0))
    measured = frames_of(hidden_content(), levels, images.double(), seed=8)
    arrays = {"frames": measured.numpy(), "images": images.numpy(), "levels": levels.numpy()}
    write_arrays(folder / "measured.h5", arrays, wavelength_m=532e-9)
    spots = (CONFIGS / "design_spots.toml").read_text()
    (folder / "long.toml").write_text(spots.replace("iterations = 200", "iterations = 1000000"))
    small = spots.replace("[512, 512]", "[96, 80]").replace("[160, 160]", "[40, 40]").replace("[5, 8]", "[2, 3]")
    (folder / "short.toml").write_text(small.replace("iterations = 200", "iterations = 5"))
    digits = (CONFIGS / "train_digits.toml").read_text()
    (folder / "train.toml").write_text(digits)
    linear = digits.replace('"physical"', '"readout_only"').replace("epochs = 30", "epochs = 1")
    (folder / "quick.toml").write_text(linear.replace('checkpoint = "runs', '# checkpoint = "runs'))
    return folder


WRITING = {
    "new": "optics4f new meadowlark-1920x1152 --out out/new.toml",
    "simulate": "optics4f simulate bench.toml --image image.png --masks masks.h5 --out out/frames.png",
    "design": "optics4f design short.toml --out out",
    "inspect": "optics4f inspect masks.h5 --picture out/masks.png",
    "export": "optics4f export masks.h5 --out out",
    "fit": "optics4f fit bench.toml measured.h5 --out out/twin.toml --free brightness",
    "compare": "optics4f compare masks.h5 measured.h5 --out out/page.html",
    "report": "optics4f report masks.h5 --out out/report.html",
    "train": "kd train quick.toml --out out",
}


@pytest.mark.parametrize("name", WRITING)
def test_ctrl_c_while_a_file_is_written_leaves_no_part_of_it(name, bench, tmp_path, monkeypatch):
    for path in bench.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    seen = []

    def press(file):
        seen.extend(path.name for path in Path("out").iterdir() if path.suffix == ".part")
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(optics4f.files.os, "fsync", press)
    package, *words = WRITING[name].split()
    result = CliRunner().invoke({"optics4f": optics4f.cli.app, "kd": kd.cli.app}[package], words)
    assert seen  # it was pressed in the middle
    assert (result.exit_code, result.stderr) == (130, "")
    assert not list((tmp_path / "out").iterdir())


# Programs of their own, with the terminal that a user has: bars are drawn, and Ctrl-C goes to all processes at once.

LASTING = {
    "design": "optics4f design long.toml --out out",
    "fit": "optics4f fit bench.toml measured.h5 --out out/twin.toml --bootstrap 2000000",
    "train": "kd train train.toml --row teacher --out out",
    "demo": "experiments demo demo.toml --out out",
    "cost": "experiments cost cost_demo.toml --out out",
    "sweep": "experiments sweep sweep_demo.toml --out out --workers 2",
    "paper": "experiments paper paper_digits.toml --out out --workers 2",
    "fidelity": "experiments fidelity fidelity_demo.toml --out out --workers 2",
    "fabrication": "experiments fabrication fabrication_digits.toml --out out --students paper --workers 2",
    "twin": "experiments twin --benches 8 --workers 2 --out out",
}


class Program:
    """A command on a terminal of its own."""

    def __init__(self, words, folder):
        package, *rest = words.split()
        program = [sys.executable, "-m", package, *rest]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100", "TERM": "xterm"}
        terminal, end = os.openpty()
        places = {"stdin": end, "stdout": end, "stderr": end, "cwd": folder, "env": environment}
        self.process = subprocess.Popen(program, **places, start_new_session=True)
        os.close(end)
        self.written = b""
        self.reader = threading.Thread(target=self._read, args=(terminal,), daemon=True)
        self.reader.start()

    def _read(self, terminal):
        try:
            while some := os.read(terminal, 65536):
                self.written += some
        except OSError:  # the other end is closed
            pass
        os.close(terminal)

    def loads(self, library):
        """Whether the first process has it in memory."""
        try:
            return library in Path(f"/proc/{self.process.pid}/maps").read_text()
        except OSError:
            return False

    @property
    def text(self):
        """What the terminal shows, without its colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written.decode(errors="replace"))

    def others(self):
        """Processes of the session besides the first."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and int(folder.name) != self.process.pid:
                try:
                    state, _, _, session = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
                except OSError:  # it has ended meanwhile
                    continue
                if int(session) == self.process.pid and state != "Z":
                    found.append(int(folder.name))
        return found

    def wait_until(self, true, seconds):
        end = time.monotonic() + seconds
        while not true() and time.monotonic() < end:
            time.sleep(0.1)
        assert true(), self.text

    def end(self):
        """Nothing of it stays, whatever the test found."""
        for pid in (self.process.pid, *self.others()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")
@pytest.mark.parametrize("name", LASTING)
def test_ctrl_c_ends_all_processes_and_says_so(name, bench, tmp_path):
    for path in (*bench.iterdir(), *CONFIGS.iterdir()):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")  # the sweep names a file by this path
    program = Program(LASTING[name], tmp_path)
    try:
        # It has begun: something is on the terminal, or others work for it. They are importing: the worst moment.
        program.wait_until(lambda: program.text.strip() or len(program.others()) > 1, 100)
        time.sleep(0.5)
        assert program.process.poll() is None, program.text
        os.killpg(program.process.pid, signal.SIGINT)
        program.wait_until(lambda: program.process.poll() is not None, 40)
        program.wait_until(lambda: not program.others(), 10)
        program.reader.join(10)
        assert program.process.returncode == 130, program.text
        assert "Traceback" not in program.text and "Error" not in program.text
        assert program.text.replace("\r", "").endswith(INTERRUPTED)
        assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part"]
    finally:
        program.end()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks /proc for libraries")
@pytest.mark.parametrize("words", ["optics4f verify masks.h5", "kd train train.toml", "experiments demo demo.toml"])
def test_ctrl_c_while_pytorch_is_imported_is_one_line(words, bench):
    program = Program(words, bench)
    try:
        program.wait_until(lambda: program.loads("libtorch_cpu"), 60)
        time.sleep(0.1)
        os.killpg(program.process.pid, signal.SIGINT)
        program.wait_until(lambda: program.process.poll() is not None, 40)
        program.reader.join(10)
        assert (program.process.returncode, program.text.replace("\r", "")) == (130, INTERRUPTED)
    finally:
        program.end()
