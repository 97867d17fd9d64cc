"""Finding sets by name, and fetching them from a server of the test's own."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import sys
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from kd.data import catalogue
from kd.data.catalogue import DATASETS, DataSet, checked_options, load
from kd.data.download import Download, fetch
from kd.data.idx import load_idx
from kd.data.places import data_in, data_root, locate


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP, and the requests that came."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    httpd.server_close()


def served(folder, base: str, name: str, content: bytes, *, unpack: bool = False) -> Download:
    (folder / name).write_bytes(content)
    return Download(f"{base}/{name}", f"md5:{hashlib.md5(content).hexdigest()}", unpack=unpack)


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def test_loose_files_are_fetched_once_and_read(server, tmp_path, monkeypatch):
    folder, base, asked = server
    pixels = np.arange(20 * 6, dtype=np.uint8).reshape(20, 2, 3)
    labels = (np.arange(20) % 2).astype(np.uint8)
    files = tuple(
        served(folder, base, f"{part}-{kind}-ubyte.gz", idx(values))
        for part in ("train", "t10k")
        for kind, values in (("images-idx3", pixels), ("labels-idx1", labels))
    )
    entry = DataSet("tiny", load_idx, ("tiny",), "Pass download=True.", files=files)
    monkeypatch.setitem(catalogue.DATASETS, "tiny", entry)
    with pytest.raises(FileNotFoundError, match=r"tiny must be in .*tiny, got no such folder. Pass download=True."):
        load("tiny", tmp_path)
    assert not asked
    data = load("tiny", tmp_path, download=True)
    assert data.test.images.mul(255).round().flatten().tolist() == pixels.flatten().tolist()
    assert len(asked) == 4
    # A file that was unpacked by hand counts as there; one that is missing is fetched again.
    (tmp_path / "tiny" / "train-labels-idx1-ubyte").write_bytes(
        gzip.decompress((tmp_path / "tiny" / "train-labels-idx1-ubyte.gz").read_bytes())
    )
    (tmp_path / "tiny" / "train-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "tiny" / "t10k-images-idx3-ubyte.gz").unlink()
    load("tiny", tmp_path, download=True)
    assert len(asked) == 5


def tar_of(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_an_archive_is_unpacked_into_its_folder(server, tmp_path):
    folder, base, asked = server
    file = served(folder, base, "set.tar.gz", tar_of({"kit/set/a.txt": b"abc"}), unpack=True)
    for _ in range(2):
        assert (fetch((file,), tmp_path / "data", "kit/set") / "a.txt").read_bytes() == b"abc"
    assert len(asked) == 1
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["kit", "set.tar.gz"]


def test_an_empty_folder_is_no_data_set(server, tmp_path, monkeypatch):
    folder, base, asked = server
    picture = io.BytesIO()
    Image.new("L", (4, 3), 20).save(picture, "png")
    names = {f"kit/{kind}/{n}.png": picture.getvalue() for kind in ("left", "right") for n in range(10)}
    files = (served(folder, base, "kit.tar.gz", tar_of(names), unpack=True),)
    reader = functools.partial(catalogue.load_folders, name="arrows")
    monkeypatch.setitem(DATASETS, "arrows", DataSet("arrows", reader, ("kit", "arrows"), "Unpack it.", files=files))
    for name in ("kit", "arrows"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for _ in range(2):
        assert load("arrows", tmp_path / "data", grey=True, download=True).classes == ("left", "right")
    assert asked == ["/kit.tar.gz"]
    (tmp_path / "data/kit").rename(tmp_path / "data/elsewhere")
    (tmp_path / "data/arrows").rmdir()
    (tmp_path / "data/elsewhere").rename(tmp_path / "data/arrows")
    (tmp_path / "data/kit").mkdir()  # the usual place, with nothing in it
    assert load("arrows", tmp_path / "data", grey=True, download=True).classes == ("left", "right")
    assert len(asked) == 1 and not any((tmp_path / "data/kit").iterdir())
    (tmp_path / "none").mkdir()
    assert locate("none", tmp_path, ("nowhere", "none"), "") == tmp_path / "none"  # the loader says what is missing


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ({"other/a.txt": b""}, ValueError, "must contain the folder kit, got none"),
        ({"kit/a.txt": b"", "../evil.txt": b""}, tarfile.TarError, "evil"),
    ],
)
def test_an_archive_of_something_else_leaves_nothing_behind(server, tmp_path, names, error, message):
    folder, base, _ = server
    with pytest.raises(error, match=message):
        fetch((served(folder, base, "set.tar.gz", tar_of(names), unpack=True),), tmp_path / "data", "kit")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set.tar.gz"]
    assert not (tmp_path / "evil.txt").exists()


def test_a_file_with_another_checksum_is_refused(server, tmp_path):
    folder, base, _ = server
    file = served(folder, base, "a.bin", b"as published")
    (folder / "a.bin").write_bytes(b"tampered with")
    with pytest.raises(ValueError, match="hash .* does not match"):
        fetch((file,), tmp_path, "set")
    assert not (tmp_path / "set" / "a.bin").exists()


def test_a_server_that_does_not_answer_is_named(server, tmp_path):
    _, base, _ = server
    with pytest.raises(OSError, match=rf"{base}/gone.bin must be reachable, got: .*Fetch it by hand"):
        fetch((Download(f"{base}/gone.bin", "md5:0"),), tmp_path, "set")


def test_without_pooch_the_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pooch .* pip install '.\[kd\]'"):
        fetch((), tmp_path, "set")


def test_the_argument_comes_before_the_environment_and_that_before_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("OPTICS4F_DATA", raising=False)
    assert data_root() == tmp_path / "optics4f" / "data"
    monkeypatch.setenv("OPTICS4F_DATA", "/somewhere")
    assert str(data_root()) == "/somewhere"
    assert data_root(tmp_path) == tmp_path


@pytest.mark.parametrize("before", [None, "/somewhere"])
def test_the_data_folder_of_a_command_holds_while_it_runs(monkeypatch, tmp_path, before):
    if before is None:
        monkeypatch.delenv("OPTICS4F_DATA", raising=False)
    else:
        monkeypatch.setenv("OPTICS4F_DATA", before)
    (tmp_path / "sets").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), data_in("sets"):
        assert os.environ["OPTICS4F_DATA"] == str(tmp_path / "sets")  # absolute: workers may stand elsewhere
        assert data_root() == tmp_path / "sets"
        raise KeyError
    assert os.environ.get("OPTICS4F_DATA") == before
    with data_in(None):
        assert os.environ.get("OPTICS4F_DATA") == before
    with pytest.raises(FileNotFoundError, match=r"data must be the folder .*, got nowhere, which is none\."):
        data_in("nowhere").__enter__()
    assert os.environ.get("OPTICS4F_DATA") == before


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.folders])
def test_a_missing_set_says_what_to_put_where(tmp_path, name):
    with pytest.raises(FileNotFoundError) as caught:
        load(name, tmp_path)
    message, entry = str(caught.value), DATASETS[name]
    assert str(tmp_path / entry.folders[0]) in message
    assert entry.advice in message and len(message) < 300 + len(str(tmp_path))  # a table of runs shows no more
    assert "OPTICS4F_DATA" in message
    assert "\n" not in message
    fetchable = bool(entry.files or "scikit_learn_data" in entry.folders)
    assert ("download=True" in message) == fetchable
    assert (f"python -m kd data --download {name}" in message) == fetchable
    assert "--data FOLDER" in message
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_and_lists_are_options():
    found = checked_options("orl_faces", {"size": [np.int64(8), 9], "split_seed": np.int64(3)})
    assert found == {"size": (8, 9), "split_seed": 3}
    assert checked_options("mnist", {"root": "/x", "download": True, "grey": True}) == {}


def test_checksums_are_md5_and_addresses_unique():
    files = [file for entry in DATASETS.values() for file in entry.files]
    assert len({file.url for file in files}) == len(files) == 10
    assert all(len(file.checksum) == 36 and file.checksum.startswith("md5:") for file in files)


def test_any_folder_with_a_folder_per_class_is_a_set(tmp_path):
    for name in ("left", "right"):
        (tmp_path / "arrows" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (4, 3), 20 * number).save(tmp_path / "arrows" / name / f"{number}.png")
    data = load("arrows", tmp_path, grey=True)
    assert (data.name, data.classes, data.train.images.shape[1:]) == ("arrows", ("left", "right"), (1, 3, 4))


def test_the_built_in_digits_need_no_folder_and_are_grey_already(tmp_path):
    assert load("digits", tmp_path / "nowhere", grey=True, size=8).train.images.shape == (1200, 1, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("minst", {}, r"one of digits, mnist, .* or a folder .*, got 'minst'"),
        ("digits", {"limit": 3, "colour": 1}, "asked for with size, validation, test, split_seed, got colour, limit"),
        ("digits", {"size": "32"}, "size must be a valid integer, got '32'"),
        ("digits", {"size": 32.5}, "size must be a valid integer, got 32.5"),
        ("orl_faces", {"size": [28]}, "size must be a valid integer or .*, got \\[28\\]"),
        ("mnist", {"folder": "/x"}, "MNIST must be asked for with size, .*, got folder"),
    ],
)
def test_unknown_names_and_options_list_the_known(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, tmp_path, **options)
