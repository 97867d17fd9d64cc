"""The bar of a search for masks: on terminals, of what takes longer than two seconds, one for all of a search."""

import io
import sys
import threading
import warnings

import pytest
import torch
from rich.console import Console

from optics4f import console, conv_kernels
from optics4f.design import progress
from optics4f.design.outcome import Watch
from optics4f.design.progress import as_one, search
from optics4f.sampling import SamplingWarning
from tests.optics4f.test_report_tiles import written


class Screen:
    """A clock that is put forward by hand, and what stands on the terminal: the last line that was drawn."""

    def __init__(self, monkeypatch, terminal=True):
        self.now, self.text, self.bars = 100.0, io.StringIO(), 0
        screen = self

        class Seen(progress.Progress):
            def __init__(self, *columns, **options):
                screen.bars += 1
                console = Console(file=screen.text, force_terminal=True, width=120, color_system=None)
                super().__init__(
                    *columns, **options | {"console": console, "auto_refresh": False, "get_time": lambda: screen.now}
                )

            def update(self, *arguments, **options):
                super().update(*arguments, **options, refresh=True)

        monkeypatch.setattr(progress, "Progress", Seen)
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)


@pytest.mark.parametrize(("terminal", "seconds", "bars"), [(True, 1.9, 0), (True, 2.1, 1), (False, 60.0, 0)])
def test_the_bar_of_a_retrieval_waits_two_seconds_and_needs_a_terminal(monkeypatch, terminal, seconds, bars):
    screen = Screen(monkeypatch, terminal)
    with Watch(9, patience=None, tolerance=0.0, time_limit=None, label="adam") as watch:
        watch.goes_on(torch.ones(1, 1))
        screen.now += seconds
        for loss in (0.5, 0.25, 0.125):
            watch.goes_on(torch.full((1, 1), loss))
    assert screen.bars == bars
    assert ("adam 0.125" in screen.text.getvalue()) == ("33%" in screen.text.getvalue()) == bool(bars)


def test_it_says_how_much_time_is_left(monkeypatch):
    screen = Screen(monkeypatch)
    with search("masks", 20) as bar:
        for _ in range(10):
            screen.now += 3
            bar.advance()
    assert "50%" in screen.text.getvalue() and "left 0:00:30" in screen.text.getvalue()


def test_searches_of_a_whole_move_one_bar_and_leave_it_where_they_would_end(monkeypatch):
    screen = Screen(monkeypatch)
    with as_one("kernels", 4, share=0.5) as whole:
        screen.now += 3
        for limit, done in ((10, 10), (10, 3)):  # the second ends early
            with search("part", limit) as part:
                for _ in range(done):
                    part.advance()
                assert whole.done == pytest.approx(0.5 * (done / limit + (done == 3)))
        assert whole.done == pytest.approx(1)
        whole.advance()
    assert whole.done == pytest.approx(2)
    assert screen.bars == 1
    assert "part" not in screen.text.getvalue() and "50%" in screen.text.getvalue()
    with search("alone", 2) as bar:  # nothing of the whole is left
        bar.advance(2)
    assert whole.done == pytest.approx(2)


def test_a_design_of_tiles_fills_one_bar(tmp_path, monkeypatch):
    from optics4f.design_run import run_design

    reached = []

    class Kept(progress.Bar):
        def advance(self, steps=1, note=""):
            super().advance(steps, note)
            if type(self) is Kept:
                reached.append((self.label, self.done / self.total))

    monkeypatch.setattr(progress, "Bar", Kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        run_design(written(tmp_path), tmp_path / "out")
    shares = [share for label, share in reached if label == "kernels"]
    assert shares == sorted(shares)
    assert len(shares) > 40  # retrievals of two masks, and steps of descent
    assert shares[-1] == pytest.approx(1)
    # Two rounds and three steps: after them two of five steps are done, however many iterations a round has.
    assert any(share == pytest.approx(0.4) for share in shares)
    assert conv_kernels.as_one is progress.as_one


def test_the_bars_of_commands_wait_as_long(monkeypatch):
    waits = []

    class Timer(threading.Timer):
        def __init__(self, seconds, do):
            waits.append(seconds)
            super().__init__(1e-3, do)

    monkeypatch.setattr(console, "Timer", Timer)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.working("fitting"):
        pass
    assert waits == [2.0]
