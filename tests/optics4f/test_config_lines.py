"""Every error of a TOML file names the file and, where it can be found, key and line."""

import tomllib
from pathlib import Path

import pytest

from optics4f.config import ConfigError, bench_from, load_bench, read_toml, validated
from optics4f.config_lines import Origin, line_of
from optics4f.design_config import DesignedBench

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "experiments/configs").glob("*.toml"), *(ROOT / "optics4f/presets").glob("*.toml")])
TEXT = '''\
# [bench] in a comment
a = 1.5 # "not [a] table
"q k".b = """\\" x
[not]
y = 1"""
dates = [1979-05-27T07:32:00Z, 1979-05-27]
[bench.slm]   # c
weights = [
    [0, -1, 0],  # ]
    [0, -1, "a]"],
]
lut = { phase = [0,
 1], z = 'x\\' }
[[runs]]
n = 1
[runs.deep]
m = 1
[[runs]]
n = 2
[runs.deep]
m = true'''


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("a",), 2),
        (("q k", "b"), 3),
        (("y",), None),
        (("dates", 1), 6),
        (("bench",), 7),
        (("bench", "slm", "nothing"), 7),  # it would be in this table
        (("bench", "slm", "weights", 1, 2), 10),
        (("bench", "slm", "lut"), 12),
        (("bench", "slm", "lut", "phase", 1), 13),
        (("bench", "slm", "lut", "z"), 13),
        (("runs", 0, "deep", "m"), 17),
        (("runs", 1, "n"), 19),
        (("runs", 1, "deep", "m"), 21),
        (("elsewhere", "m"), None),
    ],
)
def test_a_line_is_found_behind_strings_comments_and_arrays_of_many_lines(location, line):
    tomllib.loads(TEXT)
    assert line_of(location, TEXT) == line


def leaves(value, path=()):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_lines_of_every_file_that_ships_are_those_that_name_the_key(path):
    text = path.read_text(encoding="utf-8")
    for place in list(leaves(tomllib.loads(text)))[::7]:
        line = text.splitlines()[line_of(place, text) - 1]
        assert str(place[-1]) in line and "=" in line, place


def test_the_same_table_of_two_files_is_the_same(tmp_path):
    text = (ROOT / "experiments/configs/design_spots.toml").read_text()
    for name in ("one.toml", "two.toml"):
        (tmp_path / name).write_text(text)
    one, two = load_bench(tmp_path / "one.toml"), load_bench(tmp_path / "two.toml")
    assert one._origin.source != two._origin.source
    assert one == two == bench_from(tomllib.loads(text), source="")
    assert hash(one._origin) == hash(Origin()) and "one.toml" not in repr(one)


def changed(folder, name, old, new):
    text = (ROOT / f"experiments/configs/design_{name}.toml").read_text()
    assert old in text
    (folder / "m.toml").write_text(text.replace(old, new))
    return folder / "m.toml", text.replace(old, new)


def place_of(text, word):
    return 1 + [word in line.split("#")[0] for line in text.splitlines()].index(True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"meadowlark-1920x1152"', '"meadowlark-1920x1153"', "bench.slm.device: slm must be a known device"),
        ('"basler-aca2440-75um"', '"basler"', "bench.camera.device: camera must be a known device"),
        ("shape = [512, 512]", "shape = [2512, 512]", "bench.slm.shape must fit on "),
        ('wavelength = "532 nm"', 'wavelength = "1532 nm"', "wavelength must be in "),
        ('"basler-aca2440-75um"', '"andor-zyla-5.5"', "read_noise of andor-zyla-5.5 must be known"),
    ],
)
def test_what_the_bench_finds_later_has_its_line_too(tmp_path, old, new, message):
    path, text = changed(tmp_path, "spots", old, new)
    line = place_of(text, "[bench.camera]" if "zyla" in new else new)
    with pytest.raises(ConfigError) as caught:
        load_bench(path).build()
    assert str(caught.value).startswith(f"{path}:{line}: {message}")


def test_an_override_that_names_nothing_has_its_line(tmp_path):
    path, text = changed(tmp_path, "spots", "route =", 'override = ["the weather"]\nroute =')
    specification = load_bench(path)
    with pytest.raises(ConfigError) as caught:
        specification.build_route(specification.build())
    assert str(caught.value).startswith(f"{path}:{place_of(text, 'override')}: override must name conditions of ")


def test_a_bench_that_comes_from_no_file_names_none():
    content = tomllib.loads((ROOT / "experiments/configs/design_spots.toml").read_text())
    content["bench"]["slm"]["device"] = "nobody"
    with pytest.raises(ValueError, match="^slm must be a known device"):
        bench_from(content, source="").build()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[bench]\n", "[bensch]\n", "unknown table [bensch] beside [bench]. Did you mean [bench]?"),
        ("[bench", "[benchs", "has [benchs], but has no table [bench]. Did you mean [bench]?"),
        ("[design", "[desing", "has [desing], but has no table [design]. Did you mean [design]?"),
        ("[design]\n", "[Design]\n", "unknown table [Design] beside [design]. Did you mean [design]?"),
    ],
)
def test_a_misspelt_table_is_named_with_the_nearest(tmp_path, old, new, message):
    path, text = changed(tmp_path, "spots", old, new)
    with pytest.raises(ConfigError) as caught:
        load_bench(path)
    assert str(caught.value) == f"{path}:{place_of(text, new.strip())}: {message}"


def test_tables_of_other_commands_stay_theirs():
    for path in (ROOT / "experiments/configs").glob("*.toml"):
        if "bench" in read_toml(path)[0]:
            load_bench(path)


def test_a_misspelt_key_is_not_counted_again_as_missing(tmp_path):
    path, _ = changed(tmp_path, "spots", "dark_electrons", "dark_electron")
    with pytest.raises(ConfigError, match=r"Did you mean dark_electrons\?$"):
        load_bench(path)
    path, _ = changed(tmp_path, "spots", "dark_electrons = 0", "dark_electron = 0\nexpusure = 1")
    with pytest.raises(ConfigError, match=r"Did you mean dark_electrons\? \(1 more\)$"):
        load_bench(path)


def test_a_mark_of_a_windows_editor_is_no_part_of_the_text(tmp_path):
    path, text = changed(tmp_path, "spots", "[bench]", "[bench]")
    path.write_text(text, encoding="utf-8-sig")
    assert read_toml(path) == (tomllib.loads(text), text)


def stated(path):
    content, text = read_toml(path)
    tables = {name: content[name] for name in ("bench", "design")}
    return validated(DesignedBench, tables, source=str(path), text=text)


ROWS = "weights = [\n  [\n    [0, -1, 0],\n    [-1, 4, -1],\n    [0, -1, 0],\n  ],\n]\n"


@pytest.mark.parametrize(
    ("weights", "word", "message"),
    [
        (f"{ROWS}roundz = 3\n", "roundz", "unknown key design.target.roundz. Did you mean rounds?"),
        (ROWS.replace("4", '"4 um"'), '"4 um"', "design.target.weights: "),
        (
            ROWS.replace("    [0, -1, 0],\n  ],", "    [0, -1],\n  ],"),
            "weights",
            "design.target.weights: must be kernels of one size, with rows of one length, got 3 x 3, 3 x 2.",
        ),
        ("weights = [[[1, 2]], [[1, 2], [3, 4]]]\n", "weights", "design.target.weights: must be kernels of one size"),
        ("weights = []\n", "weights", "design.target.weights: must be kernels of one size"),
        ("weights = [[[0, nan]]]\n", "weights", "design.target.weights: weights must hold finite numbers, got NaN at"),
        (
            "weights = [[[1]], [[0]]]\n",
            "weights",
            "design.target.weights: weights must hold kernels with a number",
        ),
        (
            "weights = [[[1, 2, 3], [4, 5, 6]]]\n",
            "weights",
            "design.target.weights: weights must hold square kernels for tiles, got 2 x 3. Pad with zeros to 3 x 3.",
        ),
    ],
)
def test_kernels_that_cannot_be_are_refused_at_their_line(tmp_path, weights, word, message):
    _, text = changed(tmp_path, "tiles", "[design.target]", "[design.target]")
    start = text.index("weights = [")
    text = text[:start] + weights + text[text.index("\n]\n", start) + 3 :]
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        stated(tmp_path / "m.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'm.toml'}:{place_of(text, word)}: {message}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
