"""How sweeps end: by what a run raises, by a signal, by a kill; and what they say where nobody sees a bar."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from experiments import progress
from experiments.local_pool import LocalPool
from experiments.sweep import Here, Outcome, Run, grid, sweep

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # processes that are spawned find sweep_runs by this path
QUIET = Console(quiet=True)


def results_in(folder):
    return [json.loads(line)["result"] for line in (folder / "results.jsonl").read_text().splitlines()]


SWEEP = """
import sys
from pathlib import Path
from rich.console import Console
from experiments.local_pool import LocalPool
from experiments.sweep import grid, sweep
if __name__ == "__main__":
    sys.path.insert(0, {here!r})
    runs = [*grid("sweep_runs:noise", {{"seed": [1, 2]}}, {{"size": 5}})]
    runs += grid("sweep_runs:noise", {{"seed": [3, 4]}}, {{"size": 5, "pause": 300}})
    sweep(runs, Path({out!r}), LocalPool(2), Console())
"""


def test_a_run_that_ends_python_is_a_failed_run(tmp_path):
    runs = [*grid("sweep_runs:leaves", {"seed": [3]}), *grid("sweep_runs:fails", {"seed": [2, 4]})]
    summary = sweep(runs, tmp_path, Here(), QUIET)
    assert summary.failed == {runs[0].key: "SystemExit: the run ended Python with 3"}
    assert results_in(tmp_path) == [2, 4]


def test_whatever_a_run_raises_in_a_worker_is_its_own_and_its_result_comes_back_as_the_file_holds_it(tmp_path):
    (leaves,), (interrupted,), (pair,) = (
        grid(f"sweep_runs:{name}", {"seed": [3]}) for name in ("leaves", "interrupted", "pair")
    )
    summary = sweep([leaves, interrupted, pair], tmp_path, LocalPool(1), QUIET)
    assert summary.failed == {
        leaves.key: "SystemExit: the run ended Python with 3",
        interrupted.key: "KeyboardInterrupt: no reason given",  # not taken for the user's
    }
    assert results_in(tmp_path) == [[3, 6]]
    assert len((tmp_path / "timing.jsonl").read_text().splitlines()) == 1


def test_ctrl_c_in_a_run_of_this_process_ends_the_sweep(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweep(grid("sweep_runs:interrupted", {"seed": [3]}), tmp_path, Here(), QUIET)


def processes_of(session: int) -> list[int]:
    """Those of a session that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, _, _, its = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            except OSError:  # it has ended meanwhile
                continue
            if int(its) == session and state != "Z":
                found.append(int(folder.name))
    return found


def wait_for_none(session: int, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while processes_of(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(session) == []


def end(parent: subprocess.Popen) -> None:
    """Nothing of it stays, whatever the test found."""
    for pid in processes_of(parent.pid):
        os.kill(pid, signal.SIGKILL)
    parent.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_sweep_that_is_killed_leaves_no_process_behind(tmp_path, sent):
    program = tmp_path / "program.py"
    program.write_text(SWEEP.format(here=str(HERE), out=str(tmp_path / "out")))
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    with (tmp_path / "said").open("w") as said:
        places = {"stdout": said, "stderr": said, "cwd": tmp_path, "env": environment}
        parent = subprocess.Popen([sys.executable, str(program)], **places, start_new_session=True)
    try:
        results, deadline = tmp_path / "out" / "results.jsonl", time.monotonic() + 100
        while not (results.exists() and len(results.read_text().splitlines()) == 2):
            assert parent.poll() is None and time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.1)
        assert len(processes_of(parent.pid)) >= 3  # two workers are at their long runs
        os.kill(parent.pid, sent)
        code = parent.wait(20)
        wait_for_none(parent.pid)
        assert len(results.read_text().splitlines()) == 2
        if sent == signal.SIGTERM:
            assert code != -signal.SIGTERM and "KeyboardInterrupt" in (tmp_path / "said").read_text()
    finally:
        end(parent)


POOL = """
import multiprocessing, sys, time
from experiments.training_pool import _started
if __name__ == "__main__":
    sys.path.insert(0, {here!r})
    import sweep_runs
    context = multiprocessing.get_context("spawn")
    with _started(context, 2, context.Queue()) as pool:
        pool.apply(sweep_runs.fails, (2,))
        pool.apply_async(sweep_runs.noise, (1, 2, 300))
        print("ready", flush=True)
        time.sleep(300)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")
def test_training_that_is_killed_leaves_no_process_behind(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(POOL.format(here=str(HERE)))
    places = {"stdout": subprocess.PIPE, "cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(HERE.parents[1])}}
    parent = subprocess.Popen([sys.executable, str(program)], **places, start_new_session=True)
    try:
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        parent.wait()
        wait_for_none(parent.pid)
    finally:
        end(parent)


def test_a_sweep_gives_the_handler_of_sigterm_back(tmp_path):
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt):
        sweep(grid("sweep_runs:noise", {"seed": [1]}, {"size": 2}), tmp_path, _Terminated(), QUIET)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class _Terminated:
    name = "terminated"

    def outcomes(self, runs):
        signal.raise_signal(signal.SIGTERM)
        yield Outcome(runs[0].key, result=1)


class _Slow:
    name = "a slow place"

    def outcomes(self, runs):
        for run in runs:
            yield Outcome(run.key, result=run.arguments["seed"])
            time.sleep(0.3)


def test_without_a_terminal_stderr_tells_how_far_a_long_sweep_is(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.5)
    out = io.StringIO()
    runs = [Run("a:b", {"seed": seed}) for seed in range(4)]
    sweep(runs, tmp_path, _Slow(), Console(file=out))
    told = capfd.readouterr().err.splitlines()
    assert told[0] == "runs on a slow place: 2 of 4 after 0 min"
    assert len(told) == 2 and out.getvalue() == ""
    sweep([Run("a:c", {"seed": 1})], tmp_path, _Slow(), Console(file=out))  # shorter than a line takes
    sweep([Run("a:d", {"seed": seed}) for seed in range(4)], tmp_path, _Slow(), QUIET)
    assert capfd.readouterr().err == ""


def test_the_same_error_is_told_of_once(tmp_path):
    class Failing:
        name = "a bad place"

        def outcomes(self, runs):
            return (Outcome(run.key, error=f"ValueError: {run.arguments['seed'] % 2}") for run in runs)

    out = io.StringIO()
    summary = sweep([Run("a:b", {"seed": seed}) for seed in range(9)], tmp_path, Failing(), Console(file=out))
    assert len(summary.failed) == 9
    assert [line.split("failed: ")[1] for line in out.getvalue().splitlines()] == ["ValueError: 0", "ValueError: 1"]
