"""Tables of colour sets and of light without coherence: every row builds, and what is linear is linear."""

import math
from pathlib import Path

import pytest
import torch

from experiments.paper import CLASSIFICATION, table_rows, table_text
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_run import light_of, nonlinearity, paper_row
from experiments.paper_settings import CONFIGURATIONS, PaperConfiguration, load_paper
from kd.colour import ColourFrontEnd, DifferentialFrontEnd
from kd.data.images import DataSplits, LabelledImages
from kd.training import TrainingSettings, fit
from optics4f.config import ConfigError


def noise(count: int, shape: tuple[int, int, int], classes: int) -> DataSplits:
    """Images of noise, as many for each part."""
    generator = torch.Generator().manual_seed(0)
    some = LabelledImages(torch.rand(count, *shape, generator=generator), torch.arange(count) % classes)
    return DataSplits("noise", tuple(map(str, range(classes))), some, some, some)


@pytest.fixture
def colour(tmp_path) -> PaperConfiguration:
    """The file of CIFAR-10 with two small masks."""
    text = (CONFIGURATIONS / "paper_cifar10.toml").read_text()
    path = tmp_path / "colour.toml"
    path.write_text(text.replace("shape = [128, 128]", "shape = [64, 72]").replace("masks = 16", "masks = 2"))
    return load_paper(path)


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_every_row_of_a_colour_set_builds_and_only_the_linear_ones_are_linear(colour):
    data = noise(32, (3, 32, 32), 10)
    sizes = {}
    for name, row in PAPER_ROWS.items():
        if row.taught:
            continue  # built as the one beside it
        model = row.build(colour.settings, data, 0)
        if hasattr(model, "reseed"):
            model.reseed(0)
        with torch.no_grad():
            assert model.eval()(data.test.images[:2]).shape == (2, 10), name
        if name != "teacher":
            assert (nonlinearity(model, data) < 1e-4) == row.linear, name
            sizes[name] = sum(p.numel() for p in model.readout.parameters())
    own = ("readout_only", "readout_full")  # on the image itself
    assert len({sizes[name] for name in sizes if name not in own}) == 1, "the same readout for every student"
    assert sizes["readout_full"] <= sizes["physical"], "the control has no more"
    assert sizes["readout_only"] > sizes["physical"], "three maps in place of two"


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_what_a_row_tells_of_its_light(colour):
    data = noise(32, (3, 32, 32), 10)
    physical, linear = (PAPER_ROWS[row].build(colour.settings, data, 0) for row in ("physical", "physical_linear"))
    assert isinstance(physical.front_end, ColourFrontEnd) and isinstance(linear.front_end, DifferentialFrontEnd)
    told = light_of(physical, data), light_of(linear, data)
    assert [found["exposures"] for found in told] == [2, 4], "two for each signed kernel"
    for model, found in zip((physical, linear), told, strict=True):
        assert 0 < found["light_on_camera"] < found["light_in_window"] <= 1.001
        assert "photons_per_image" not in found, "nobody states the quantum efficiency of this sensor"
        camera = model.front_end.bench.camera
        camera.sensor = type(camera.sensor)(**{**vars(camera.sensor), "quantum_efficiency": 0.5})
        again = light_of(model, data)
        assert again["photons_per_image"] == pytest.approx(2 * found["electrons_per_image"])


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_a_lens_without_masks_brings_the_channels_in_turn(colour):
    """Frame k shows channel k alone, up to what leaks from the channels beside it."""
    data = noise(2, (3, 32, 32), 10)
    front = PAPER_ROWS["plain_lens"].build(colour.settings, data, 0).front_end
    for channel in range(3):
        shown = torch.zeros(1, 3, 32, 32)
        shown[:, channel] = 1
        brightness = front.expected(shown).mean((0, 2, 3))
        assert brightness.argmax() == channel if channel < 2 else brightness.max() < 0.1


def test_photons_stand_in_the_table_where_they_are_known():
    line = {"row": "physical", "test_accuracy": 0.9, "readout_parameters": 1, "digital_macs": 2, "exposures": 3}
    line |= {"electrons_per_image": 1e6}
    rows = table_rows([{**line, "seed": 0}])
    assert rows[0]["exposures"] == "3" and rows[0]["light an image"] == "1e+06 electrons"
    rows = table_rows([{**line, "seed": 0, "photons_per_image": 2e6}])
    assert rows[0]["light an image"] == "2e+06 photons"


def test_without_a_table_of_efficiency_nothing_is_added_to_the_loss():
    """What is trained with the files of MNIST stays what it was."""
    settings = load_paper(CONFIGURATIONS / "paper_mnist.toml").settings
    assert PAPER_ROWS["physical"].build(settings, noise(2, (1, 28, 28), 10), 0).penalty() is None


def test_the_penalty_is_part_of_every_step():
    class Model(torch.nn.Linear):
        def penalty(self):
            return 100 * self.weight.square().sum()

    def trained(kind):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), kind(6, 2))
        model.penalty = getattr(model[1], "penalty", lambda: None)
        fit(
            model,
            noise(16, (1, 2, 3), 2),
            TrainingSettings(epochs=5, batch_size=8, learning_rate=0.1),
            seed=0,
            progress=False,
        )
        return model[1].weight.norm().item()

    assert trained(Model) < 0.5 * trained(torch.nn.Linear)


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ("dropout = 0.2", "dropout must be 0 without filters or hidden layers, got 0.2"),
        ("sclc_pools = [2, 2]", "sclc_pools must be 3 numbers, one behind each of sclc_channels and one .*, got 2"),
        (
            "sclc_pools = [3, 1, 1]",
            "sclc_pools must divide the 32 rows of the image and leave the 4 of .*, got 3 in all",
        ),
        (
            "sclc_pools = [4, 2, 2]",
            "sclc_pools must divide the 32 rows of the image and leave the 4 of .*, got 16 in all",
        ),
        ("root = 0.01", "root must be 0 without filters or hidden layers, got 0.01"),
        ('teacher = "unet"', "teacher must be conv, alexnet or resnet for digits, whose images have one class each"),
    ],
)
def test_what_a_readout_cannot_use_is_refused(tmp_path, lines, refusal):
    path = Path(tmp_path) / "readout.toml"
    text = (CONFIGURATIONS / "paper_digits.toml").read_text()
    assert "hidden" not in text and "sclc" not in text
    path.write_text(text.replace("pool = 4", f"pool = 4\n{lines}"))
    with pytest.raises(ConfigError, match=refusal):
        load_paper(path)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (
            "size = 20",
            r"bench.object.shape must be \[20, 20\] for images of data.options.size, or \[20, 60\] in colour",
        ),
        ('size = "32"', "data.options: size must be a valid integer, got '32'"),
        ("sise = 32", "data.options: digits must be asked for with size, .*, got sise"),
    ],
)
def test_images_that_the_bench_does_not_show_are_refused_before_anything_is_trained(tmp_path, options, refusal):
    path, text = tmp_path / "size.toml", (CONFIGURATIONS / "paper_digits.toml").read_text()
    assert "size = 32" in text
    path.write_text(text.replace("size = 32", options))
    with pytest.raises(ConfigError, match=refusal):
        load_paper(path)


def test_images_whose_size_no_file_states_are_refused_by_the_teachers_row_already(tmp_path):
    path = tmp_path / "small.toml"
    text = (CONFIGURATIONS / "paper_digits.toml").read_text()
    path.write_text(text.replace("size = 32, ", "").replace("shape = [32, 32]", "shape = [32, 96]", 1))
    with pytest.raises(ValueError, match=r"object.shape must be \[32, 32\] for images of digits.*got \[32, 96\]"):
        paper_row(str(path), "teacher", 0, folder=str(tmp_path / "out"))
    assert not list(tmp_path.rglob("*.s*"))  # weights or a state


@pytest.mark.parametrize(
    ("size", "shape", "fits"),
    [
        ([28, 32], [28, 32], True),
        ([28, 32], [28, 96], True),
        ([28, 32], [28, 64], False),
        ([28, 32], [32, 32], False),
        ([32, 28], [28, 28], False),
    ],
)
def test_images_that_are_not_square_and_colours_side_by_side_fit_the_object(tmp_path, size, shape, fits):
    path, text = tmp_path / "size.toml", (CONFIGURATIONS / "paper_digits.toml").read_text()
    text = text.replace('name = "digits"', 'name = "mnist"').replace("size = 32, split_seed = 2022", f"size = {size}")
    path.write_text(text.replace("shape = [32, 32]", f"shape = {shape}"))
    if fits:
        assert load_paper(path).settings.data.options == {"size": size}
    else:
        with pytest.raises(ConfigError, match=r"bench.object.shape must be \[.* in colour, got "):
            load_paper(path)


def test_class_maps_have_their_own_teacher(tmp_path):
    path, text = tmp_path / "paper_maps.toml", (CONFIGURATIONS / "paper_camvid.toml").read_text()
    path.write_text(text.replace('teacher = "unet"', 'teacher = "resnet"'))
    with pytest.raises(
        ConfigError, match="teacher must be unet for camvid, whose images have a class map each, got re"
    ):
        load_paper(path)


@pytest.mark.parametrize("line", ["dropout = 0.3", "filters = [8]"])
def test_what_a_decoder_of_class_maps_has_not_is_refused(tmp_path, line):
    path = Path(tmp_path) / "paper_maps.toml"
    text = (CONFIGURATIONS / "paper_camvid.toml").read_text()
    path.write_text(text.replace("\nhidden = [32]", f"\n{line}\nhidden = [32]"))
    with pytest.raises(ConfigError, match="must be left out for camvid: a decoder has none"):
        load_paper(path)


def test_the_sclc_of_a_table_pools_where_its_file_says_and_stays_linear(tmp_path):
    path = Path(tmp_path) / "pooled.toml"
    text = (CONFIGURATIONS / "paper_digits.toml").read_text()
    data = noise(32, (1, 32, 32), 10)
    for lines, pools, size in (("", [None] * 3, 32), ("\nsclc_pools = [2, 1, 2]", [2, None, 2], 8)):
        path.write_text(text.replace("pool = 4", f"pool = 4{lines}"))
        configuration = load_paper(path)
        model = PAPER_ROWS["sclc"].build(configuration.settings, data, 0)
        told = "The spectra of the SCLC are cropped by [2, 1, 2]" in table_text(configuration, [], CLASSIFICATION)
        assert told == bool(lines)
        assert [layer.pool for layer in model.front_end.layers] == pools
        assert model.front_end(data.train.images).shape[-2:] == (size, size)
        assert nonlinearity(model, data) < 1e-4


@pytest.mark.parametrize("layers", ["hidden = [6]", "filters = [4]\nhidden = [6]"])
def test_the_table_says_what_its_readout_does(tmp_path, layers):
    path = Path(tmp_path) / "readout.toml"
    text = (CONFIGURATIONS / "paper_digits.toml").read_text()
    path.write_text(text.replace("pool = 4", f"pool = 4\n{layers}\ndropout = 0.2\nroot = 0.01"))
    configuration = load_paper(path)
    model = PAPER_ROWS["linear"].build(configuration.settings, noise(2, (1, 8, 8), 10), 0)
    assert model.readout.root == 0.01
    assert "4 x 4 regions a map, their root from a signal of 0.01 on, " in table_text(configuration, [], CLASSIFICATION)
    assert [layer.p for layer in model.readout.layers if isinstance(layer, torch.nn.Dropout)] == [0.2, 0.2]


NO_LARGER = ["cifar10", "cifar10_large", "cifar10_fine", "orl_faces", "cats_dogs", "cats_dogs_fine"]


@pytest.mark.parametrize("name", NO_LARGER)
def test_the_readout_is_no_larger_than_the_published_one(name):
    """1.62 million parameters behind 16 kernels (NTK-KD, arXiv 2508.08421)."""
    settings = load_paper(CONFIGURATIONS / f"paper_{name}.toml").settings
    channels = 1 if name == "orl_faces" else 3
    height, width = settings.bench.object.shape
    assert width == channels * height
    data = noise(2, (channels, height, height), 40 if name == "orl_faces" else 10)
    model = PAPER_ROWS["twin"].build(settings, data, 0)
    assert sum(p.numel() for p in model.readout.parameters()) < 1.62e6
    assert math.prod(settings.bench.camera.shape) >= settings.models.pool**2
