"""Architectures, one file each: a function (input shape, classes, options) -> module, and a line here."""

from collections.abc import Callable

from torch import nn

from trainers.models.audio_mlp import audio_mlp

MODELS: dict[str, Callable[..., nn.Module]] = {
    "audio-mlp": audio_mlp,
}
