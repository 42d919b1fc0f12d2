"""Time how fast large images are read: `python tests/benchmarks/decoding.py [--rounds N] [--device NAME]`.

Pillow in processes and DALI in as many threads take turns at an epoch of random 224 x 224 crops of made-up JPEGs, which
have the size of ImageNet's. Prints the median images a second of each. It needs `pip install tunebench[dali]`.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainers.data.image_folder import ImageFiles
from trainers.devices import find, wait
from trainers.feeding.decoders import Decoder
from trainers.feeding.loader import Reading, training_batches

BATCH = 64
DECODERS: tuple[Decoder, ...] = ("pillow", "dali")


def pictures(folder: Path, count: int) -> ImageFiles:
    """Write smooth pictures with noise, 500 x 375 or upright."""
    draws = np.random.default_rng(0)
    names = []
    for i in range(count):
        width, height = (500, 375) if i % 3 else (375, 500)
        coarse = Image.fromarray(draws.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        noisy = (smooth + draws.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.JPEG", quality=90)
        names.append(f"{i}.JPEG".encode())
    return ImageFiles(folder, np.array(names), np.zeros(count, dtype=np.int64))


def images_a_second(
    files: ImageFiles, decoder: Decoder, workers: int, place: torch.device, epoch: int
) -> float:
    reading = Reading(workers=workers, device=place, decoder=decoder)
    options = {"batch_size": BATCH, "image_size": 224, "seed": 0, "epoch": epoch}
    batches = training_batches(files, reading=reading, **options)
    begun = time.perf_counter()
    count = sum(len(images.to(place, non_blocking=True)) for images, _ in batches)
    wait(place)
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = find(options.device)

    speeds: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = pictures(Path(folder), options.images)
        size = statistics.mean(file.stat().st_size for file in Path(folder).iterdir())
        for round in range(options.rounds + 1):
            for workers in options.workers:
                for decoder in DECODERS:
                    speed = images_a_second(files, decoder, workers, place, round)
                    speeds.setdefault((decoder, workers), []).append(speed)
    median = {key: statistics.median(values[1:]) for key, values in speeds.items()}  # the first warms up
    print(f"{options.images} JPEGs of {size / 1000:.0f} kB, batches of {BATCH} for {place}")
    for workers in options.workers:
        pillow, dali = (median[decoder, workers] for decoder in DECODERS)
        print(
            f"  workers {workers}: Pillow {pillow:5.0f} images a second, DALI {dali:5.0f}, {dali / pillow:.2f} x"
        )
