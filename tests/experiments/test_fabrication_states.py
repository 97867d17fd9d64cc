"""Each state of the fabrication gap learns from the teacher, the objective and the frames that its name says."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments import fabrication_run as module
from experiments.fabrication_run import STATES, Case, compensated, fabrication_run
from experiments.fabrication_settings import UNMOVED, Compensation, load_fabrication
from experiments.fabrication_twin import TwinFitting
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_run import EVALUATION_SEED, checkpoint
from experiments.paper_settings import CONFIGURATIONS
from kd.checkpoints import save_checkpoint
from kd.data.catalogue import load
from kd.data.images import DataSplits, LabelledImages
from kd.fabrication import MeasuredFrontEnd, Recorded, part_of
from kd.objectives import TangentMatching
from kd.students import OpticalStudent
from kd.training import TrainingSettings

SEED = 3
TRAINED = ("labels", "kd", "ntk", "twin_frames", "masks", "all_images")


class Blur(nn.Module):
    """A front end with noise, as a bench has."""

    digital = False

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, images):
        return self.gain * images + 0.1 * torch.rand(images.shape, generator=self.generator)


def pictures(count: int, seed: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    return LabelledImages(torch.rand(count, 1, 3, 5, generator=generator), torch.arange(count) % 3)


@pytest.fixture
def case() -> Case:
    torch.manual_seed(0)
    student = OpticalStudent(Blur(1.0), nn.Sequential(nn.Flatten(), nn.Linear(15, 3)))
    teacher = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(15, 3)).eval()
    data = DataSplits("some", ("a", "b", "c"), pictures(40, 1), pictures(12, 2), pictures(9, 3))
    return Case(student, teacher, Blur(0.6), data, part_of(data, 0.25, seed=SEED), SEED)


def settings(**options) -> Compensation:
    """Three schedules that can be told apart."""
    return Compensation(
        share=0.25,
        readout=TrainingSettings(epochs=11, temperature=2.0, alpha=0.3),
        masks=TrainingSettings(epochs=12, temperature=3.0, alpha=0.4),
        everything=TrainingSettings(epochs=13, temperature=5.0, alpha=0.6),
        **options,
    )


def spied(case: Case, how: Compensation, monkeypatch) -> tuple[dict, dict, list]:
    """States, what ``fit`` was given for each of them, and the frames that were read in the end."""
    calls, read = [], []

    def fit(model, data, settings, **rest):
        calls.append({"model": copy.deepcopy(model), "data": data, "settings": settings, **rest})
        with torch.no_grad():  # as a training does, so that one readout is told from another
            model.state_dict(keep_vars=True)[_bias(model)].fill_(len(calls))
        # The epoch that is told for a state says which call made it.
        return [{"restored": True, "validation_accuracy": 0.5, "epoch": len(calls) - 1, "seconds": 0.0}]

    right = module.right
    monkeypatch.setattr(module, "fit", fit)
    monkeypatch.setattr(module, "right", lambda *given: read.append(given[1]) or right(*given))
    states = compensated(case, how, Path("unwritten"))
    assert sorted(states[name]["epoch"] for name in TRAINED) == list(range(len(TRAINED)))
    return states, {name: calls[states[name]["epoch"]] for name in TRAINED}, read


def _bias(model: nn.Module) -> str:
    return next(name for name in model.state_dict() if name.endswith("1.bias"))


def noisy(gain: float, images: torch.Tensor, seed: int) -> torch.Tensor:
    """What :class:`Blur` delivers."""
    return gain * images + 0.1 * torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))


def both(data: DataSplits) -> torch.Tensor:
    return torch.cat([data.train.images, data.validation.images])


def test_readouts_learn_from_their_frames_labels_and_teacher(case, monkeypatch):
    how = settings(kernel_weight=0.7, probes=5, crossed=True)
    states, calls, _ = spied(case, how, monkeypatch)
    taught = {"kd": case.part, "all_images": case.data}
    wanted = {"labels": (0.6, case.part), "kd": (0.6, case.part), "ntk": (0.6, case.part)}
    wanted |= {"twin_frames": (1.0, case.part), "all_images": (0.6, case.data)}
    for name, (gain, data) in wanted.items():
        call, model = calls[name], calls[name]["model"]
        assert isinstance(model, Recorded), name
        assert torch.equal(model._record[0], noisy(gain, both(data), SEED + 1)), name
        for key, tensor in case.student.readout.state_dict().items():
            assert torch.equal(model.network.state_dict()[key], tensor), f"{name} starts from the student's readout"
        assert torch.equal(call["data"].train.labels, data.train.labels), name
        assert torch.equal(call["data"].validation.labels, data.validation.labels), name
        schedule = how.everything if name == "all_images" else how.readout
        assert call["settings"] == schedule.model_copy(update={"augmentation": UNMOVED}), name
        assert call["seed"] == SEED, name
        assert call["objective"] == (TangentMatching(1.0, 0.7, 5, crossed=True) if name == "ntk" else None), name
        if name in taught:  # by number: the image's own answer
            answers = case.teacher(both(taught[name]))
            torch.testing.assert_close(call["teacher"](call["data"].train.images), answers[: len(data.train)])
            torch.testing.assert_close(call["teacher"](call["data"].validation.images), answers[len(data.train) :])
        elif name == "ntk":  # the network itself, for it is its kernel that is asked for
            assert call["teacher"].network is case.teacher
            assert torch.equal(call["teacher"]._record[0], both(case.part))
        else:
            assert call["teacher"] is None, name
    assert states["twin_frames"]["images_measured"] == 0
    assert states["ntk"]["images_measured"] == 13 and states["all_images"]["images_measured"] == 52
    assert (states["ntk"]["probes"], states["ntk"]["crossed"]) == (5, True)


def test_masks_are_taught_by_the_teacher_on_the_hidden_bench(case, monkeypatch):
    states, calls, _ = spied(case, settings(), monkeypatch)
    call, model = calls["masks"], calls["masks"]["model"]
    assert call["teacher"] is case.teacher and call.get("objective") is None
    assert call["data"] is case.part and call["seed"] == SEED
    assert call["settings"] == settings().masks.model_copy(update={"augmentation": UNMOVED})
    assert isinstance(model.front_end, MeasuredFrontEnd)
    assert (model.front_end.simulated.gain.item(), model.front_end.measured.gain.item()) == pytest.approx((1.0, 0.6))
    assert (model.readout[1].bias == states["kd"]["epoch"] + 1).all(), "from the readout that distillation has tuned"
    assert case.hidden.gain.requires_grad, "the hidden bench itself is left alone"
    # One validated epoch: 10 training images and 3 validation images.
    assert states["masks"]["images_measured"] == 13


def test_a_fitted_twin_teaches_with_all_images_and_its_masks_are_shown(case, monkeypatch, tmp_path):
    """Frames of the part fit the twin; all images train on it; the readout ends on frames of the new masks."""
    fits, calls, tests, shows = [], [], [], []
    twin = Blur(0.7)

    def fitted_twin(front_end, images, frames, settings, **rest):
        fits.append((front_end, images, frames, settings, rest))
        return twin, {"unexplained": {"before": 0.9, "after": 0.1}}

    def fit(model, data, settings, **rest):
        calls.append({"model": copy.deepcopy(model), "itself": model, "data": data, "settings": settings, **rest})
        with torch.no_grad():
            model.state_dict(keep_vars=True)[_bias(model)].fill_(len(calls))
        return [{"restored": True, "validation_accuracy": 0.5, "epoch": len(calls) - 1, "seconds": 0.0}]

    right = module.right
    monkeypatch.setattr(module, "fitted_twin", fitted_twin)
    monkeypatch.setattr(module, "fit", fit)
    monkeypatch.setattr(module, "right", lambda *given: tests.append(given[:2]) or right(*given))

    def show(front):
        shows.append((front.simulated, front.measured))
        with torch.no_grad():
            front.measured.gain.fill_(0.9)  # new masks give other frames

    monkeypatch.setattr(MeasuredFrontEnd, "show", show)
    how = settings(twin=TwinFitting(epochs=5), fitted=TrainingSettings(epochs=14, temperature=7.0))
    states = compensated(case, how, tmp_path)
    assert list(states) == list(STATES)
    ((front_end, images, frames, used, rest),) = fits
    assert front_end is case.student.front_end and used is how.twin
    assert torch.equal(images, both(case.part))
    assert torch.equal(frames, noisy(0.6, images, SEED + 1)), "of the hidden bench, as for the readout"
    assert rest == {"held_out": 3, "seed": SEED}
    call = calls[states["fitted"]["epoch"]]
    assert call["settings"] is how.fitted, "simulated images may move"
    assert call["data"] is case.data and call["teacher"] is case.teacher and call["seed"] == SEED
    assert call["model"].front_end.gain.item() == pytest.approx(0.7)
    assert torch.equal(call["model"].readout[1].weight, case.student.readout[1].weight)
    assert call["state_file"] == tmp_path / f"fitted-{SEED}.state"
    ((simulated, measured),) = [pair for pair in shows if pair[0] is twin]
    assert measured is not case.hidden and case.hidden.gain.item() == pytest.approx(0.6)
    after = calls[states["fitted_kd"]["epoch"]]
    assert after["settings"] == how.readout.model_copy(update={"augmentation": UNMOVED})
    assert (after["model"].network[1].bias == states["fitted"]["epoch"] + 1).all(), "from the readout of `fitted`"
    assert torch.equal(after["model"]._record[0], noisy(0.9, images, SEED + 1)), "frames of the new masks"
    torch.testing.assert_close(after["teacher"](after["data"].train.images), case.teacher(case.part.train.images))
    trained = [(int(readout[1].bias[0].item()), shown) for readout, shown in tests[2:]]
    for name in ("fitted", "fitted_kd", "unfitted"):
        (shown,) = [shown for number, shown in trained if number == states[name]["epoch"] + 1]
        torch.testing.assert_close(shown, noisy(0.9, case.data.test.images, EVALUATION_SEED))
    told = [states[name]["images_measured"] for name in ("fitted", "fitted_kd", "unfitted")]
    assert told == [13, 26, 0]
    control = calls[states["unfitted"]["epoch"]]
    assert {key: control[key] for key in ("data", "settings", "seed", "teacher")} == {
        key: call[key] for key in ("data", "settings", "seed", "teacher")
    }, "as fitted"
    assert control["model"].front_end.gain.item() == 1.0, "on the bench as believed"
    assert control["itself"].front_end is not case.student.front_end, "whose masks stay for other states"
    assert torch.equal(control["model"].readout[1].weight, case.student.readout[1].weight)
    assert control["state_file"] == tmp_path / f"unfitted-{SEED}.state"
    assert states["fitted"]["unexplained"] == {"before": 0.9, "after": 0.1}


def test_every_readout_is_read_on_test_frames_of_the_hidden_bench(case, monkeypatch):
    _, _, read = spied(case, settings(), monkeypatch)
    assert len(read) == 2 + len(TRAINED) - 1  # those that are not trained, and all but the masks, which see images
    for frames in read:
        torch.testing.assert_close(frames, noisy(0.6, case.data.test.images, EVALUATION_SEED))


def test_untrained_states_are_the_student_on_either_bench(case, monkeypatch):
    states, _, _ = spied(case, settings(), monkeypatch)
    test = case.data.test
    for name, gain in (("twin", 1.0), ("hidden", 0.6)):
        answers = case.student.readout(noisy(gain, test.images, EVALUATION_SEED)).argmax(1)
        assert states[name]["test_accuracy"] == pytest.approx((answers == test.labels).double().mean().item()), name


def test_the_run_takes_teacher_and_student_of_its_seed_from_their_checkpoints(tmp_path, monkeypatch):
    path = CONFIGURATIONS / "fabrication_digits.toml"
    configuration = load_fabrication(path)
    paper = configuration.paper.settings
    data = load(paper.data.name, **paper.data.options)
    models = {}
    for row in ("physical_kd", "teacher"):
        for seed in (0, 1):  # weights that no seed of the run draws by itself
            models[row, seed] = PAPER_ROWS[row].build(paper, data, 100 + seed)
            save_checkpoint(checkpoint(tmp_path, row, seed), models[row, seed], config={}, seed=seed, metrics={})
    cases = []

    def nothing(case, how, folder):
        cases.append(case)
        accuracies = {"twin": 0.9, "hidden": 0.5, "labels": 0.8}
        return {name: {"test_accuracy": accuracy} for name, accuracy in accuracies.items()}

    monkeypatch.setattr(module, "compensated", nothing)
    unfinished = [tmp_path / f"{name}-1.state" for name in ("masks", "fitted", "unfitted")]
    for path_of_state in unfinished:
        path_of_state.touch()
    found = fabrication_run(str(path), 1, students=str(tmp_path), folder=str(tmp_path), settings=configuration.mark)
    assert not any(path_of_state.exists() for path_of_state in unfinished), "they have ended"
    (case,) = cases
    for row, model in (("physical_kd", case.student), ("teacher", case.teacher)):
        wanted = models[row, 1].state_dict()
        assert wanted.keys() == model.state_dict().keys()
        assert all(torch.equal(tensor, wanted[key]) for key, tensor in model.state_dict().items()), row
        assert not model.training, row
    assert case.seed == 1 and case.hidden is not case.student.front_end
    assert (len(case.part.train), len(case.data.train)) == (120, 1200)
    assert found["states"]["labels"]["recovered"] == pytest.approx(0.75)
    assert found["states"]["hidden"]["recovered"] is None
