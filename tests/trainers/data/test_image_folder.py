import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.data import DATASETS, image_folder
from trainers.data.image_folder import centre_box, centre_crop, fetch, files, load, random_box, random_part
from trainers.errors import DataError
from trainers.feeding.loader import Reading, evaluation_batches, training_batches

CLASSES = ("ant", "bee", "cat")

pytestmark = pytest.mark.filterwarnings("ignore:.*ignored entries that are not")


def picture(seed: int, width: int = 60, height: int = 45) -> Image.Image:
    """Return a smooth picture, which JPEG changes little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 25 + 2 pictures per class, some grey, CMYK or PNG, and a file that is no picture."""
    source = tmp_path / "pictures"
    for part, count in (("train", 25), ("val", 2)):
        for label, name in enumerate(CLASSES):
            (source / part / name).mkdir(parents=True)
            for i in range(count):
                image = picture(1000 * label + i + (500 if part == "val" else 0))
                image = image.convert({0: "L", 1: "CMYK"}.get(i, "RGB"))
                image.save(source / part / name / f"{i}.JPEG", quality=95)
    picture(3).save(source / "train" / "ant" / "x.png")
    (source / "train" / "ant" / "notes.txt").write_text("left out")
    return source


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    image_folder._decoded.cache_clear()


def test_splits_share_no_image(folder: Path, tmp_path: Path) -> None:
    assert fetch(tmp_path / "data", folder) == DATASETS["imagenet"].path(tmp_path / "data")
    splits = files(tmp_path / "data", 0)
    assert splits.classes == 3
    names = [
        {part.path(i) for i in range(len(part))} for part in (splits.train, splits.validation, splits.test)
    ]
    assert [len(part) for part in names] == [73, 3, 6]
    assert len(set.union(*names)) == 82
    assert all(file.exists() for part in names for file in part)
    for part in (splits.train, splits.validation, splits.test):
        assert [part.path(i).parent.name for i in range(len(part))] == [CLASSES[t] for t in part.targets]
    assert set(splits.validation.targets) == {0, 1, 2}
    other = files(tmp_path / "data", 1)
    assert {other.train.path(i) for i in range(73)} != names[0]
    assert fetch(tmp_path / "data") == image_folder.path(tmp_path / "data")  # still there


def test_in_memory_it_is_the_same_samples(folder: Path, tmp_path: Path) -> None:
    fetch(tmp_path / "data", folder)
    splits, on_disk = load(tmp_path / "data", 0, image_size=16), files(tmp_path / "data", 0)
    assert splits.input_shape == (3, 16, 16)
    assert splits.classes == 3
    for part, expected in ((splits.train, on_disk.train), (splits.test, on_disk.test)):
        assert part.inputs.dtype == torch.uint8
        assert part.targets.tolist() == expected.targets.tolist()
        assert np.array_equal(part.inputs[5], centre_crop(expected.path(5), 16))
    assert splits.mean is not None
    assert abs(splits.mean[0] - splits.train.inputs[:, 0].float().mean()) < 0.01


def test_more_than_memory_holds_is_refused(folder: Path, tmp_path: Path, monkeypatch) -> None:
    fetch(tmp_path / "data", folder)
    monkeypatch.setattr(image_folder, "MEMORY_BYTES", 1000)
    with pytest.raises(DataError, match=r"take 62,976 bytes at 16 x 16, more than 1,000"):
        load(tmp_path / "data", 0, image_size=16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: (source / "val" / "bee").rename(source / "val" / "bat"), "class bat is in only one"),
        (lambda source: (source / "val").rename(source / "test"), "holds no folder val"),
        (lambda source: [f.unlink() for f in (source / "val" / "bee").iterdir()], "val/bee: has no images"),
        (
            lambda source: (source / "train" / "bee" / "3.JPEG").write_bytes(b""),
            "bee/3.JPEG: is not an image",
        ),
        (
            lambda source: (source / "train" / "bee" / "3.JPEG").write_bytes(b"<html>"),
            "bee/3.JPEG: is not an im",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(change, message, folder: Path, tmp_path: Path) -> None:
    change(folder)
    with pytest.raises(DataError, match=message):
        fetch(tmp_path / "data", folder)


def test_missing_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    expected = r"image-net\.org.*run: tunebench data fetch imagenet --from FOLDER"
    with pytest.raises(DataError, match=expected):
        fetch(tmp_path / "data")
    with pytest.raises(
        DataError, match=r"index\.npz: missing; run: tunebench data fetch imagenet --from FOLDER"
    ):
        files(tmp_path / "data", 0)
    fetch(tmp_path / "data", folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"pictures: this folder of images no longer exists"):
        files(tmp_path / "data", 0)


def test_the_middle_is_cut_and_resized(tmp_path: Path) -> None:
    assert centre_box(256, 300) == (16, 38, 240, 262)  # 224 x 224
    image = picture(1, 80, 64)
    image.save(tmp_path / "x.png")
    expected = image.crop((12, 4, 68, 60)).resize((28, 28), Image.Resampling.BILINEAR)
    result = centre_crop(tmp_path / "x.png", 28).transpose(1, 2, 0)
    np.testing.assert_array_equal(result[1:-1, 1:-1], np.asarray(expected)[1:-1, 1:-1])
    # at the edges, resizing sees the pixels outside the part
    assert abs(result.astype(int) - np.asarray(expected)).max() <= 3


def test_a_jpeg_decoded_small_is_much_the_same(tmp_path: Path) -> None:
    picture(2, 640, 480).save(tmp_path / "x.JPEG", quality=95)
    picture(2, 640, 480).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.JPEG") as image:
        image.draft("RGB", (85, 64))
        assert image.size == (160, 120)  # as decoded by centre_crop(..., 56) below
    for size in (20, 56, 224):
        small, whole = (centre_crop(tmp_path / name, size).astype(int) for name in ("x.JPEG", "x.png"))
        assert abs(small - whole).mean() < 1.5
    for seed in range(5):
        parts = [
            random_part(tmp_path / name, 32, np.random.default_rng(seed)).astype(int)
            for name in ("x.JPEG", "x.png")
        ]
        assert abs(parts[0] - parts[1]).mean() < 2.5


def test_grey_and_cmyk_become_colour(tmp_path: Path) -> None:
    colour = picture(4)
    for mode in ("L", "CMYK"):
        colour.convert(mode).save(tmp_path / "x.JPEG", quality=95)
        expected = middle_of(colour.convert(mode).convert("RGB"), tmp_path)
        assert abs(centre_crop(tmp_path / "x.JPEG", 24).astype(int) - expected).mean() < 2


def test_of_16_bits_the_upper_ones_count(tmp_path: Path) -> None:
    grey = picture(4).convert("L")
    deep = np.asarray(grey).astype(np.uint16) * 256 + 17
    Image.fromarray(deep).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode.startswith("I")
    assert (centre_crop(tmp_path / "x.png", 24) == middle_of(grey, tmp_path)).all()


def test_files_that_are_left_out_are_counted(folder: Path, tmp_path: Path) -> None:
    for name in ("1.webp", "2.webp", "README", "._0.JPEG", ".DS_Store", ".x.jpg"):
        (folder / "train" / "bee" / name).write_bytes(b"")
    (folder / "train" / "bee" / "others").mkdir()
    told = (
        r"train: ignored entries that are not .jpeg, .jpg, .png: "
        r"3 hidden, 2 \.webp, 1 .txt, 1 without a suffix, 1 folder$"
    )
    with pytest.warns(UserWarning, match=told):
        fetch(tmp_path / "data", folder)


def test_hidden_folders_are_no_classes(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    picture(1).save(folder / "train" / ".ipynb_checkpoints" / "0-checkpoint.jpeg")
    fetch(tmp_path / "data", folder)
    assert files(tmp_path / "data", 0).classes == 3


def test_names_that_are_not_utf_8(folder: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        (folder / part / "cat").rename(folder / part / os.fsdecode(b"Kater_\xe4"))
    odd = folder / "train" / "ant" / os.fsdecode(b"K\xf6ter.png")
    picture(7).save(odd)
    fetch(tmp_path / "data", folder)
    splits = files(tmp_path / "data", 0)
    names = {part.path(i) for part in (splits.train, splits.validation) for i in range(len(part))}
    assert odd in names
    assert len(splits.test) == sum(len(centre_crop(splits.test.path(i), 8)) == 3 for i in range(6))
    odd.write_bytes(b"")
    with pytest.raises(DataError, match=r"K\\udcf6ter\.png: is not an image"):
        fetch(tmp_path / "data", folder)


def middle_of(image: Image.Image, folder: Path) -> np.ndarray:
    image.save(folder / "reference.png")
    return centre_crop(folder / "reference.png", 24).astype(int)


def test_random_boxes_are_inside_and_as_large_as_they_should_be() -> None:
    generator = np.random.default_rng(0)
    boxes = np.array([random_box(500, 375, generator) for _ in range(4000)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 500 + 1e-9).all()
    assert (boxes[:, 3] <= 375 + 1e-9).all()
    shares = across * down / (500 * 375)
    assert shares.min() > 0.0799
    assert shares.min() < 0.09
    assert shares.max() > 0.97
    assert (across / down).min() >= 0.749
    assert (across / down).max() <= 1.334
    assert random_box(1000, 10, generator) == (495, 0, 505, 10)  # nothing fits ten times


def everything(batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = zip(*batches, strict=True)
    return torch.stack(images), torch.stack(targets)


def test_an_epoch_is_the_same_for_every_number_of_workers_and_every_start(
    folder: Path, tmp_path: Path
) -> None:
    fetch(tmp_path / "data", folder)
    train = files(tmp_path / "data", 0).train
    options = {"batch_size": 10, "image_size": 12, "seed": 5}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    images, targets = everything(training_batches(train, epoch=1, **options))
    assert images.shape == (7, 10, 3, 12, 12)  # of 73 samples
    assert images.dtype == torch.uint8
    for workers in (1, 2):
        again = everything(training_batches(train, epoch=1, reading=Reading(workers=workers), **options))
        assert torch.equal(again[0], images)
        assert torch.equal(again[1], targets)
    rest = everything(training_batches(train, epoch=1, start=4, **options))
    assert torch.equal(rest[0], images[4:])
    assert torch.equal(rest[1], targets[4:])
    assert not torch.equal(everything(training_batches(train, epoch=2, **options))[0], images)
    assert not torch.equal(everything(training_batches(train, epoch=1, **{**options, "seed": 6}))[0], images)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_sample_twice_in_an_epoch_and_all_when_evaluating(folder: Path, tmp_path: Path) -> None:
    fetch(tmp_path / "data", folder)
    train = files(tmp_path / "data", 0).train
    numbered = image_folder.ImageFiles(train.folder, train.names, np.arange(73))
    drawn = everything(training_batches(numbered, batch_size=10, image_size=8, seed=0, epoch=0))[1].flatten()
    assert len(drawn.unique()) == 70
    batches = list(evaluation_batches(numbered, batch_size=10, image_size=8, reading=Reading(workers=1)))
    assert [len(targets) for _, targets in batches] == [10] * 7 + [3]
    assert torch.cat([targets for _, targets in batches]).tolist() == list(range(73))
    assert np.array_equal(batches[7][0][2], centre_crop(train.path(72), 8))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_from_a_worker_too(workers: int, folder: Path, tmp_path: Path) -> None:
    fetch(tmp_path / "data", folder)
    file = folder / "train" / "bee" / "3.JPEG"
    file.write_bytes(file.read_bytes()[:-200])
    splits = files(tmp_path / "data", 0)
    with pytest.raises(DataError, match=rf"^{file}: is not a complete image: image file is truncated"):
        list(evaluation_batches(splits.train, batch_size=10, image_size=8, reading=Reading(workers=workers)))
    with pytest.raises(DataError, match=rf"^{file}: is not a complete image"):
        load(tmp_path / "data", 0)
