"""A sweep on a Dask cluster of separate processes, one of which is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from experiments import cluster
from experiments.cluster import DaskWorkers
from experiments.sweep import Here, grid, sweep

dask = pytest.importorskip("dask", reason="needs the extra [cluster]")
distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")
sys.path.insert(0, str(Path(__file__).parent))  # processes that are spawned find sweep_runs by this path
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def local_cluster():
    # A run is given up with its second worker; a new one may take its time to start on a machine that is busy.
    quick = dask.config.set(
        {"distributed.scheduler.allowed-failures": 1, "distributed.comm.timeouts.connect": "120s"},
    )
    with (
        quick,
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="CRITICAL"
        ) as found,
    ):
        guard = threading.Timer(600, found.close)  # a sweep waits for workers; where none comes back, it ends here
        guard.daemon = True
        guard.start()
        yield found
        guard.cancel()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sixty_runs_with_a_worker_killed_among_them_are_done_once_each_as_a_serial_sweep_does_them(
    local_cluster, tmp_path
):
    runs = grid("sweep_runs:noise", {"seed": range(32), "size": [40, 90]}, {"pause": 0.05})
    assert len(runs) == 64
    victim = next(iter(local_cluster.workers.values()))
    pid = victim.pid
    at_death: list[int] = []

    def kill():
        path = tmp_path / "cluster" / "results.jsonl"
        while not path.exists() or len(path.read_text().splitlines()) < 10:
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        at_death.append(len(path.read_text().splitlines()))

    killer = threading.Thread(target=kill)
    killer.start()
    summary = sweep(runs, tmp_path / "cluster", DaskWorkers(local_cluster.scheduler_address), QUIET)
    killer.join()
    assert (summary.done, summary.skipped, summary.failed) == (64, 0, {})

    sweep(
        grid("sweep_runs:noise", {"seed": range(32), "size": [40, 90]}, {"pause": 0.05}), tmp_path / "s", Here(), QUIET
    )
    assert (tmp_path / "cluster" / "results.jsonl").read_bytes() == (tmp_path / "s" / "results.jsonl").read_bytes()
    keys = [row["key"] for row in lines(tmp_path / "cluster" / "results.jsonl")]
    assert len(keys) == len(set(keys)) == 64
    assert 10 <= at_death[0] <= 60  # in the middle
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

    again = sweep(runs, tmp_path / "cluster", DaskWorkers(local_cluster.scheduler_address), QUIET)
    assert (again.done, again.skipped) == (0, 64)


def test_a_run_that_raises_on_a_worker_is_told_of(local_cluster, tmp_path):
    runs = grid("sweep_runs:fails", {"seed": [0, 1]})
    summary = sweep(runs, tmp_path, DaskWorkers(local_cluster.scheduler_address), QUIET)
    assert summary.failed == {runs[1].key: "ValueError: seed must be even, got 1."}
    assert summary.done == 1


def test_a_run_that_kills_its_workers_is_given_up_and_the_others_are_done(local_cluster, tmp_path):
    (tmp_path / "tombs").mkdir()
    (killer,) = grid("sweep_runs:dies", {"seed": [7]}, {"folder": str(tmp_path / "tombs"), "times": 99})
    others = grid("sweep_runs:fails", {"seed": [2, 4, 6]})
    summary = sweep([killer, *others], tmp_path / "out", DaskWorkers(local_cluster.scheduler_address), QUIET)
    assert summary.failed == {killer.key: "2 workers died of it, as they do for want of memory"}
    assert [row["result"] for row in lines(tmp_path / "out" / "results.jsonl")] == [2, 4, 6]
    # Two in company, then alone: two as well, but a worker that is lost while it starts counts too.
    assert 2 < len(list((tmp_path / "tombs").iterdir())) <= 4


def test_a_cluster_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 1)
    with pytest.raises(ValueError, match="cluster must be the address of a Dask scheduler that runs, got 'tcp://127"):
        sweep(grid("sweep_runs:noise", {"seed": [1]}, {"size": 3}), tmp_path, DaskWorkers("tcp://127.0.0.1:9"), QUIET)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("localhost", "missing port number"),
        ("", "missing port number"),
        ("foo://x:1", "unknown address scheme"),
        ("tcp://localhost:abc", "invalid literal"),
        ("nowhere.json", "No such file"),
        ("half.json", "Expecting"),
        ("empty.json", "missing port number"),
        ("number.json", "missing port number"),
    ],
)
def test_what_is_no_address_is_refused_before_a_client_is_made(address, why, tmp_path, monkeypatch):
    # distributed tries to close such a client when Python ends, for 40 s, and ends that in a traceback
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.json").write_text('{"address": ')
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "number.json").write_text('{"address": 5}')
    monkeypatch.setattr(cluster, "CONNECT", 0)
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("a client was made"))
    with pytest.raises(ValueError, match=f"cluster must be the address of a Dask scheduler .*{why}"):
        next(iter(DaskWorkers(address).outcomes([])))


def test_a_file_that_the_scheduler_is_about_to_write_is_waited_for(tmp_path, monkeypatch):
    later, made = tmp_path / "later.json", []
    monkeypatch.setattr(distributed, "Client", lambda **options: made.append(options) or pytest.fail("made"))
    timer = threading.Timer(0.5, later.write_text, ['{"address": "tcp://127.0.0.1:9"}'])
    timer.start()
    with pytest.raises(pytest.fail.Exception, match="made"):
        next(iter(DaskWorkers(str(later)).outcomes([])))
    assert made[0]["scheduler_file"] == str(later)


def test_a_scheduler_that_is_lost_is_told_of_in_words_and_what_is_done_is_kept(tmp_path, monkeypatch, caplog):
    place, out = tmp_path / "scheduler.json", tmp_path / "out" / "results.jsonl"
    path = [str(Path(__file__).parents[2]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    options = {"env": os.environ | {"PYTHONPATH": os.pathsep.join(path)}, "stderr": subprocess.DEVNULL}

    def dask_process(name: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{name}", "--scheduler-file", str(place), "--no-dashboard"]
        return subprocess.Popen([*command, *arguments], **options)

    scheduler = dask_process("dask_scheduler", "--port", "0", "--host", "127.0.0.1")
    worker = dask_process("dask_worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "60")
    try:
        until = time.monotonic() + 120
        while not place.exists() and time.monotonic() < until:
            time.sleep(0.1)

        def kill():
            while not out.exists() or len(out.read_text().splitlines()) < 3:
                time.sleep(0.02)
            scheduler.kill()

        threading.Thread(target=kill, daemon=True).start()
        runs = grid("sweep_runs:noise", {"seed": range(40), "size": [3]}, {"pause": 0.2})
        with pytest.raises(
            ConnectionError,
            match=r"the cluster at .*scheduler\.json must go on .* no answer from its scheduler .* is kept",
        ):
            sweep(runs, tmp_path / "out", DaskWorkers(str(place)), QUIET)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert not [record for record in caplog.records if record.name == "distributed.client"]
    done = len(lines(out))
    assert 3 <= done < 40
    summary = sweep(runs, tmp_path / "out", Here(), QUIET)
    assert (summary.skipped, summary.done) == (done, 40 - done)


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install '.\[cluster\]'"):
        DaskWorkers("tcp://127.0.0.1:8786")
