"""Log-mel features: a sound's energy over time, in bands as wide as the ear hears them."""

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010
LOW_HZ, HIGH_HZ = 60.0, 4000.0  # what a recording at 8 kHz can hold
FLOOR = 1e-8  # of energy, 80 dB below a full-scale sine


def log_mel(samples: NDArray[np.float64], rate: int, bands: int) -> NDArray[np.float32]:
    """Return natural logarithms of band energies (frames, bands) of samples (n,) in [-1, 1], `rate` of them a second.

    Frames have 25 ms every 10 ms, under a Hann window; a sound shorter than one frame is padded with silence. The bands
    are triangles, equally wide in mel (2595 log10(1 + f/700)), each of area 1.
    """
    window = round(WINDOW_SECONDS * rate)
    hop = round(HOP_SECONDS * rate)
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    size = 1 << (window - 1).bit_length()
    spectra = np.fft.rfft(frames * np.hanning(window), n=size)
    energies = (spectra.real**2 + spectra.imag**2) / window
    return np.log(energies @ triangles(size, rate, bands).T + FLOOR).astype(np.float32)


def triangles(size: int, rate: int, bands: int) -> NDArray[np.float64]:
    """Return the weights (bands, size // 2 + 1) in each band of the frequencies of a transform of `size` samples."""
    low, high = 2595 * np.log10(1 + np.array([LOW_HZ, HIGH_HZ]) / 700)
    mel = np.linspace(low, high, bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = np.arange(size // 2 + 1) * rate / size
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    heights: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    return heights
