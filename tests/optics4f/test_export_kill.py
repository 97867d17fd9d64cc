"""A power cut or kill -9 during an export leaves the old bundle or the new one, never half of one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from optics4f.bundle import Bundle, predict_frames, read_bundle, write_bundle
from tests.optics4f.test_bundle import made

ROOT = Path(__file__).parents[2]


def two_bundles(folder: Path) -> tuple[Bundle, Bundle]:
    """Bundles of other masks each, and their frames."""
    first, _ = made(folder)
    levels = (first.levels + 7) % 256
    frames, quiet = predict_frames(first.specification, levels, first.images, first.noise_seed)
    parts = {"levels": levels, "frames": frames, "frames_noise_free": quiet}
    return first, Bundle(**{**vars(first), **parts})


def kill_while_writing(folder: str, least: int) -> None:
    """Fork a writer and kill it after a random time, until it was hit ``least`` times while writing."""
    torch.set_num_threads(1)  # others do not survive a fork, and the simulation before the writing would wait for them
    path, draw, halves, seen, tries = Path(folder) / "masks.h5", random.Random(0), set(), set(), 0
    bundles = two_bundles(Path(folder))
    for bundle in reversed(bundles):
        start = time.perf_counter()
        write_bundle(path, bundle)
        duration = time.perf_counter() - start
    while (len(halves) < least or len(seen) < 2) and tries < 20 * least:
        tries += 1
        writer = os.fork()
        if writer == 0:
            number = 0
            while True:
                number += 1
                write_bundle(path, bundles[number % 2])
        time.sleep(draw.uniform(0, 4 * duration))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        found = read_bundle(path)  # complete and undamaged, or an error
        seen.add([torch.equal(found.levels, bundle.levels) for bundle in bundles].index(True))
        halves |= {other.name for other in path.parent.iterdir() if other.suffix == ".part"}
    write_bundle(path, bundles[0])  # what those that were killed left goes
    assert not [other for other in path.parent.iterdir() if other.suffix == ".part"]
    print(f"{len(halves)} of {tries} killed while writing, {len(seen)} bundles seen")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX")
def test_a_killed_export_leaves_the_old_bundle_or_the_new_one(tmp_path):
    command = f"from tests.optics4f.test_export_kill import kill_while_writing as f; f({str(tmp_path)!r}, 15)"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.splitlines()[-1:]
    assert int(done.stdout.split()[0]) >= 15  # else the test has not tested
    assert "2 bundles seen" in done.stdout
