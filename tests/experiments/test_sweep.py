"""Sweeps: each run once, whatever dies in between, and the same results wherever they are done."""

import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from experiments.local_pool import LocalPool
from experiments.sweep import Here, Outcome, Run, grid, sweep

sys.path.insert(0, str(Path(__file__).parent))  # processes that are spawned find sweep_runs by this path
QUIET = Console(quiet=True)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def noise_runs(count, **arguments):
    return grid("sweep_runs:noise", {"seed": range(count)}, {"size": 50} | arguments)


def test_a_grid_is_every_combination():
    runs = grid("a:b", {"seed": [1, 2], "bits": [8, 4, 2]}, {"size": 5})
    assert [run.arguments for run in runs][:2] == [{"size": 5, "seed": 1, "bits": 8}, {"size": 5, "seed": 1, "bits": 4}]
    assert len({run.key for run in runs}) == 6


def test_a_key_is_that_of_the_call_not_of_the_order_of_its_arguments():
    run = Run("a:b", {"x": 1, "y": 2})
    assert run.key == Run("a:b", {"y": 2, "x": 1}).key
    others = (Run("a:c", {"x": 1, "y": 2}), Run("a:b", {"x": 1, "y": 3}), Run("a:b", {"x": 1, "y": "2"}))
    assert run.key not in {other.key for other in others}


def test_results_are_in_the_order_of_the_runs_and_finished_runs_are_skipped(tmp_path):
    runs = grid("sweep_runs:noted", {"seed": [5, 3, 4]}, {"folder": str(tmp_path / "notes")})
    (tmp_path / "notes").mkdir()
    first = sweep(runs[:2], tmp_path, Here(), QUIET)
    assert (first.done, first.skipped) == (2, 0)
    second = sweep(runs, tmp_path, Here(), QUIET)
    assert (second.done, second.skipped) == (1, 2)
    before = (tmp_path / "results.jsonl").stat().st_mtime_ns
    third = sweep(runs, tmp_path, Here(), QUIET)
    assert (third.done, third.skipped) == (0, 3)
    assert (tmp_path / "results.jsonl").stat().st_mtime_ns == before
    rows = lines(tmp_path / "results.jsonl")
    assert [row["result"] for row in rows] == [25, 9, 16]
    assert [row["arguments"]["seed"] for row in rows] == [5, 3, 4]
    assert len(list((tmp_path / "notes").iterdir())) == 3
    assert [row["key"] for row in lines(tmp_path / "timing.jsonl")] == [row["key"] for row in rows]


def test_results_of_other_runs_stay(tmp_path):
    sweep(noise_runs(2), tmp_path, Here(), QUIET)
    sweep(noise_runs(3, size=7), tmp_path, Here(), QUIET)
    rows = lines(tmp_path / "results.jsonl")
    assert [row["arguments"]["size"] for row in rows] == [50, 50, 7, 7, 7]


def test_a_run_that_raises_is_told_of_left_out_and_tried_again(tmp_path):
    runs = grid("sweep_runs:fails", {"seed": [0, 1, 2, 3]})
    summary = sweep(runs, tmp_path, Here(), QUIET)
    assert (summary.done, len(summary.failed)) == (2, 2)
    assert summary.failed[runs[1].key] == "ValueError: seed must be even, got 1."
    assert [row["result"] for row in lines(tmp_path / "results.jsonl")] == [0, 2]
    assert len(sweep(runs, tmp_path, Here(), QUIET).failed) == 2


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (Run("sweep_runs:nothing", {}), 'function must be "package.module:name", got "sweep_runs:nothing"'),
        (Run("no_such_module:f", {}), "No module named 'no_such_module'"),
        (Run("sweep_runs:noise", {"sed": 1}), "unexpected keyword argument 'sed'"),
        (Run("sweep_runs:not_a_number", {"seed": 1}), "not JSON compliant"),
    ],
)
def test_a_run_that_cannot_be_says_why(tmp_path, run, error):
    (failed,) = sweep([run], tmp_path, Here(), QUIET).failed.values()
    assert re.search(re.escape(error), failed)


def test_runs_have_one_thread(tmp_path):
    sweep(grid("sweep_runs:threads", {"seed": [0]}), tmp_path, Here(), QUIET)
    assert lines(tmp_path / "results.jsonl")[0]["result"] == 1


def test_two_runs_that_are_the_same_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got 3 of which 2 do"):
        sweep([*noise_runs(2), noise_runs(1)[0]], tmp_path, Here(), QUIET)


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    class Nested:
        name = "nested"

        def outcomes(self, runs):
            with pytest.raises(ValueError, match="got a sweep at work in it"):
                sweep(noise_runs(1), tmp_path, Here(), QUIET)
            return iter(())

    sweep(noise_runs(2), tmp_path, Nested(), QUIET)
    assert sweep(noise_runs(2), tmp_path, Here(), QUIET).done == 2  # the lock is gone


def test_a_damaged_file_of_results_is_refused_by_line(tmp_path):
    sweep(noise_runs(2), tmp_path, Here(), QUIET)
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"results\.jsonl:2 must be a line of a sweep"):
        sweep(noise_runs(3), tmp_path, Here(), QUIET)


def test_what_is_finished_stays_finished_when_the_sweep_ends_early(tmp_path):
    class Interrupted:
        name = "interrupted"

        def outcomes(self, runs):
            for run in runs[:5]:
                yield Outcome(run.key, result=run.arguments["seed"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(noise_runs(9), tmp_path, Interrupted(), QUIET)
    assert [row["result"] for row in lines(tmp_path / "results.jsonl")] == [0, 1, 2, 3, 4]


def test_processes_give_the_bytes_of_a_serial_sweep(tmp_path):
    runs = noise_runs(24)
    sweep(runs, tmp_path / "serial", Here(), QUIET)
    summary = sweep(runs, tmp_path / "pool", LocalPool(2), QUIET)
    assert summary.done == 24
    texts = [(tmp_path / name / "results.jsonl").read_bytes() for name in ("serial", "pool")]
    assert texts[0] == texts[1]
    workers = {row["worker"] for row in lines(tmp_path / "pool" / "timing.jsonl")}
    assert f"process {os.getpid()}" not in workers


def test_a_process_that_is_killed_has_its_run_taken_up_again(tmp_path):
    runs = noise_runs(30, pause=0.05)
    sweep(noise_runs(30, pause=0.05), tmp_path / "serial", Here(), QUIET)
    before = set(multiprocessing.active_children())

    def kill_one():
        while not (tmp_path / "pool" / "results.jsonl").exists():
            time.sleep(0.02)
        victim = next(child for child in multiprocessing.active_children() if child not in before)
        os.kill(victim.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary = sweep(runs, tmp_path / "pool", LocalPool(2), QUIET)
    killer.join()
    assert (summary.done, summary.failed) == (30, {})
    texts = [(tmp_path / name / "results.jsonl").read_bytes() for name in ("serial", "pool")]
    assert texts[0] == texts[1]
    assert len({row["worker"] for row in lines(tmp_path / "pool" / "timing.jsonl")}) > 2  # a second pool took over


@pytest.mark.slow  # six pools, one after the other
def test_a_run_that_kills_its_process_each_time_is_given_up_and_the_others_are_done(tmp_path):
    (tmp_path / "tombs").mkdir()
    tombs = {"folder": str(tmp_path / "tombs")}
    killer, once = (grid("sweep_runs:dies", {"seed": [s]}, tombs | {"times": n})[0] for s, n in ((7, 99), (8, 1)))
    summary = sweep([killer, once, *noise_runs(4)], tmp_path / "out", LocalPool(2), QUIET)
    assert list(summary.failed) == [killer.key]
    assert "3 processes died of it alone" in summary.failed[killer.key]
    assert summary.done == 5


def test_ctrl_c_ends_the_processes_of_a_pool(tmp_path):
    before = set(multiprocessing.active_children())
    interrupt = threading.Timer(3.0, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    interrupt.start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        sweep(noise_runs(4, pause=60), tmp_path, LocalPool(2), QUIET)
    assert time.perf_counter() - started < 15  # and not the minute that the runs take
    deadline = time.monotonic() + 5
    while set(multiprocessing.active_children()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(multiprocessing.active_children()) - before


@pytest.mark.parametrize("workers", [0, -1])
def test_a_pool_has_at_least_one_process(workers):
    with pytest.raises(ValueError, match="workers must be at least 1"):
        LocalPool(workers)
