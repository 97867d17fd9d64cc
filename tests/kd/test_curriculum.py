"""What of the hardware acts when, from an ideal bench to all of it, and in which precision what is computed."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from kd.data.images import DataSplits, LabelledImages
from kd.readout import PooledLinear
from kd.students import LinearCNN, OpticalFrontEnd, OpticalStudent
from kd.training import TrainingSettings, fit
from optics4f import SLM, Camera, FourF, Grid, Illumination, Lens, PSFRoute, Sensor
from optics4f.effects import Crosstalk


def student(*effects, seed=0, ideal=False) -> OpticalStudent:
    """A bench of 12 x 10 pixels with random masks; ``ideal`` has the same masks, continuous, and a perfect panel."""
    options = {"bit_depth": None, "fill_factor": 1.0} if ideal else {"bit_depth": 3, "fill_factor": 0.8}
    slm = SLM(Grid((24, 20), "9.2 um"), effects=() if ideal else effects, masks=2, **options)
    generator = torch.Generator().manual_seed(seed)
    slm.set_values(6 * torch.rand(2, 24, 20, generator=generator))
    bench = FourF(
        Illumination((12, 10), "9.2 um", "532 nm", pixels_per_logical=2),
        Lens("40 mm"),
        slm,
        Lens("40 mm"),
        Camera((6, 6), "9.2 um", binning=2, exposure=0.5, sensor=Sensor(10700, 2.45, 12)),
    )
    readout = PooledLinear(2, 3, pool=2)
    return OpticalStudent(OpticalFrontEnd(PSFRoute(bench)), readout)


@pytest.fixture
def images():
    return torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(1))


def test_none_of_the_hardware_is_the_ideal_bench(images):
    made, ideal = student(Crosstalk(0.4)), student(ideal=True)
    made.harden(0)
    assert made.front_end.bench.slm.active == ()
    torch.testing.assert_close(made.front_end.expected(images), ideal.front_end.expected(images))
    ideal.front_end.noise = False
    made.reseed(0)
    torch.testing.assert_close(made.front_end(images), ideal.front_end(images))  # no noise either


def test_all_of_the_hardware_is_what_was_built(images):
    made, untouched = student(Crosstalk(0.4)), student(Crosstalk(0.4))
    made.harden(0)
    made.harden(1)
    for one in (made, untouched):
        one.reseed(5)
    assert torch.equal(made.front_end(images), untouched.front_end(images))


def test_defects_come_in_the_order_of_the_light_and_noise_last(images):
    made = student(Crosstalk(0.4))
    slm, whole = made.front_end.bench.slm, made.front_end.bench.slm.active
    assert len(whole) == 3
    for share, acting in ((0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.75, 3), (0.99, 3), (1, 3)):
        made.harden(share)
        assert slm.active == whole[:acting]
        made.reseed(5)
        first = made.front_end(images)
        assert torch.equal(first, made.front_end(images)) == (share < 1)  # the next draw of the noise differs


def test_what_was_switched_off_stays_off():
    made = student(Crosstalk(0.4))
    made.front_end.bench.slm.switch(crosstalk=False)
    again = OpticalFrontEnd(made.front_end.route)
    again.harden(1)
    assert "crosstalk" not in again.bench.slm.active


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_other_shares_are_refused(share):
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        student().harden(share)


class Recorder(nn.Module):
    """A network that notes how much of the hardware acts, in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.share, self.seen = nn.Linear(120, 3), None, []

    def harden(self, share):
        self.share = share

    def forward(self, images):
        self.seen.append((self.training, self.share))
        return self.linear(images.flatten(1))


def splits() -> DataSplits:
    generator = torch.Generator().manual_seed(0)
    parts = [LabelledImages(torch.rand(n, 1, 12, 10, generator=generator), torch.arange(n) % 3) for n in (12, 6, 6)]
    return DataSplits("noise", ("a", "b", "c"), *parts)


def test_the_first_part_of_the_epochs_grows_and_validation_sees_all():
    model = Recorder()
    settings = TrainingSettings(epochs=8, batch_size=6, validate_every=1, curriculum=0.5)
    fit(model, splits(), settings, seed=0, progress=False)
    shares = [share for training, share in model.seen if training]
    assert shares[::2] == shares[1::2] == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]  # two batches an epoch
    assert {share for training, share in model.seen if not training} == {1.0}
    assert model.share == 1.0


def test_without_a_curriculum_nothing_is_switched():
    model = Recorder()
    fit(model, splits(), TrainingSettings(epochs=2, batch_size=6), seed=0, progress=False)
    assert {share for _, share in model.seen} == {None}


def test_a_student_that_goes_on_in_the_middle_of_its_curriculum_is_the_same(tmp_path, monkeypatch):
    settings = TrainingSettings(epochs=4, batch_size=6, validate_every=2, curriculum=0.75)
    whole, resumed = student(Crosstalk(0.4)), student(Crosstalk(0.4))
    resumed.load_state_dict(whole.state_dict())

    def killed(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    fit(whole, splits(), settings, seed=0, progress=False)
    state = tmp_path / "run.state"
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, splits(), settings, seed=0, progress=False, state_file=state, on_epoch=killed)
    again = student(Crosstalk(0.4), seed=3)
    fit(again, splits(), settings, seed=0, progress=False, state_file=state)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


HALF = TrainingSettings(epochs=2, batch_size=6, precision="bfloat16")


def seen_types(model, layer, settings):
    """Types of what a layer gives in training and in validation."""
    found = {True: set(), False: set()}
    layer.register_forward_hook(lambda module, _, output: found[module.training].add(output.dtype))
    fit(model, splits(), settings, seed=0, progress=False)
    return found


def test_digital_layers_compute_in_bfloat16_while_they_train_and_no_longer():
    model = LinearCNN(1, PooledLinear(2, 3), channels=2, kernel_size=3)
    assert seen_types(model, model.readout.linear, HALF) == {True: {torch.bfloat16}, False: {torch.float32}}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_light_keeps_its_precision():
    model = student()
    found = seen_types(model, model.front_end, HALF)
    assert found == {True: {torch.float32}, False: {torch.float32}}
    images = torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    model.reseed(1)
    with torch.no_grad():
        alone = model.front_end(images)
        model.reseed(1)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.front_end(images), alone)
            assert model.readout(alone).dtype == torch.bfloat16


def test_the_loss_is_as_in_float32_to_the_precision_of_bfloat16():
    """8 bits of the features are 0.4 %; the first loss of the same weights differs by no more than that allows."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = LinearCNN(1, PooledLinear(2, 3), channels=2, kernel_size=3)
        settings = TrainingSettings(epochs=1, batch_size=12, learning_rate=1e-9, precision=precision)
        losses[precision] = fit(model, splits(), settings, seed=0, progress=False)[0]["loss"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


def test_other_precisions_are_refused():
    with pytest.raises(ValidationError, match="precision"):
        TrainingSettings(precision="float16")


def test_weights_decay_and_masks_do_not():
    made = student()
    groups = made.parameter_groups(0.1, 0.5)
    masks, weights = made.front_end.bench.slm.values, made.readout.linear.weight
    before = masks.detach().clone(), weights.detach().clone()
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.SGD(groups, weight_decay=0.2).step()
    assert torch.equal(masks.detach(), before[0])
    torch.testing.assert_close(weights.detach(), (1 - 0.1 * 0.2) * before[1])
    assert [group["lr"] for group in groups] == [0.1, 0.5]
