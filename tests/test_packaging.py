"""The wheel holds what the packages need, says what they are, and importing them does not wait for what is not used."""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("optics4f", "kd", "experiments")
NEEDED = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
DATA = {"optics4f": ("presets", "templates"), "experiments": ("configs",)}
UNUSED = (
    *("matplotlib", "scipy.optimize", "scipy.stats", "sklearn", "skimage", "pandas", "dask", "distributed"),
    *("IPython", "slmsuite", "pooch", "torchvision", "tensorboard", "sympy.physics", "pytest"),
)
"""What neither a simulation nor a design needs, and what takes seconds."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source distribution, from a copy, so that nothing is left in the checkout."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools, which the extra [dev] brings")
    folder = tmp_path_factory.mktemp("build")
    for name in NEEDED:
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    code = (
        "import json; from setuptools import build_meta as b;"
        "print('BUILT', json.dumps([b.build_wheel('dist'), b.build_sdist('dist')]))"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    names = json.loads(next(line for line in made.stdout.splitlines() if line.startswith("BUILT "))[6:])
    return [folder / "dist" / name for name in names]


@pytest.fixture(scope="module")
def wheel(built):
    return zipfile.ZipFile(built[0])


@pytest.fixture(scope="module")
def metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_every_module_and_every_file_that_they_read(wheel):
    held = {name for name in wheel.namelist() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    wanted = {f"{package}/py.typed" for package in PACKAGES}
    for package in PACKAGES:
        wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
    for package, folders in DATA.items():
        for folder in folders:
            found = {str(path.relative_to(ROOT)) for path in (ROOT / package / folder).glob("*.toml")}
            assert found
            wanted |= found
    assert held == wanted


def test_nothing_else_is_installed(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_metadata_are_complete(metadata):
    import optics4f

    assert metadata["Name"] == "optics4f" and metadata["Version"] == optics4f.__version__
    assert "4f system" in metadata["Summary"] and metadata["License"] == "MIT" and metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()
    assert "spatial light modulator" in metadata["Keywords"]
    assert {"Typing :: Typed", "Topic :: Scientific/Engineering :: Physics"} <= set(metadata.get_all("Classifier"))
    assert {"kd", "bench", "cluster", "docs", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_only_the_python_that_runs_the_tests_is_claimed(metadata):
    prefix = "Programming Language :: Python :: 3."
    claimed = [name.removeprefix(prefix) for name in metadata.get_all("Classifier") if name.startswith(prefix)]
    lowest = metadata["Requires-Python"].removeprefix(">=3.")
    assert claimed == [lowest], "others belong there once the tests run with them"
    assert f"python3.{lowest}" in (ROOT / "Makefile").read_text()


def test_the_command_is_an_entry_point(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "optics4f = optics4f.start:main" in wheel.read(name).decode()


def test_every_pinned_version_is_one_that_setup_asks_for(metadata):
    """``make`` installs with constraints: what an extra asks for is pinned there, or left out on purpose."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    asked = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    asked = [r for r in asked if r.marker is None or "peers" not in str(r.marker)]
    assert {canonicalize_name(r.name) for r in asked} - pinned.keys() <= {"setuptools"}
    assert [str(r) for r in asked if (v := pinned.get(canonicalize_name(r.name))) and not r.specifier.contains(v)] == []


def test_the_source_distribution_makes_the_same_wheel(built):
    import tarfile

    with tarfile.open(built[1]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    modules = {name for name in zipfile.ZipFile(built[0]).namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert modules <= held
    assert set(NEEDED) <= held


def in_a_new_process(code):
    """What ``code`` prints, where no test has imported anything."""
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    return made.stdout


LOADED = "import sys; print(*sorted(name for name in {names!r} if name in sys.modules))"


@pytest.mark.parametrize("names", ["optics4f", "kd", "experiments", "optics4f.cli", "kd.cli", "experiments.__main__"])
def test_a_package_and_its_help_do_not_wait_for_pytorch(names):
    heavy = ("torch", "scipy", "h5py", *UNUSED)
    assert in_a_new_process(f"import {names}; {LOADED.format(names=heavy)}").split() == []


def test_public_names_bring_only_what_a_simulation_needs():
    every = "import optics4f; [getattr(optics4f, name) for name in optics4f.__all__]; "
    assert in_a_new_process(every + LOADED.format(names=UNUSED)).split() == []


def test_imports_take_less_than_two_seconds_beyond_pytorchs_own():
    """Processor time, the lesser of two processes: 1.1 s of optics4f and 0.4 s of kd on the machine of the tests."""
    code = (
        "import time, torch; start = time.process_time();"
        "import optics4f; [getattr(optics4f, name) for name in optics4f.__all__]; one = time.process_time();"
        "import kd.command, kd.training, kd.students, kd.teachers, kd.losses;"
        "print(one - start, time.process_time() - one)"
    )
    optics, kd = zip(*(map(float, in_a_new_process(code).split()) for _ in range(2)), strict=True)
    assert min(optics) < 2 and min(kd) < 2, (optics, kd)


def test_numbers_that_help_writes_out_are_those_of_the_code():
    from experiments.benchmark_commands import LARGEST, MOST
    from experiments.benchmark_growth import BATCHES, SIZES

    assert (SIZES[-1], BATCHES[-1]) == (LARGEST, MOST)
