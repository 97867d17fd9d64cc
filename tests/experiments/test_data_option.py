"""``--data``: the folder of the data sets for a command and its workers."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments import fabrication, fidelity_command, paper, student_cost
from experiments.__main__ import app


@pytest.mark.parametrize(
    ("command", "module", "function"),
    [
        (("paper", "digits"), paper, "run_paper"),
        (("fabrication", "digits"), fabrication, "run_fabrication"),
        (("fidelity", "experiments/configs/fidelity_demo.toml"), fidelity_command, "run_fidelity"),
        (("cost", "experiments/configs/cost_mnist.toml"), student_cost, "run_student_cost"),
    ],
)
def test_the_option_comes_before_the_environment(tmp_path, monkeypatch, command, module, function):
    monkeypatch.setenv("OPTICS4F_DATA", "/elsewhere")
    monkeypatch.chdir(Path(__file__).parents[2])
    seen = []
    monkeypatch.setattr(module, function, lambda *a, **k: seen.append(os.environ["OPTICS4F_DATA"]))
    for more in ((), ("--data", str(tmp_path))):
        result = CliRunner().invoke(app, [*command, *more])
        assert result.exit_code == 0, result.stderr
    assert seen == ["/elsewhere", str(tmp_path)]
    assert os.environ["OPTICS4F_DATA"] == "/elsewhere"
    refused = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "nowhere")])
    assert (refused.exit_code, refused.stderr.count("\n"), len(seen)) == (2, 1, 2)
    assert "data must be the folder that holds the data sets" in refused.stderr
    if command[0] != "cost":
        refused = CliRunner().invoke(app, [*command, "--data", str(tmp_path), "--cluster", "tcp://host:8786"])
        assert (refused.exit_code, refused.stderr.count("\n"), len(seen)) == (2, 1, 2)
        assert "data must be left out with cluster" in refused.stderr
