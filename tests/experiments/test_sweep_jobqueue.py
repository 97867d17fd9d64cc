"""The how-to for Slurm, with the shell in the place of sbatch: a job script starts workers, they do a sweep."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from experiments.cluster import DaskWorkers
from experiments.sweep import Here, grid, sweep

pytest.importorskip("distributed", reason="needs the extra [cluster]")
pytest.importorskip("dask_jobqueue", reason="needs the extra [cluster]")
QUIET = Console(quiet=True)
HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/how-to/run_a_sweep_on_slurm.md"


def cluster_of_the_how_to(cores=16):
    """What the block ``cluster.py`` makes, on so many cores a job."""
    code = PAGE.read_text().split("in a file `cluster.py`:\n\n```py\n")[1].split("cluster.adapt")[0]
    for name in ("cores", "processes"):
        assert f"{name}=16" in code
        code = code.replace(f"{name}=16", f"{name}={cores}")
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["cluster"]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """``sbatch`` that hands the script to the shell at once, ``scancel`` that kills what it started."""
    folder, jobs = tmp_path / "bin", tmp_path / "jobs"
    folder.mkdir()
    sbatch = f"""#!/bin/sh
cp "$1" "$1.kept"
setsid bash "$1.kept" >{tmp_path}/log 2>&1 &
echo $! >>{jobs}
echo Submitted batch job $!
"""
    for name, text in (("sbatch", sbatch), ("scancel", "#!/bin/sh\nkill -TERM -- -$1\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HERE))  # where the workers find sweep_runs
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    yield tmp_path
    for job in jobs.read_text().split() if jobs.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(job), signal.SIGKILL)


def test_workers_of_a_slurm_job_do_a_sweep_as_this_process_does(slurm):
    with cluster_of_the_how_to(cores=2) as cluster:
        cluster.scale(jobs=1)
        runs = grid("sweep_runs:noise", {"seed": range(20), "size": [40]}, {})
        try:
            cluster.wait_for_workers(2, timeout=60)
        except TimeoutError:
            pytest.fail((slurm / "log").read_text())
        summary = sweep(runs, slurm / "jobs_out", DaskWorkers(cluster.scheduler_address), QUIET)
        assert (summary.done, summary.failed) == (20, {})
    sweep(runs, slurm / "serial", Here(), QUIET)
    assert (slurm / "jobs_out" / "results.jsonl").read_bytes() == (slurm / "serial" / "results.jsonl").read_bytes()


def test_the_script_of_the_how_to_is_what_slurm_is_given():
    with cluster_of_the_how_to() as made:
        script = made.job_script()
    for line in ("#SBATCH -p cpu", "#SBATCH -A optics", "#SBATCH --cpus-per-task=16", "#SBATCH -t 08:00:00"):
        assert line in script.splitlines()
    assert "--nworkers 16 --nanny" in script and "--lifetime 470m" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
