"""CIFAR and MNIST in their official formats, with a few images each."""

import dataclasses
import gzip
import hashlib
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainers.data import DATASETS, Splits, mnist
from trainers.data.archives import Download, digest
from trainers.data.arrays import read_arrays, read_tensors, write_arrays
from trainers.data.cifar import ARRAYS, CIFAR10, CIFAR100, Cifar, _batch
from trainers.data.splits import channel_statistics, held_out
from trainers.errors import DataError
from trainers.feeding.augment import normalise
from trainers.feeding.network_inputs import pixels
from trainers.tasks import TASKS


def batch(file: Path, labels: Any, key: str, seed: int, protocol: int = 2, encode: bool = True) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"data": pixels, key: labels, "filenames": [b"x"]}
    if encode:  # official files have such keys
        values = {name.encode(): value for name, value in values.items()}
    file.write_bytes(pickle.dumps(values, protocol=protocol))


@pytest.fixture(params=["cifar10", "cifar100"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Cifar, Path]:
    """A CIFAR with 10 training images and 2 test images per class, and its official archive."""
    whole: Cifar = {"cifar10": CIFAR10, "cifar100": CIFAR100}[request.param]
    folder = tmp_path / "made" / whole.download.name.removesuffix(".tar.gz")
    a_file = 10 // len(whole.train)
    for i, name in enumerate(whole.train):
        batch(folder / name, list(range(whole.classes)) * a_file, whole.labels, i)
    for name in whole.test:
        batch(folder / name, list(range(whole.classes)) * 2, whole.labels, 99, protocol=5)
    archive = tmp_path / whole.download.name
    with tarfile.open(archive, "w:gz", compresslevel=1) as contents:
        contents.add(folder, folder.name)
    return dataclasses.replace(
        whole,
        train={name: digest(folder / name) for name in whole.train},
        test={name: digest(folder / name) for name in whole.test},
        train_a_class=10,
        test_a_class=2,
        download=Download(archive.as_uri(), digest(archive)),
    ), folder


def disjoint(splits: Splits) -> int:
    """Return the number of different samples; fail if two splits share one."""
    rows = [
        {row.numpy().tobytes() for row in part.inputs}
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    return sum(map(len, rows))


def test_cifar_from_its_archive(small: tuple[Cifar, Path], tmp_path: Path) -> None:
    data, folder = small
    file = data.fetch(tmp_path / "data")
    assert file == data.path(tmp_path / "data")
    splits = data.load(tmp_path / "data", 0)
    assert DATASETS[data.name].origin(tmp_path / "data")["published"] is True
    assert splits.classes == data.classes
    assert splits.input_shape == (3, 32, 32)
    for part, a_class in ((splits.train, 9), (splits.validation, 1), (splits.test, 2)):
        assert part.inputs.dtype == torch.uint8
        assert part.targets.bincount().tolist() == [a_class] * data.classes
    assert disjoint(splits) == 12 * data.classes
    with (folder / next(iter(data.test))).open("rb") as stream:
        pixels = pickle.load(stream)[b"data"]
    assert splits.test.inputs[7].flatten().tolist() == pixels[7].tolist()
    flat = splits.train.inputs.double().movedim(1, 0).flatten(1)
    torch.testing.assert_close(splits.mean, flat.mean(1).float())
    torch.testing.assert_close(splits.std, flat.std(1, unbiased=False).float())
    # the split depends on the seed
    again, other = data.load(tmp_path / "data", 0), data.load(tmp_path / "data", 1)
    assert torch.equal(again.train.inputs, splits.train.inputs)
    assert not torch.equal(other.validation.inputs, splits.validation.inputs)
    assert torch.equal(other.test.inputs, splits.test.inputs)
    before = file.stat().st_mtime_ns
    data.fetch(tmp_path / "data")
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize("small", ["cifar10"], indirect=True)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train_labels", np.arange(100) % 11, "has labels that are not 0 to 9"),
        ("test_labels", np.arange(20) % 10 - 1, "has labels that are not 0 to 9"),
        ("test_labels", np.arange(19) % 10, "has 19 labels for 20 samples"),
    ],
)
def test_kept_images_of_other_classes_train_nothing(
    name, value, message, small, tmp_path, monkeypatch
) -> None:
    data, folder = small
    file = data.fetch(tmp_path / "data", folder)
    kept = dict(zip(ARRAYS, read_arrays(file, ARRAYS, ""), strict=True))
    write_arrays(file, kept | {name: value})
    monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], load=data.load))
    with pytest.raises(DataError, match=rf"images\.npz: {message}"):
        DATASETS["cifar10"].check_data(tmp_path / "data")


def test_other_images_in_the_same_layout_are_taken_with_a_warning(small, tmp_path: Path) -> None:
    data, folder = small
    name = next(iter(data.test))
    batch(folder / name, list(range(data.classes)) * 2, data.labels, 7)
    with pytest.warns(UserWarning, match=rf"these are not the published images \(other checksum: {name}\)"):
        data.fetch(tmp_path / "data", folder.parent)
    assert DATASETS[data.name].origin(tmp_path / "data")["published"] is False


Damage = Callable[[Path, Cifar], None]
DAMAGES: dict[str, tuple[str, Damage]] = {
    "truncated": ("is not a complete CIFAR batch", lambda f, d: f.write_bytes(f.read_bytes()[:1000])),
    "empty": ("is not a complete CIFAR batch", lambda f, d: f.write_bytes(b"")),
    "gone": ("missing", lambda f, d: f.unlink()),
    "not a dictionary": ("is not a complete CIFAR batch", lambda f, d: f.write_bytes(pickle.dumps([1]))),
    "runs something": (
        "PosixPath, which is not allowed",
        lambda f, d: f.write_bytes(pickle.dumps({b"data": f})),
    ),
    "a class too many": (
        "has label 100; labels must be 0 to",
        lambda f, d: batch(f, [*range(d.classes), 100], d.labels, 0),
    ),
    "no images": ("is not a complete CIFAR batch", lambda f, d: batch(f, [], d.labels, 0)),
    "fewer labels": (
        "of type uint8 and 1 labels",
        lambda f, d: f.write_bytes(
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), d.labels.encode(): [1]})
        ),
    ),
    "floats": (
        "it has an array that is not of whole numbers",
        lambda f, d: f.write_bytes(pickle.dumps({b"data": np.zeros((2, 3072)), d.labels.encode(): [1, 1]})),
    ),
    "colours last": (
        r"has data of shape \(20, 32, 32, 3\), not \(images, 3072\) with one colour after another",
        lambda f, d: f.write_bytes(
            pickle.dumps({"data": np.zeros((20, 32, 32, 3), np.uint8), d.labels: list(range(10)) * 2})
        ),
    ),
    "labels too high": (
        "it has float instead of an array",
        lambda f, d: batch(f, [label + 0.4 for label in range(10)] * 2, d.labels, 0),
    ),
    "no labels": ("it has no 'labels'", lambda f, d: batch(f, [1], "fine_labels", 0)),
    "a forged type": (
        "it has an array that is not of whole numbers",
        lambda f, d: f.write_bytes(pickle.dumps({"data": Forged(), d.labels: [1]})),
    ),
    "an attribute": (
        "it changes something that is not an object",
        lambda f, d: f.write_bytes(b"\x80\x02cnumpy\ndtype\n}b."),
    ),
    "a number for a function": (
        "it calls something that is not a function",
        lambda f, d: f.write_bytes(b"K\1)R."),
    ),
    "a hash of its own": ("it has tuple instead of a key", lambda f, d: f.write_bytes(b"}))s.")),
    "larger than its images": (
        "bytes or more, too many for 20 images",
        lambda f, d: f.write_bytes(bytes(2**21)),
    ),
}


class Forged:
    """A pickled NumPy array that claims to hold objects, so that its bytes would be taken for addresses."""

    def __reduce__(self) -> Any:
        shape, kind = (2, 3072), np.dtype([("f0", "O")])
        restore, arguments, *_ = np.zeros(0).__reduce__()
        return restore, arguments, (1, shape, kind, False, b"\x41" * (2 * 3072 * 8))


def python2(pixels: np.ndarray, labels: list[int], order: str) -> bytes:
    """Return a batch as official files have it, from Python 2: one type for text and bytes, NumPy's old names."""
    data = pixels.tobytes(order)
    shape = b"".join(b"M" + struct.pack("<H", n) for n in pixels.shape) + b"\x86"
    kind = b"cnumpy\ndtype\nU\2u1K\0K\1\x87R(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\1btR(K\1" + shape + kind
    array += (b"\x88" if order == "F" else b"\x89") + b"T" + struct.pack("<i", len(data)) + data + b"tb"
    return (
        b"\x80\x02}q\1(U\4data"
        + array
        + b"U\6labels]("
        + b"".join(b"K" + bytes([n]) for n in labels)
        + b"eu."
    )


@pytest.mark.parametrize("order", ["C", "F"])
def test_batches_of_python_2_are_read(order: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    (tmp_path / "batch").write_bytes(python2(pixels, list(range(10)) * 2, order))
    with (tmp_path / "batch").open("rb") as stream:
        assert np.array_equal(pickle.load(stream, encoding="bytes")[b"data"], pixels)
    images, labels = _batch(tmp_path / "batch", "labels", 10, 20)
    assert np.array_equal(images.reshape(20, 3072), pixels)
    assert labels.tolist() == list(range(10)) * 2


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [list, np.array, lambda labels: list(np.array(labels, np.int16))])
def test_batches_of_python_3_are_read(kind: Any, protocol: int, encode: bool, tmp_path: Path) -> None:
    batch(tmp_path / "batch", kind(list(range(10)) * 2), "labels", 3, protocol, encode)
    images, labels = _batch(tmp_path / "batch", "labels", 10, 20)
    assert np.array_equal(
        images[7].ravel(), np.random.default_rng(3).integers(0, 256, (20, 3072), np.uint8)[7]
    )
    assert labels.tolist() == list(range(10)) * 2
    assert labels.dtype == np.int64


@pytest.mark.parametrize("small", ["cifar10"], indirect=True)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_batch_is_named(damage: str, small: tuple[Cifar, Path], tmp_path: Path) -> None:
    data, folder = small
    file = folder / next(iter(data.test))
    message, change = DAMAGES[damage]
    change(file, data)
    with pytest.raises(DataError, match=rf"{file}: .*{message}|{file}: {message}"):
        data.fetch(tmp_path / "data", folder)
    assert not data.path(tmp_path / "data").exists()


def test_unbalanced_classes_are_refused(small: tuple[Cifar, Path], tmp_path: Path) -> None:
    data, folder = small
    batch(folder / next(iter(data.test)), [*range(1, data.classes), 1] * 2, data.labels, 0)
    with pytest.raises(DataError, match=r"class 0 has 0 images, not 2"):
        data.fetch(tmp_path / "data", folder)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fsdd", "audiomnist"])
def test_missing_names_the_file_and_the_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}/.*\.npz: missing; run: tunebench data fetch {name}$"):
        DATASETS[name].load(tmp_path, 0)


def test_a_channel_that_is_the_same_everywhere_becomes_zeros() -> None:
    images = torch.randint(0, 256, (50, 3, 6, 6), dtype=torch.uint8)
    images[:, 1] = 200
    scale = pixels(TASKS["cifar10-resnet20"].recipe, *channel_statistics(images), torch.device("cpu"))
    assert scale is not None
    scaled = normalise(images, *scale)
    assert scaled.isfinite().all()
    assert scaled[:, 1].abs().max() < 1e-4


def idx(array: np.ndarray) -> bytes:
    return (
        struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    )


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST with 40 + 2i training images of digit i and 3 test images of each."""
    folder = tmp_path / "official"
    folder.mkdir()
    monkeypatch.setattr(mnist, "ADDRESS", f"{folder.as_uri()}/")
    drawn = np.random.default_rng(0)
    unpacked = {}
    for part, counts in {"train": [40 + 2 * i for i in range(10)], "t10k": [3] * 10}.items():
        labels = drawn.permutation(np.repeat(range(10), counts))
        for kind, array in (
            ("images-idx3", drawn.integers(0, 256, (len(labels), 28, 28))),
            ("labels-idx1", labels),
        ):
            name = f"{part}-{kind}-ubyte"
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            unpacked[name] = hashlib.md5(idx(array)).hexdigest()
    md5 = {name: digest(folder / f"{name}.gz") for name in mnist.MD5}
    monkeypatch.setattr(mnist, "MD5", md5)
    monkeypatch.setattr(mnist, "UNPACKED_MD5", unpacked)
    return folder


def test_mnist_from_its_address_or_unzipped_in_a_folder(digits: Path, tmp_path: Path) -> None:
    mnist.fetch(tmp_path / "data")
    splits = mnist.load(tmp_path / "data", 0)
    assert DATASETS["mnist"].origin(tmp_path / "data")["published"] is True
    assert splits.input_shape == (1, 28, 28)
    assert splits.validation.targets.bincount().tolist() == [4, 4, 4, 5, 5, 5, 5, 5, 6, 6]
    assert (splits.train.targets.bincount() + splits.validation.targets.bincount()).tolist() == [
        40 + 2 * i for i in range(10)
    ]
    assert splits.test.targets.bincount().tolist() == [3] * 10
    assert disjoint(splits) == 490 + 30
    for file in digits.iterdir():
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    mnist.fetch(tmp_path / "other", digits)
    assert DATASETS["mnist"].origin(tmp_path / "other") == DATASETS["mnist"].origin(tmp_path / "data")
    assert torch.equal(mnist.load(tmp_path / "other", 0).train.inputs, splits.train.inputs)


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_mnist_under_its_other_names(folders: bool, dot: bool, digits: Path, tmp_path: Path) -> None:
    """Archives name them train-images.idx3-ubyte, or put each file in a folder of its own name."""
    mnist.fetch(tmp_path / "data", digits)
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as contents:
        for file in digits.iterdir():
            name = file.stem.replace("-idx", ".idx") if dot else file.stem
            contents.writestr(f"{name}/{name}" if folders else name, gzip.decompress(file.read_bytes()))
    mnist.fetch(tmp_path / "other", archive)
    assert DATASETS["mnist"].origin(tmp_path / "other") == DATASETS["mnist"].origin(tmp_path / "data")


def test_a_small_file_of_many_zeros_is_refused(digits: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mnist, "MOST_BYTES", 400_000)
    (digits / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(10_000_000), 1))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: holds more than 400,000 bytes"):
        mnist.fetch(tmp_path / "data", digits)


def test_fewer_digits_than_published_are_taken_with_a_warning(digits: Path, tmp_path: Path) -> None:
    labels = mnist.read_idx(digits / "train-labels-idx1-ubyte.gz")[:200]
    images = mnist.read_idx(digits / "train-images-idx3-ubyte.gz")[:200]
    (digits / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    (digits / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    others = "train-images-idx3-ubyte, train-labels-idx1-ubyte"
    with pytest.warns(UserWarning, match=rf"these are not the published images \(other contents: {others}\)"):
        mnist.fetch(tmp_path / "data", digits)
    origin = DATASETS["mnist"].origin(tmp_path / "data")
    assert origin["published"] is False
    assert origin["sha256"] == hashlib.sha256(mnist.path(tmp_path / "data").read_bytes()).hexdigest()
    assert DATASETS["mnist"].origin(tmp_path / "nowhere") == {"sha256": None, "published": None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3", b"", "cannot be read completely|is not an IDX file"),
        ("train-images-idx3", gzip.compress(idx(np.zeros((490, 28, 28))))[:-20], "cannot be read completely"),
        (
            "train-images-idx3",
            gzip.compress(idx(np.zeros((490, 28, 28)))[:-1]),
            "bytes of data, but its header says shape",
        ),
        ("train-images-idx3", gzip.compress(b"\0\0\x0d\x03"), "is not an IDX file of unsigned bytes"),
        ("train-images-idx3", gzip.compress(b"\0\0\x08\x03\0"), "is not an IDX file of unsigned bytes"),
        ("train-images-idx3", gzip.compress(idx(np.zeros((490, 27, 28)))), "not images of 28 x 28"),
        ("train-images-idx3", gzip.compress(idx(np.zeros((0, 28, 28)))), "not images of 28 x 28"),
        ("t10k-labels-idx1", gzip.compress(idx(np.zeros(29))), r"labels of shape \(29,\) for 30 images"),
        ("t10k-labels-idx1", gzip.compress(idx(np.full(30, 10))), "has label 10; labels must be 0 to 9"),
        ("t10k-labels-idx1", gzip.compress(idx(np.arange(30) % 9)), "has labels of only 9 of the 10 digits"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_damaged_idx_file_is_named(name, content, message, digits: Path, tmp_path: Path) -> None:
    file = digits / f"{name}-ubyte.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"{file}: .*({message})"):
        mnist.fetch(tmp_path / "data", digits)


def test_held_out_is_a_share_of_every_class() -> None:
    targets = torch.tensor([0] * 100 + [1] * 35)
    rest, held = held_out(targets, 0.2, 3)
    assert targets[held].bincount().tolist() == [20, 7]
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(135))
    assert rest.tolist() != sorted(rest.tolist())


def test_statistics_of_bytes_are_exact() -> None:
    images = torch.randint(0, 256, (50, 2, 6, 6), dtype=torch.uint8)
    mean, std = channel_statistics(images)
    wide = images.double().movedim(1, 0).flatten(1)
    torch.testing.assert_close(mean, wide.mean(1).float())
    torch.testing.assert_close(std, wide.std(1, unbiased=False).float())


@pytest.fixture(autouse=True)
def nothing_kept():
    read_tensors.cache_clear()
