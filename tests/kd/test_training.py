"""The loop: what it keeps, what it leaves alone, what it repeats."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from kd.data.images import DataSplits, LabelledImages
from kd.readout import PooledLinear
from kd.seeding import initialised_with
from kd.students import LinearCNN
from kd.teachers import ConvTeacher
from kd.training import AugmentationSettings, TrainingSettings, evaluate, fit

SETTINGS = TrainingSettings(epochs=4, batch_size=16, learning_rate=0.02, validate_every=1)


def bars(count: int, seed: int, *, height: int = 12) -> LabelledImages:
    """Noisy images, 16 wide, with a bar: across (class 0), upright (class 1) or none (class 2)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = 0.5 * torch.rand(count, 1, height, 16, generator=generator)
    images[labels == 0, :, 5:7, :] += 0.5
    images[labels == 1, :, :, 7:9] += 0.5
    return LabelledImages(images, labels)


@pytest.fixture(scope="module")
def data() -> DataSplits:
    return DataSplits("bars", ("across", "upright", "none"), bars(65, 0), bars(30, 1), bars(30, 2))


def student(seed: int = 0) -> nn.Module:
    with initialised_with(seed):
        return LinearCNN(1, PooledLinear(4, 3), channels=4, kernel_size=3)


def dropout_network(seed: int = 0) -> nn.Module:
    with initialised_with(seed):
        return ConvTeacher(1, 3, size=16, width=2)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def square() -> DataSplits:
    """Square images, for the teacher."""
    splits = (bars(count, seed, height=16) for count, seed in ((65, 0), (30, 1), (30, 2)))
    return DataSplits("square bars", ("across", "upright", "none"), *splits)


def test_a_fit_learns_what_can_be_learnt(data):
    model = student()
    history = fit(model, data, SETTINGS, seed=0)
    assert evaluate(model, data.test).accuracy > 0.9
    assert history[-1]["loss"] < history[0]["loss"]


def test_one_seed_is_one_result_bit_for_bit_dropout_and_all(square):
    results = []
    for seed in (0, 0, 1):
        model = dropout_network()
        torch.rand(7)  # the caller's own draws must not matter
        fit(model, square, SETTINGS, seed=seed)
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_callers_random_stream_is_not_disturbed(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(student(), data, SETTINGS, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_a_teacher_is_left_as_it_was_and_judged_without_dropout(square):
    teacher, seen = dropout_network(1).train(), []
    teacher.register_forward_hook(lambda module, inputs, output: seen.append((module.training, output.requires_grad)))
    before = weights(teacher)
    fit(student(), square, SETTINGS, seed=0, teacher=teacher)
    assert same(weights(teacher), before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert set(seen) == {(False, False)}


def test_teacher_and_student_see_the_same_augmented_batch(data):
    class Watched(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.seen = inner, []

        def forward(self, images):
            if not torch.is_grad_enabled() or self.training:
                self.seen.append(images)
            return self.inner(images)

    pupil, teacher = Watched(student(0)), Watched(student(1))
    fit(pupil, data, SETTINGS.model_copy(update={"epochs": 1}), seed=0, teacher=teacher)
    batches = pupil.seen[: len(teacher.seen)]  # what follows is validation
    assert len(batches) == 5
    assert all(torch.equal(a, b) for a, b in zip(batches, teacher.seen, strict=True))
    assert sum(len(batch) for batch in batches) == len(data.train)
    assert min(len(batch) for batch in batches) == 13  # 65 images in batches of 16 leave no batch of one


def test_distillation_with_no_weight_is_training_on_labels(data):
    alone, taught = student(), student()
    fit(alone, data, SETTINGS, seed=0)
    fit(taught, data, SETTINGS.model_copy(update={"alpha": 0.0}), seed=0, teacher=student(3))
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(tensor, taught.state_dict()[name])


def test_the_best_validated_epoch_is_restored(data):
    model = student()
    settings = SETTINGS.model_copy(update={"epochs": 8, "learning_rate": 0.3})  # restless: the last is not the best
    history = fit(model, data, settings, seed=0)
    ranks = [(r["validation_accuracy"], -r["validation_loss"]) for r in history]
    (restored,) = [r for r in history if r["restored"]]
    assert restored["epoch"] == 1 + ranks.index(max(ranks))
    assert restored["epoch"] < 8
    evaluation = evaluate(model, data.validation)
    assert (evaluation.accuracy, evaluation.loss) == (restored["validation_accuracy"], restored["validation_loss"])


def test_test_images_do_not_reach_the_fit(data):
    blind = DataSplits(data.name, data.classes, data.train, data.validation, bars(3, 9))
    models = [student(), student()]
    for model, splits in zip(models, (data, blind), strict=True):
        fit(model, splits, SETTINGS, seed=0)
    assert same(weights(models[0]), weights(models[1]))


def test_validation_is_skipped_between_and_never_at_the_end(data):
    history = fit(student(), data, SETTINGS.model_copy(update={"epochs": 5, "validate_every": 2}), seed=0)
    assert [r["epoch"] for r in history if r["validation_accuracy"] is not None] == [2, 4, 5]


def test_processes_that_train_together_draw_noise_of_their_own(data, monkeypatch):
    class Seeded(Exception):
        pass

    def seeded(seed, *_):
        raise Seeded(seed)

    monkeypatch.setattr("kd.training.initialised_with", seeded)
    drawn = set()
    for process in range(3):
        monkeypatch.setattr("kd.training.rank", lambda process=process: process)
        with pytest.raises(Seeded) as found:
            fit(student(), data, SETTINGS, seed=5)
        drawn.add(found.value.args[0])
    assert len(drawn) == 3 and 5 in drawn


def test_a_model_names_its_masks_and_owns_its_noise(data):
    class Noisy(LinearCNN):
        """Masks learn at a rate of their own; noise comes from a generator of the model."""

        def __init__(self):
            super().__init__(1, PooledLinear(4, 3), channels=4, kernel_size=3)
            self.generator, self.seeds, self.rates = torch.Generator(), [], None

        def parameter_groups(self, learning_rate, mask_learning_rate):
            self.rates = (learning_rate, mask_learning_rate)
            return [
                {"params": list(self.front_end.parameters()), "lr": mask_learning_rate},
                {"params": list(self.readout.parameters()), "lr": learning_rate},
            ]

        def reseed(self, seed):
            self.seeds.append(seed)
            self.generator.manual_seed(seed)

        def forward(self, images):
            return super().forward(images + 0.1 * torch.randn(images.shape, generator=self.generator))

    results = []
    for factor in (3.0, 3.0, 1e-9):
        with initialised_with(0):
            model = Noisy()
        initial = weights(model)
        fit(model, data, SETTINGS.model_copy(update={"mask_learning_rate_factor": factor}), seed=0)
        results.append(weights(model))
    assert same(results[0], results[1])
    assert model.rates == pytest.approx((0.02, 0.02e-9))
    torch.testing.assert_close(results[2]["front_end.weight"], initial["front_end.weight"], atol=1e-8, rtol=1e-6)
    assert model.seeds[1::2] == [0] * 4  # every validation sees the same noise
    assert len(set(model.seeds[0::2])) == 4  # no epoch repeats another's
    torch.testing.assert_close(evaluate(model, data.test).loss, evaluate(model, data.test).loss, atol=0, rtol=0)


def test_the_confusion_matrix_counts_true_by_row_and_predicted_by_column():
    class Echo(nn.Module):
        """Says what the pixel says."""

        def forward(self, images):
            return torch.eye(3)[(images[:, 0, 0, 0] * 2).round().long()]

    said, true = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 1, 0, 2, 2, 1])
    images = LabelledImages((said / 2).reshape(-1, 1, 1, 1), true)
    evaluation = evaluate(Echo(), images, batch_size=4)
    assert evaluation.confusion.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 2]]
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert evaluation.predictions.tolist() == said.tolist()
    # Softmax of a unit vector is (e, 1, 1) / (e + 2): ln(e + 2) - 1 when right, ln(e + 2) when wrong.
    assert evaluation.loss == pytest.approx(torch.log(torch.tensor(torch.e + 2)).item() - 4 / 6)


def test_evaluation_uses_running_statistics_and_gives_the_mode_back(data):
    model = student().train()
    before = weights(model)
    whole, piecewise = evaluate(model, data.test), evaluate(model, data.test, batch_size=1)
    assert same(weights(model), before)
    assert model.training
    assert whole.loss == pytest.approx(piecewise.loss, rel=1e-6)


def test_a_diverging_loss_stops_the_run(data):
    model = student()
    nn.init.constant_(model.front_end.weight, torch.inf)
    with pytest.raises(FloatingPointError, match="finite, got nan in epoch 1 of row 3. Lower learning_rate"):
        fit(model, data, SETTINGS, seed=0, label="row 3")


def test_a_bar_is_drawn_only_when_asked(data, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the captured stream for a terminal
    settings = SETTINGS.model_copy(update={"epochs": 1})
    fit(student(), data, settings, seed=0)
    assert capsys.readouterr() == ("", "")
    fit(student(), data, settings, seed=0, progress=True, label="linear CNN")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "linear CNN  loss" in captured.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "epoch\n.*Extra inputs"),
        ({"alpha": 2}, "alpha\n.*less than or equal to 1"),
        ({"temperature": 0}, "temperature\n.*greater than 0"),
        ({"augmentation": {"angle": 3}}, "augmentation.angle\n.*Extra inputs"),
    ],
)
def test_a_misspelt_or_impossible_setting_is_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**settings)


def test_settings_say_when_nothing_is_augmented():
    assert "rotation_degrees=0.0" in repr(AugmentationSettings(rotation_degrees=0))
