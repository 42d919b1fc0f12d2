"""DALI decodes what Pillow decodes: the same parts of the same images in the same order."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up import VALUES, Stop, Stopping, train_with
from numpy.typing import NDArray
from pictures import data_folder
from PIL import Image

from trainers.data.image_folder import ImageFiles, centre_crop, files
from trainers.errors import CheckpointError, DataError
from trainers.feeding.decoders import Decoder
from trainers.feeding.feed import feed
from trainers.feeding.loader import Reading, evaluation_batches, training_batches
from trainers.tasks import TASKS, Proxy
from trainers.training.checkpoints import Checkpoint
from trainers.training.results import EpochResult
from trainers.training_spec import Machine, TrainingSpec

pytest.importorskip("nvidia.dali", reason="needs pip install tunebench[dali]")

DALI = Reading(decoder="dali")


def picture(seed: int, width: int = 60, height: int = 45) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def images(folder: Path, *names: str) -> ImageFiles:
    return ImageFiles(folder, np.array([name.encode() for name in names]), np.arange(len(names)))


def middles(found: ImageFiles, size: int) -> NDArray[np.int64]:
    batches = evaluation_batches(found, batch_size=4, image_size=size, reading=DALI)
    return np.concatenate([batch.numpy() for batch, _ in batches]).astype(np.int64)


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.fixture
def train(tmp_path: Path) -> ImageFiles:
    """76 pictures of 40 x 40 in two classes."""
    return files(data_folder(tmp_path), 0).train


def epoch(found: ImageFiles, reading: Reading = DALI, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    options = {"batch_size": 10, "image_size": 24, "seed": 5, "epoch": 1} | options
    inputs, targets = zip(*training_batches(found, reading=reading, **options), strict=True)
    return torch.stack(inputs), torch.stack(targets)


def test_the_parts_are_pillows(train: ImageFiles) -> None:
    inputs, targets = epoch(train)
    expected, of_pillow = epoch(train, Reading())
    assert inputs.shape == (7, 10, 3, 24, 24)
    assert (inputs.dtype, targets.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(targets, of_pillow)
    assert (inputs.int() - expected.int()).abs().float().mean() < 0.5
    assert (inputs.int() - expected.int()).abs().max() <= 4


def test_nothing_is_resized_where_nothing_has_to_be(tmp_path: Path) -> None:
    picture(1, 80, 64).save(tmp_path / "x.JPEG", quality=95)
    found = images(tmp_path, "x.JPEG")
    assert np.array_equal(middles(found, 56)[0], centre_crop(tmp_path / "x.JPEG", 56))


def test_any_number_of_threads_and_any_start_give_the_same(train: ImageFiles) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    inputs, targets = epoch(train)
    for workers in (1, 3):
        assert torch.equal(epoch(train, replace(DALI, workers=workers))[0], inputs)
    later = epoch(train, replace(DALI, workers=2), start=4)
    assert torch.equal(later[0], inputs[4:])
    assert torch.equal(later[1], targets[4:])
    assert not torch.equal(epoch(train, epoch=2)[0], inputs)
    assert not torch.equal(epoch(train, seed=6)[0], inputs)
    assert list(training_batches(train, batch_size=10, image_size=8, seed=5, epoch=1, start=7)) == []
    assert torch.equal(torch.get_rng_state(), before)


def test_all_are_scored_in_order_and_the_last_batch_may_be_smaller(train: ImageFiles) -> None:
    numbered = ImageFiles(train.folder, train.names, np.arange(76))
    batches = list(evaluation_batches(numbered, batch_size=10, image_size=24, reading=DALI))
    assert [len(images) for images, _ in batches] == [10] * 7 + [6]
    assert torch.cat([targets for _, targets in batches]).tolist() == list(range(76))
    last = batches[7][0][5].numpy().astype(int)
    assert abs(last - centre_crop(train.path(75), 24)).max() <= 4


def test_kinds_of_images(tmp_path: Path) -> None:
    """DALI decodes the grey and the turned one; Pillow decodes all that are not JPEGs of one or three colours."""
    colour = picture(4)
    turned = Image.Exif()
    turned[0x0112] = 6
    colour.convert("L").save(tmp_path / "grey.JPEG", quality=95)
    colour.save(tmp_path / "turned.JPEG", quality=95, exif=turned)
    colour.convert("CMYK").save(tmp_path / "cmyk.JPEG", quality=95)
    colour.save(tmp_path / "colour.png")
    colour.convert("P").save(tmp_path / "palette.png")
    colour.convert("RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 256 + 17).save(tmp_path / "deep.png")
    (tmp_path / "more.JPEG").write_bytes((tmp_path / "grey.JPEG").read_bytes() + b"and more")
    of_dali = ["grey.JPEG", "turned.JPEG"]
    of_pillow = ["cmyk.JPEG", "colour.png", "palette.png", "alpha.png", "deep.png", "more.JPEG"]
    decoded = middles(images(tmp_path, *of_dali, *of_pillow), 24)
    for name, image in zip(of_dali + of_pillow, decoded, strict=True):
        difference = abs(image - centre_crop(tmp_path / name, 24)).max()
        assert difference <= (2 if name in of_dali else 0), name


def test_what_is_scored_is_pillows(tmp_path: Path) -> None:
    folder = data_folder(tmp_path)
    task = replace(TASKS["imagenet-birealnet18"], image_size=24)
    task = replace(task, recipe=replace(task.recipe, batch_size=10))
    sources = [
        feed(TrainingSpec(task=task), Machine(data_dir=folder, decoder=decoder))
        for decoder in ("pillow", "dali")
    ]
    assert [source.decoder and source.decoder.split()[0] for source in sources] == [None, "dali"]
    trained_on = [next(source.training(1)).inputs for source in sources]
    assert not torch.equal(*trained_on)
    scored = [next(source.scored("validation")).inputs for source in sources]
    assert torch.equal(*scored)


def undecodable(contents: bytes) -> bytes:
    """Return the JPEG with valid start and end, but with a table that no decoder accepts."""
    counts = contents.index(b"\xff\xc4") + 5
    return contents[:counts] + b"\xff" * 16 + contents[counts + 16 :]


@pytest.mark.parametrize("damage", [lambda c: c[:-200], lambda c: b"<html>", lambda c: b"", undecodable])
def test_a_damaged_image_is_named(damage: Callable[[bytes], bytes], train: ImageFiles) -> None:
    file = train.path(33)
    file.write_bytes(damage(file.read_bytes()))
    given = evaluation_batches(train, batch_size=10, image_size=24, reading=replace(DALI, workers=2))
    with pytest.raises(DataError, match=rf"^{file}: is not a complete image: "):
        list(given)
    given = evaluation_batches(train, batch_size=1, image_size=24, reading=DALI)
    with pytest.raises(DataError, match=rf"^{file}: is not a complete image: "):
        list(given)


def test_what_pillow_alone_decodes_is_named(train: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.feeding.dali.jpeg", lambda file: (b"no picture", 40, 40))
    with pytest.raises(DataError, match=rf"^{train.path(0)}: Pillow can decode it, DALI cannot"):
        middles(train, 24)


def test_threads_end_with_the_generator_and_a_batch_outlives_them(train: ImageFiles) -> None:
    epoch(train)
    before = threads()
    reading = replace(DALI, workers=3)
    batches = training_batches(train, batch_size=10, image_size=24, seed=5, epoch=1, reading=reading)
    first, _ = next(batches)
    kept = first.clone()
    assert threads() > before
    batches.close()
    for _ in range(100):
        if threads() <= before:
            break
        time.sleep(0.01)  # the system takes a moment to forget a thread
    assert threads() <= before
    epoch(train, seed=7)
    assert torch.equal(first, kept)


def test_a_training_goes_on_with_the_very_numbers(tmp_path: Path) -> None:
    folder = data_folder(tmp_path)
    task = TASKS["imagenet-birealnet18"]
    task = replace(task, recipe=replace(task.recipe, batch_size=10, loss="cross-entropy", teacher=None))

    def trained(checkpoint: Checkpoint | None = None, decoder: Decoder = "dali") -> Iterator[EpochResult]:
        return train_with(
            task,
            "gradient-filter",
            VALUES["gradient-filter"],
            seed=0,
            split_seed=0,
            data_dir=folder,
            proxy=Proxy(epochs=2, width=2, image_size=32),
            workers=2,
            decoder=decoder,
            checkpoint=checkpoint,
        )

    def figures(results: Iterator[EpochResult]) -> list[EpochResult]:
        return [replace(r, train_seconds=0.0, evaluate_seconds=0.0) for r in results]

    whole = figures(trained())
    assert len(whole) == 2
    with pytest.raises(Stop):
        list(trained(Stopping(tmp_path / "kept", 10)))
    with pytest.raises(
        CheckpointError, match=r"belongs to another training, with decoder dali \S+ instead of None"
    ):
        list(trained(Checkpoint(tmp_path / "kept"), decoder="pillow"))
    assert figures(trained(Checkpoint(tmp_path / "kept"))) == whole
