"""Architectures, one file each: a function (input shape, classes, options) -> module, and an entry here."""

from collections.abc import Callable

from torch import nn

from trainers.models.audio_mlp import audio_mlp
from trainers.models.autoencoder import autoencoder
from trainers.models.birealnet import birealnet18, birealnet20
from trainers.models.bvgg import bvgg
from trainers.models.convnet import convnet
from trainers.models.fullycon import fullycon
from trainers.models.lenet5 import lenet5
from trainers.models.reactnet import reactnet_a
from trainers.models.reactnet20 import preactivation_resnet20, reactnet20
from trainers.models.resnet20 import binary_resnet20, resnet20
from trainers.models.resnet34 import ResNet34

MODELS: dict[str, Callable[..., nn.Module]] = {
    "audio-mlp": audio_mlp,
    "fullycon": fullycon,
    "lenet5": lenet5,
    "convnet": convnet,
    "bvgg": bvgg,
    "autoencoder": autoencoder,
    "birealnet20": birealnet20,
    "birealnet18": birealnet18,
    "binary-resnet20": binary_resnet20,
    "resnet20": resnet20,
    "reactnet20": reactnet20,
    "preactivation-resnet20": preactivation_resnet20,
    "reactnet-a": reactnet_a,
    "resnet34": ResNet34,
}
