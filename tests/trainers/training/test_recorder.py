"""Records of trainings are right, are the same after a stop, and do not change the trainings' numbers."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import VALUES, Stop, Stopping, bright_and_dark, train_with, watched
from torch import nn

from trainers.errors import UnusableError
from trainers.layers.binary import BinaryLinear, partition
from trainers.optimizers import OPTIMIZERS, GradientFilter
from trainers.optimizers.gradient_filter import filtered
from trainers.record import NOTHING, Record
from trainers.tasks import TASKS, Proxy
from trainers.training import recorder
from trainers.training.checkpoints import Checkpoint
from trainers.training.flips import FlipCounter
from trainers.training.recorder import Recorder
from trainers.training.results import EpochResult, Series, joined

SPEECH = TASKS["spoken-digits"]
ALL = Record(every=7, flips=True, weights=3, signs=True, train_metric=True)
TWO_STEP = Proxy(epochs=2, width=32, first_step=1)  # three epochs of 20 steps


@pytest.fixture
def speech(spoken_digits: Path) -> Callable[..., list[EpochResult]]:
    def train(method: str, record: Record, checkpoint: Checkpoint | None = None) -> list[EpochResult]:
        latent = replace(record, latent_metric=bool(record.changes) and OPTIMIZERS[method].latent)
        return list(
            train_with(
                SPEECH,
                method,
                VALUES[method],
                data_dir=spoken_digits,
                proxy=TWO_STEP,
                record=latent,
                checkpoint=checkpoint,
            )
        )

    return train


def numbers(results: list[EpochResult]) -> list[EpochResult]:
    """Return the results without seconds and without what only a recorded training has."""
    unrecorded = {"train_metric": None, "latent_validation_metric": None, "latent_test_metric": None}
    return [replace(r, train_seconds=0.0, evaluate_seconds=0.0, series=(), **unrecorded) for r in results]


def timeless(results: list[EpochResult]) -> list[EpochResult]:
    return [replace(r, train_seconds=0.0, evaluate_seconds=0.0) for r in results]


def by_name(results: list[EpochResult]) -> dict[str, Series]:
    return {each.name: each for each in joined([each for r in results for each in r.series])}


@pytest.mark.parametrize("method", OPTIMIZERS)
def test_a_recorded_training_has_the_very_numbers_and_its_series_go_on(
    method: str, speech: Callable[..., list[EpochResult]], tmp_path: Path
) -> None:
    """Stops are before, at and after an epoch's end, and between two rows."""
    recorded = speech(method, ALL)
    assert numbers(recorded) == numbers(speech(method, NOTHING))
    kept = tmp_path / "kept"
    for steps in (3, 8, 10, 7):
        with pytest.raises(Stop):
            speech(method, ALL, Stopping(kept, steps))
    assert timeless(speech(method, ALL, Checkpoint(kept))) == timeless(recorded)
    series = by_name(recorded)
    assert series["flip_ratio"].steps.tolist() == [7, 14, 21, 28, 35, 42, 49, 56]
    signs = {name: its for name, its in series.items() if name.endswith(".sign")}
    assert len(signs) == 3
    assert all(set(its.values.tolist()) <= {-1.0, 1.0} for its in signs.values())


@pytest.fixture
def small() -> tuple[list[tuple[str, nn.Parameter]], GradientFilter]:
    model = nn.Sequential(BinaryLinear(3, 3), BinaryLinear(3, 1))
    named = [(name, p) for name, p in model.named_parameters() if p in set(partition(model)[0])]
    return named, GradientFilter([p for _, p in named], alpha=0.5, gamma=0.5)


def test_rows_by_hand(small: tuple[list[tuple[str, nn.Parameter]], GradientFilter]) -> None:
    """With rows every 2 steps and 3 steps an epoch, the second epoch's first row counts flips of the first epoch."""
    named, optimizer = small
    thetas = [theta for _, theta in named]
    flips = FlipCounter(thetas)
    recorder = Recorder(Record(every=2, flips=True, weights=2, signs=True), named, seed=0, steps=6)
    series, seen = [], []
    for step in range(1, 7):
        before = torch.cat([theta.detach().flatten() for theta in thetas])
        for theta in thetas:
            theta.grad = theta.detach() * (1 if step % 2 else 3) / 4
        optimizer.step()
        flips.update()
        after = torch.cat([theta.detach().flatten() for theta in thetas])
        seen.append((int((before != after).sum()), after))
        recorder.look(step, optimizer, flips)
        if step % 3 == 0:
            series += recorder.take(flips)
            flips.reset()
    found = {each.name: each for each in joined(series)}
    assert [list(each.steps) for each in found.values()] == [[2, 4, 6]] * len(found)
    pairs = [(seen[i][0] + seen[i + 1][0]) / (2 * 12) for i in (0, 2, 4)]
    assert found["flip_ratio"].values.tolist() == pairs
    assert sum(pairs) > 0
    bits = np.stack([seen[i][1].numpy() < 0 for i in (1, 3, 5)])
    assert np.array_equal(found["signs"].values, np.packbits(bits, axis=1))
    weights = [name for name in found if name.endswith(".sign")]
    assert [name.partition("[")[0] for name in weights] == ["0", "1"]
    for name, theta in zip(weights, thetas, strict=True):
        at = name.removesuffix(".sign")
        place = tuple(int(i) for i in at.partition("[")[2].rstrip("]").split(","))
        assert theta.grad is not None
        last = {"gradient": theta.grad, "sign": theta, **optimizer.state[theta]}
        assert [k.removeprefix(f"{at}.") for k in found if k.startswith(f"{at}.")] == [
            "gradient",
            "g",
            "m",
            "sign",
        ]
        assert all(found[f"{at}.{what}"].values[-1] == its[place].item() for what, its in last.items())


def test_weights_are_the_seeds_and_of_all_layers() -> None:
    named = [(f"{i}.weight", nn.Parameter(torch.ones(4, 2))) for i in range(5)]

    def chosen(number: int, seed: int) -> list[str]:
        signs = Recorder(Record(weights=number), named, seed, 1)
        signs.look(1, GradientFilter([p for _, p in named], 0.5, 0.5), FlipCounter([]))
        return [
            each.name.removesuffix(".sign") for each in signs.take(FlipCounter([])) if "sign" in each.name
        ]

    assert chosen(10, 1) == chosen(10, 1) != chosen(10, 2)
    assert [name[0] for name in chosen(10, 1)] == list("0011223344")
    assert [name[0] for name in chosen(2, 1)] == list("02")
    assert len(set(chosen(40, 1))) == 40


@pytest.mark.parametrize("method", ["gradient-filter", "gradient-filter-first-order"])
@pytest.mark.parametrize(("precision", "off"), [("float64", 0.0), ("float32", 1e-6)])
def test_the_averages_are_what_the_filter_makes_of_the_recorded_gradients(
    method: str, precision: str, off: float, spoken_digits: Path
) -> None:
    found = by_name(
        list(
            train_with(
                SPEECH,
                method,
                VALUES[method] | {"decay": "none"},
                data_dir=spoken_digits,
                proxy=Proxy(epochs=2, width=32, precision=precision),
                record=Record(weights=3),
            )
        )
    )
    recorded = {
        what: np.stack([its.values for name, its in found.items() if name.endswith(f".{what}")], axis=1)
        for what in ("gradient", "g", "sign", *(["m"] if method == "gradient-filter" else []))
    }
    assert recorded["gradient"].shape == (40, 3)
    its = filtered(recorded["gradient"], **VALUES[method])
    largest = np.abs(recorded["gradient"]).max()
    np.testing.assert_allclose(its.outputs, recorded["g"], rtol=0, atol=off * largest)
    assert np.array_equal(its.signs, recorded["sign"])
    if "m" in recorded:
        first = filtered(recorded["gradient"], VALUES[method]["gamma"])
        np.testing.assert_allclose(first.outputs, recorded["m"], rtol=0, atol=off * largest)


def test_too_many_signs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_SIGN_BYTES", 100)
    named = [("0.weight", nn.Parameter(torch.ones(5, 16)))]
    Recorder(Record(signs=True), named, 0, steps=10)
    with pytest.raises(
        UnusableError, match=r"80 weights at 40 steps are 400 bytes.* 100: record every 4 steps"
    ):
        Recorder(Record(signs=True), named, 0, steps=40)
    Recorder(Record(signs=True, every=4), named, 0, steps=40)


def test_too_many_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_NUMBERS", 100)
    named = [("0.weight", nn.Parameter(torch.ones(5, 16)))]
    Recorder(Record(flips=True, weights=2), named, 0, steps=11)
    with pytest.raises(UnusableError, match=r"9 numbers at 40 steps are 360, .* 100: record every 4 steps"):
        Recorder(Record(flips=True, weights=2), named, 0, steps=40)
    Recorder(Record(flips=True, weights=2, every=4), named, 0, steps=40)


def test_metrics_of_training_samples_and_of_latent_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Training, validation and test samples are the same here, and are augmented only to train on."""
    binary: list[bool] = []

    def look(model: nn.Module, _: torch.Tensor) -> None:
        if not model.training:
            binary.append(all((p.abs() == 1).all() for p in partition(model)[0]))

    task = watched(TASKS["cifar10-birealnet20"], monkeypatch, look)
    task = replace(task, recipe=replace(task.recipe, batch_size=16))
    bright_and_dark(task, monkeypatch)
    record = Record(train_metric=True, latent_metric=True)
    options = {"data_dir": tmp_path, "proxy": Proxy(epochs=2, width=2), "record": record}
    results = list(
        train_with(
            task, "latent-sgd-magnitude-independent", VALUES["latent-sgd-magnitude-independent"], **options
        )
    )
    assert [r.train_metric for r in results] == [r.test_metric for r in results]
    assert all(r.latent_test_metric == r.latent_validation_metric is not None for r in results)
    assert binary == 2 * [True, True, True, False, False]


def test_images_with_noise_and_recovered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    task = TASKS["cifar10-denoise"]
    bright_and_dark(task, monkeypatch)
    options = {"data_dir": tmp_path, "proxy": Proxy(epochs=2, width=4, batch_size=16)}
    record = Record(images=64)
    first, last = train_with(task, "gradient-filter", VALUES["gradient-filter"], record=record, **options)
    assert first.series == ()
    found = {each.name: each for each in last.series}
    assert [each.steps.tolist() for each in last.series] == [[8]] * 3
    original, noisy, recovered = (found[name].values[0] for name in ("original", "noisy", "recovered"))
    assert original.shape == noisy.shape == recovered.shape == (64, 3, 32, 32)
    bright = torch.randint(0, 128, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0)).numpy()
    assert np.array_equal(original[0], bright[0])
    noise = (noisy.astype(float) - original) / 127.5
    assert 0.08 < noise[(noisy > 0) & (noisy < 255)].std() < 0.1  # 0.1, but for values cut off at black
    psnr = -10 * np.log10((((recovered.astype(float) - original) / 127.5) ** 2).mean())
    assert psnr == pytest.approx(last.test_metric, abs=0.05)


def test_what_diverged_has_the_worst_metrics_and_its_series(spoken_digits: Path) -> None:
    values = VALUES["latent-sgd"] | {"learning_rate": 3e38, "scaling": True, "clipping": False}
    record = replace(ALL, latent_metric=True)
    (result,) = train_with(SPEECH, "latent-sgd", values, data_dir=spoken_digits, record=record)
    assert result.diverged
    assert result.train_metric == result.latent_validation_metric == result.latent_test_metric == 0.0
    assert by_name([result])["signs"].steps.tolist() == [7, 14]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(latent_metric=True), "latent_metric needs a method with latent weights"),
        (Record(images=1), "images need a task that removes noise; spoken-digits does not"),
    ],
)
def test_what_a_training_has_not_is_not_recorded(record: Record, message: str, spoken_digits: Path) -> None:
    with pytest.raises(ValueError, match=message):
        next(train_with(SPEECH, "bop", VALUES["bop"], data_dir=spoken_digits, record=record))
    faults = dict(Record(flips=True).faults(SPEECH, binary=False, latent=False))
    assert faults == {"flips": "flips need binary weights; spoken-digits has none"}


def test_what_cannot_be_asked_for() -> None:
    for values, message in [
        ({"every": 0}, r"every must be in \[1, 1000000\], got 0"),
        ({"weights": True}, r"weights must be in \[0, 64\], got True"),
        ({"flips": 1}, "flips must be true or false, got 1"),
        ({"every": 5, "images": 1}, "every 5 applies to flips, weights and signs, and none of them is set"),
        ({"flip": True}, "flip cannot be recorded; known are every, flips"),
    ]:
        with pytest.raises(ValueError, match=message):
            Record.of(values)
    assert Record.of({"flips": True, "every": 1}).changes == {"flips": True}
    assert asdict(NOTHING) == asdict(Record.of({}))


def test_a_record_in_words() -> None:
    assert str(NOTHING) == ""
    assert str(Record(flips=True)) == "flips after every step"
    assert str(ALL) == "flips, 3 weights and all signs every 7 steps; the metric on training samples"
    assert str(Record(weights=1, signs=True, latent_metric=True, images=2)) == (
        "1 weight and all signs after every step; the metric with latent weights; 2 images recovered"
    )


def test_series_are_equal_where_all_is() -> None:
    one = Series.of("x", [1, 2], [0.5, float("nan")])
    assert one == Series.of("x", [1, 2], [0.5, float("nan")])
    for other in (("y", [1, 2], [0.5, np.nan]), ("x", [1, 3], [0.5, np.nan]), ("x", [1, 2], [0.5, 1.0])):
        assert one != Series.of(*other)
    assert one.plain() == {"name": "x", "steps": [1, 2], "shape": [], "values": [0.5, None]}
    signs = Series.of("signs", [3], np.array([[1, 255]], np.uint8))
    assert signs.plain() == {"name": "signs", "steps": [3], "shape": [2], "values": ["01ff"]}


def test_only_latent_optimizers_keep_latent_weights() -> None:
    for name, kind in OPTIMIZERS.items():
        theta: Any = torch.zeros(4, 3, requires_grad=True)
        assert ("w" in kind([theta], **VALUES[name]).state[theta]) == kind.latent, name
