"""What the command lines share: bars for terminals alone, processes that do not feel Ctrl-C."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from optics4f import console
from optics4f.bundle import Bundle, predict_frames, write_bundle
from optics4f.cli import app
from optics4f.console import counting, errors_in_one_line, interruptible, spared_from_ctrl_c, working
from optics4f.twin import toml_text
from tests.optics4f.twin_benches import CONTENT, shown, specified


@pytest.mark.parametrize(("terminal", "patience", "drawn"), [(True, 0.0, True), (True, 60, False), (False, 0.0, False)])
def test_what_takes_long_is_shown_on_a_terminal(terminal, patience, drawn, monkeypatch, capsys):
    monkeypatch.setattr(console, "SILENT_SECONDS", patience)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    with working("fitting"):
        time.sleep(0.3)
    printed = capsys.readouterr()
    assert ("fitting" in printed.err) == drawn
    assert not printed.out


@pytest.mark.parametrize(("terminal", "patience", "drawn"), [(True, 0.0, True), (True, 60, False), (False, 0.0, False)])
def test_work_of_known_length_says_how_much_is_left(terminal, patience, drawn, monkeypatch, capsys):
    monkeypatch.setattr(console, "SILENT_SECONDS", patience)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    with counting("images", 12) as done:
        for _ in range(3):
            done(3)
            time.sleep(0.2)
    printed = capsys.readouterr()
    assert ("9/12" in printed.err) == drawn and ("0:00:" in printed.err) == drawn
    assert not printed.out


def test_the_bar_goes_when_the_work_fails(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(ValueError, match="no light"), working("simulating"):
        raise ValueError("no light")
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def _survives(pipe):
    os.kill(os.getpid(), signal.SIGINT)
    pipe.send("still here")


def test_children_do_not_feel_ctrl_c_and_the_parent_does():
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with spared_from_ctrl_c():
        child = context.Process(target=_survives, args=(there,))
        child.start()
    assert here.poll(60) and here.recv() == "still here"
    child.join(20)
    assert child.exitcode == 0
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_that_came_while_processes_start_is_not_lost():
    with pytest.raises(KeyboardInterrupt), spared_from_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit(130)])
def test_an_interruption_is_told_once(ends, capsys):
    with pytest.raises(SystemExit) as ended, interruptible():
        raise ends
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted: nothing is half-written.\n")
    with pytest.raises(SystemExit) as other, interruptible():
        raise SystemExit(2)
    assert (other.value.code, capsys.readouterr().err) == (2, "")


def test_failures_and_bad_input_differ_in_their_code(capsys):
    for error, code in ((ArithmeticError("no"), 1), (ValueError("a\nlong  one"), 2)):
        with pytest.raises(typer.Exit) as ended, errors_in_one_line(ArithmeticError):
            raise error
        assert ended.value.exit_code == code
    assert capsys.readouterr().err == "error: ArithmeticError: no\nerror: a long one\n"


def test_simulate_and_export_state_in_json_what_they_wrote(tmp_path):
    config, image, out = tmp_path / "bench.toml", tmp_path / "image.png", tmp_path / "out"
    config.write_text(toml_text(CONTENT))
    Image.new("L", (6, 5), 255).save(image)
    levels, images = shown(20, images=1)
    frames = predict_frames(specified(), levels, images.float(), 0)
    write_bundle(tmp_path / "masks.h5", Bundle(levels, toml_text(CONTENT), images.float(), *frames, 0))

    def facts(*words):
        return json.loads(CliRunner().invoke(app, [*map(str, words), "--json"]).stdout)

    seen = facts("simulate", config, "--image", image, "--masks", tmp_path / "masks.h5", "--out", out / "a.png")
    assert (seen["picture"], seen["frames"], seen["shape"]) == (str(out / "a.png"), 3, [14, 16])
    brightest = predict_frames(specified(), levels, images.float() * 0 + 1, 0)[0].max().item()
    assert seen["brightest_dn"] == brightest > 0
    pictures = facts("export", tmp_path / "masks.h5", "--out", out / "slides")["pictures"]
    assert pictures == [str(out / f"slides/mask_00{k}.png") for k in range(3)]
    assert all(Image.open(picture).size == (1920, 1152) for picture in pictures)
