"""Workers that were started in another folder find what the command names relative to its own."""

import json
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from experiments.cluster import DaskWorkers
from experiments.fidelity_command import study_lines
from experiments.fidelity_runs import images_of
from experiments.fidelity_settings import load_fidelity
from experiments.paper_rows import PAPER_ROWS
from experiments.sweep import Here, sweep
from experiments.sweep_command import load_sweep, run_sweep
from kd.checkpoints import save_checkpoint
from optics4f.config import ConfigError

distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")
sys.path.insert(0, str(Path(__file__).parent))  # processes that are spawned find sweep_runs by this path
CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
QUIET = Console(quiet=True)
SWEEP = """
function = "sweep_runs:reads"
paths = ["config"]
[axes]
config = ["benches/a.toml", "benches/b.toml"]
seed = [0, 1]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a scheduler whose worker processes are in a folder that holds nothing."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    places = {"dashboard_address": None, "silence_logs": "CRITICAL"}
    try:
        with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, **places) as cluster:
            os.chdir(before)
            yield cluster.scheduler_address
    finally:
        os.chdir(before)


def test_a_sweep_names_files_relative_to_where_it_is_started(address, tmp_path, monkeypatch):
    (tmp_path / "benches").mkdir()
    for name in "ab":
        (tmp_path / "benches" / f"{name}.toml").write_text(name)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    with distributed.Client(address) as client:
        (folder,) = client.run(os.getcwd).values()
    assert not list(Path(folder).glob("benches"))
    summary = run_sweep(Path("sweep.toml"), Path("out"), QUIET, cluster=address)
    assert (summary.done, summary.failed) == (4, {})
    results = [json.loads(line)["result"] for line in Path("out/results.jsonl").read_text().splitlines()]
    assert results == [["a", 0], ["a", 1], ["b", 0], ["b", 1]]


def test_the_sweep_of_the_how_to_can_be_done_anywhere(monkeypatch):
    monkeypatch.chdir(CONFIGS.parents[1])
    for run in load_sweep("experiments/configs/sweep_demo.toml").runs():
        assert run.arguments["config"] == str(CONFIGS / "demo.toml")


def test_a_fidelity_study_names_checkpoints_relative_to_where_it_is_started(address, tmp_path, monkeypatch):
    text = (CONFIGS / "fidelity_demo.toml").read_text()
    text = text[: text.index("[effects.crosstalk]")].replace("seeds = [0, 1, 2, 3]", "seeds = [0, 1]")
    text = text.replace("[data]", "[images]\ntest = 20\n\n[data]").replace("masks = 4", "masks = 2")
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(text.replace('row = "physical"', 'row = "physical"\ncheckpoints = "students"'))
    study = load_fidelity("study.toml")
    Path("students").mkdir()
    student = PAPER_ROWS["physical"].build(study.student, images_of(study), 0)
    save_checkpoint("students/physical-0.safetensors", student, config={}, seed=0, metrics={})
    runs = [line.run for line in study_lines(study, Path("out")) if line.masks == "base" and line.seed == 0][:3]
    assert sweep(runs, Path("out"), DaskWorkers(address), QUIET).failed == {}
    assert sweep(runs, Path("here"), Here(), QUIET).failed == {}
    assert Path("out/results.jsonl").read_bytes() == Path("here/results.jsonl").read_bytes()


@pytest.mark.parametrize("paths", ['["seed"]', '["folder"]'])
def test_paths_that_are_none_are_refused(tmp_path, paths):
    (tmp_path / "sweep.toml").write_text(SWEEP.replace('["config"]', paths))
    with pytest.raises(ConfigError, match="paths must name arguments of fixed or axes that are strings, got"):
        load_sweep(tmp_path / "sweep.toml")
