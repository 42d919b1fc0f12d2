import dataclasses
import itertools
import re
import struct
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.data import DATASETS, Samples, Splits, audio
from trainers.data.archives import Download
from trainers.data.arrays import read_tensors, write_arrays
from trainers.data.audio import AUDIOMNIST, FSDD, Recordings, resample
from trainers.data.log_mel import FLOOR, log_mel, triangles
from trainers.data.wav import read_wav
from trainers.errors import DataError
from trainers.tasks import TASKS
from trainers.training.loop import train
from trainers.training_spec import Machine, TrainingSpec


def wav(file: Path, samples: np.ndarray, rate: int = 8000, width: int = 2, channels: int = 1) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = {1: "u1", 2: "<i2", 4: "<i4"}[width]
    with wave.open(str(file), "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes(samples.astype(kind).tobytes())


@pytest.fixture(params=["fsdd", "audiomnist"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Recordings, Path]:
    """Recordings of 5 speakers who say every digit twice, in the official layout, and their archive."""
    whole = {"fsdd": FSDD, "audiomnist": AUDIOMNIST}[request.param]
    rate = {"fsdd": 8000, "audiomnist": 48000}[request.param]
    folder = tmp_path / "made" / "set-1.0"
    drawn = np.random.default_rng(0)
    for speaker in ("01", "02", "anna", "bo", "cy"):
        for digit in range(10):
            for number in range(2):
                name = f"{digit}_{speaker}_{number}.wav"
                sound = drawn.integers(-9000, 9000, round(rate * drawn.uniform(0.06, 0.3)))
                wav(folder / ("recordings" if whole is FSDD else f"data/{speaker}") / name, sound, rate)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as contents:
        for file in folder.rglob("*.wav"):
            contents.write(file, file.relative_to(folder.parent))
    return dataclasses.replace(
        whole,
        speakers=5,
        repetitions=2,
        validation_speakers=1,
        test_speakers=2,
        download=Download(archive.as_uri()),
    ), folder


def test_no_speaker_is_in_two_splits(small: tuple[Recordings, Path], tmp_path: Path) -> None:
    data, folder = small
    data.fetch(tmp_path / "data")
    splits = data.load(tmp_path / "data", 0)
    parts = all_of(splits)
    assert splits.input_shape == (20, 40)
    assert splits.classes == 10
    assert [part.targets.bincount().tolist() for part in parts] == [[4] * 10, [2] * 10, [4] * 10]
    speakers = {}
    features, digits, said_by = read_tensors(data.path(tmp_path / "data"), audio.ARRAYS, "")
    plain = features - features.mean(1, keepdim=True)
    plain = plain / plain.std((1, 2), keepdim=True)
    for seed in range(6):
        splits = data.load(tmp_path / "data", seed)
        flat = splits.train.inputs.flatten(1)
        torch.testing.assert_close(flat.mean(0), torch.zeros(800), atol=1e-5, rtol=0)
        torch.testing.assert_close(flat.std(0), torch.ones(800), atol=1e-5, rtol=0)
        # find the speakers in training, whose samples make up its mean
        candidates = [
            pair
            for pair in torch.combinations(torch.arange(5)).tolist()
            if torch.equal(digits[torch.isin(said_by, torch.tensor(pair))], splits.train.targets)
            and torch.allclose(standardised(plain, said_by, pair), splits.train.inputs, atol=1e-5)
        ]
        assert len(candidates) == 1
        speakers[seed] = tuple(candidates[0])
        every = standardised(plain, said_by, candidates[0], of_all=True)
        of_parts = [said_by[rows(part.inputs, every)].unique().tolist() for part in all_of(splits)]
        assert of_parts[0] == candidates[0]
        assert sorted(itertools.chain(*of_parts)) == [0, 1, 2, 3, 4]  # each in one split
    assert len(set(speakers.values())) > 1
    for hidden in (folder.parent / "__MACOSX" / folder.name, folder.parent / ".trash"):
        hidden.mkdir(parents=True)
        (hidden / data.folder).mkdir()
    for file in list(folder.rglob("*.wav"))[:3]:
        file.with_name(f"._{file.name}").write_bytes(b"Mac OS X")
    data.fetch(tmp_path / "other", folder.parent)  # the same from the folder
    assert torch.equal(data.load(tmp_path / "other", 5).test.inputs, splits.test.inputs)


def standardised(
    features: torch.Tensor, said_by: torch.Tensor, speakers: list[int], *, of_all: bool = False
) -> torch.Tensor:
    """Return the samples of `speakers`, or all, standardised by the mean and deviation of `speakers`."""
    chosen = features[torch.isin(said_by, torch.tensor(speakers))]
    return ((features if of_all else chosen) - chosen.mean(0)) / chosen.std(0)


def rows(some: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Return the index in `features` of each sample of `some`."""
    exact = "donot_use_mm_for_euclid_dist"
    nearest = torch.cdist(some.flatten(1), features.flatten(1), compute_mode=exact).min(1)
    assert nearest.values.max() < 1e-3
    return nearest.indices


def all_of(splits: Splits) -> tuple[Samples, ...]:
    return splits.train, splits.validation, splits.test


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.unlink(), "has 1 recordings of 3 by anna, not 2"),
        (lambda file: file.write_bytes(b""), "3_anna_1.wav: is not a complete wav file: it ends too early"),
        (lambda file: file.write_bytes(b"<html>" * 10), "3_anna_1.wav: is not a complete wav file"),
        (lambda file: file.write_bytes(file.read_bytes()[:-11]), "3_anna_1.wav: has .* bytes of sound"),
        (lambda file: wav(file, np.zeros(0)), "3_anna_1.wav: has no sound"),
        (
            lambda file: wav(file, np.ones(900), rate=4000),
            "3_anna_1.wav: has 4000 samples a second; at least 8000",
        ),
        (lambda file: file.rename(file.with_name("three_anna.wav")), "three_anna.wav: is not named DIGIT_"),
        (lambda file: file.rename(file.with_name("3_eve_1.wav")), "has recordings of 6 speakers, not 5"),
    ],
)
def test_what_is_wrong_is_named(change, message, small: tuple[Recordings, Path], tmp_path: Path) -> None:
    data, folder = small
    change(next(folder.rglob("3_anna_1.wav")))
    with pytest.raises(DataError, match=message):
        data.fetch(tmp_path / "data", folder)
    assert not data.path(tmp_path / "data").exists()


def test_whoever_names_the_inner_folder_is_told_the_one_above(
    small: tuple[Recordings, Path], tmp_path: Path
) -> None:
    data, folder = small
    inner = folder / data.folder
    told = f"{inner}: holds only the recordings; name the folder above it, {folder.resolve()}"
    with pytest.raises(DataError, match=re.escape(told)):
        data.fetch(tmp_path / "data", inner)
    data.fetch(tmp_path / "data", folder)
    (empty := tmp_path / "elsewhere" / data.folder).mkdir(parents=True)
    with pytest.raises(DataError, match=f"{empty}: holds no {data.folder}$"):
        data.fetch(tmp_path / "data", empty)


def test_wavs_of_every_width_and_in_stereo(tmp_path: Path) -> None:
    wave_form = np.array([0, 0.5, -0.5, -1.0])
    for width, scale in ((1, 128), (2, 2**15), (4, 2**31)):
        wav(tmp_path / "x.wav", wave_form * scale + (128 if width == 1 else 0), 16000, width)
        samples, rate = read_wav(tmp_path / "x.wav")
        np.testing.assert_array_equal(samples, wave_form)
        assert rate == 16000
    wav(tmp_path / "x.wav", np.array([0, 2**14, 0, -(2**15)]), channels=2)
    assert read_wav(tmp_path / "x.wav")[0].tolist() == [0.25, -0.5]


def header(
    *, channels: int = 1, rate: int = 8000, bits: int = 16, size: int, whole: int | None = None, kind: int = 1
) -> bytes:
    """Return the start of a wav file up to its `size` bytes of sound: plain or extensible."""
    words = struct.pack("<HHIIHH", kind, channels, rate, 0, channels * bits // 8, bits)
    if kind == 0xFFFE:
        words += struct.pack("<HHI", 22, bits, 0) + bytes.fromhex("0100000000001000800000aa00389b71")
    body = (
        b"WAVEfmt "
        + struct.pack("<I", len(words))
        + words
        + b"LIST\3\0\0\0abc\0data"
        + struct.pack("<I", size)
    )
    return b"RIFF" + struct.pack("<I", len(body) + size if whole is None else whole) + body


SOUND = struct.pack("<4h", 0, 2**14, -(2**14), -(2**15))


@pytest.mark.parametrize(
    ("start", "after"),
    [
        (header(size=8), b""),
        (header(size=8), b"LIST\4\0\0\0abcd"),
        (header(size=8, kind=0xFFFE), b""),  # many programs write so more than two channels, or 24 bits in 32
        (header(size=0, whole=0), b""),  # a stream, whose sizes were never written
        (header(size=0, whole=36), b""),
        (header(size=2**32 - 1, whole=2**32 - 1), b""),  # as ffmpeg writes
        (header(size=0x7FFFF000, whole=0x7FFFF024), b"\1"),  # as sox writes, cut within a sample
    ],
)
def test_extensible_wavs_and_streams_are_read(start: bytes, after: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(start + SOUND + after)
    samples, rate = read_wav(tmp_path / "x.wav")
    assert samples.tolist() == [0, 0.5, -0.5, -1]
    assert rate == 8000


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (header(size=8, rate=1_073_741_823) + SOUND, "has 1073741823 samples a second; at most 384000"),
        (header(size=8, channels=0) + SOUND, "0 channels of 16 bits"),
        (header(size=8, kind=3) + SOUND, "unknown format 3"),
        (header(size=0)[:-8], "it ends before its sound"),
        (header(size=0), "has no sound"),
        (header(size=2**31), "has no sound"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0", "is not a complete wav file"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "its sound comes before its format"),
        (header(size=2 * 8000 * 61) + bytes(2 * 8000 * 61), "lasts 61 s; at most 60 s"),
    ],
)
def test_what_a_wav_says_of_itself_is_checked_first(contents: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(contents)
    with pytest.raises(DataError, match=rf"x\.wav: .*{message}"):
        read_wav(tmp_path / "x.wav")


def test_24_bits_and_other_formats_are_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "x.wav"), "wb") as sound:
        sound.setparams((1, 3, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(6))
    with pytest.raises(DataError, match=r"x\.wav: has 24 bits a sample"):
        read_wav(tmp_path / "x.wav")
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 40, b"WAVE", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32, b"data", 4
    )
    (tmp_path / "y.wav").write_bytes(header + bytes(4))
    with pytest.raises(DataError, match=r"y\.wav: is not a complete wav file: unknown format"):
        read_wav(tmp_path / "y.wav")


@pytest.mark.parametrize("rate", [8000, 48000])
def test_log_mel_is_what_its_definition_gives(rate: int) -> None:
    """Compare with explicit sums for the window, the transform and the triangles, per frequency and band."""
    samples = np.random.default_rng(0).uniform(-1, 1, round(0.04 * rate))
    ours = log_mel(samples, rate, 3)
    window = rate // 40
    size = 256 if rate == 8000 else 2048
    assert ours.shape == (1 + (len(samples) - window) // (rate // 100), 3)
    edges = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 4000 / 700), 5)
    edges = [700 * (10 ** (edge / 2595) - 1) for edge in edges]
    n = np.arange(window)
    for frame in range(len(ours)):
        piece = samples[frame * rate // 100 :][:window] * (0.5 - 0.5 * np.cos(2 * np.pi * n / (window - 1)))
        for band in range(3):
            low, middle, high = edges[band : band + 3]
            total = 0.0
            for k in range(size // 2 + 1):
                f = k * rate / size
                if low < f < high:
                    weight = (f - low) / (middle - low) if f < middle else (high - f) / (high - middle)
                    energy = abs((piece * np.exp(-2j * np.pi * k * n / size)).sum()) ** 2 / window
                    total += weight * 2 / (high - low) * energy
            np.testing.assert_allclose(ours[frame, band], np.log(total + FLOOR), rtol=1e-5)


def test_a_tone_is_loudest_in_its_own_band_at_any_rate() -> None:
    for rate, size in ((8000, 256), (48000, 2048)):  # samples in a 25 ms window
        weights = triangles(size, rate, 40)
        assert (weights.sum(1) > 0).all()
        centres = weights @ (np.arange(size // 2 + 1) * rate / size) / weights.sum(1)
        for hertz in (500, 1500, 3000):
            frames = log_mel(np.sin(2 * np.pi * hertz * np.arange(rate // 5) / rate), rate, 40)
            assert abs(centres[frames.mean(0).argmax()] - hertz) < 0.1 * hertz


def test_silence_and_sounds_shorter_than_a_frame_are_finite() -> None:
    assert np.allclose(log_mel(np.zeros(400), 8000, 40), np.log(FLOOR))
    assert log_mel(np.ones(1), 8000, 40).shape == (1, 40)


def test_silence_and_a_click_leave_every_input_finite(small: tuple[Recordings, Path], tmp_path: Path) -> None:
    data, folder = small
    rate = 8000 if data.name == "fsdd" else 48000
    wav(next(folder.rglob("3_anna_1.wav")), np.zeros(1760), rate)
    wav(next(folder.rglob("4_bo_0.wav")), np.array([9000, -9000] * 9), rate)
    with pytest.warns(UserWarning, match=r"1 of 100 recordings are silent: 3_anna_1\.wav$"):
        data.fetch(tmp_path / "data", folder)
    for seed in range(5):
        parts = all_of(data.load(tmp_path / "data", seed))
        assert all(part.inputs.isfinite().all() for part in parts)
        assert max(float(part.inputs.abs().max()) for part in parts) < 20  # rounding errors are not amplified


@pytest.mark.parametrize("small", ["fsdd"], indirect=True)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.nan,
            r"log-mel\.npz: damaged \(features holds numbers that are not finite\); delete it and run: tunebench",
        ),
        (3e38, r"log-mel\.npz: has samples with numbers that are not finite"),  # once they are standardised
    ],
)
def test_numbers_that_are_not_finite_reach_no_network(
    value, message, small, tmp_path: Path, monkeypatch
) -> None:
    data, folder = small
    file = data.fetch(tmp_path / "data", folder)
    monkeypatch.setitem(
        DATASETS, "fsdd", dataclasses.replace(DATASETS["fsdd"], load=data.load, fetch=data.fetch)
    )
    DATASETS["fsdd"].check_data(tmp_path / "data")
    features, *rest = (array.numpy() for array in read_tensors(file, audio.ARRAYS, ""))
    features = features.copy()
    features[17] = value
    write_arrays(file, dict(zip(audio.ARRAYS, (features, *rest), strict=True)))
    read_tensors.cache_clear()
    refusing = [lambda: DATASETS["fsdd"].check_data(tmp_path / "data"), lambda: train_on(tmp_path / "data")]
    if np.isnan(value):
        refusing.append(lambda: data.fetch(tmp_path / "data"))
    for refused in refusing:
        with pytest.raises(DataError, match=message):
            refused()


def train_on(data_dir: Path) -> None:
    values = {"alpha": 1e-2, "gamma": 0.1}
    spec = TrainingSpec(task=TASKS["fsdd"], method="gradient-filter", hyperparameters=values)
    next(train(spec, Machine(data_dir=data_dir)))


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    read_tensors.cache_clear()


def test_resample_by_hand() -> None:
    x = np.array([[0, 0], [4, 40], [5, 50], [1, 1], [2, 2], [3, 3], [4, 4], [9, 9]], np.float32)
    result = resample(x, np.array([3, 4, 1]), 5)
    np.testing.assert_allclose(result[0], [[0, 0], [2, 20], [4, 40], [4.5, 45], [5, 50]])
    np.testing.assert_allclose(result[1, :, 0], [1, 1.75, 2.5, 3.25, 4])
    np.testing.assert_allclose(result[2, :, 0], [9] * 5)


def test_resample_is_numpys_interpolation(spoken_digits: Path) -> None:
    with np.load(spoken_digits / "spoken-digits" / "digits.npz") as arrays:
        x, lengths = arrays["X"], arrays["lengths"]
    result = resample(x, lengths, 10)
    starts = np.cumsum(lengths) - lengths
    for i in range(0, 3000, 271):
        frames = x[starts[i] : starts[i] + lengths[i]]
        at = np.linspace(0, lengths[i] - 1, 10)
        for feature in range(13):
            expected = np.interp(at, np.arange(lengths[i]), frames[:, feature])
            np.testing.assert_allclose(result[i, :, feature], expected, rtol=1e-4, atol=1e-3)
