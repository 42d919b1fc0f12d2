"""The tasks, as data: a new one is an entry here."""

import math
from dataclasses import replace
from typing import Literal

from trainers.tasks.task import FirstStep, Recipe, Task


def _of_recordings(name: str, summary: str) -> Task:
    """Return a task for spoken-digits' network, with a first layer as wide as the others, on unheard speakers."""
    return Task(
        name=name,
        summary=f"{summary}, no speaker in two splits; four fully connected layers, three of them binary",
        dataset=name,
        model="audio-mlp",
        model_options={"width": 256},
        recipe=Recipe(
            epochs=20, batch_size=100, learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decay="cosine"
        ),
    )


WORST_PSNR = -10 * math.log10(4)  # for outputs and images from -1 to 1 and a peak of 1
SIDES = {"mnist": 28, "cifar10": 32, "cifar100": 32, "imagenet": 224}


def _of_images(
    name: str,
    summary: str,
    model: str,
    recipe: Recipe,
    *,
    width: int,
    metric: Literal["accuracy", "PSNR"] = "accuracy",
    **options: str | bool,
) -> Task:
    """Return a task on the data set that its name begins with. ImageNet, with its many classes, counts top-5."""
    dataset = name.split("-")[0]
    return Task(
        name=name,
        summary=summary,
        dataset=dataset,
        model=model,
        model_options={"width": width, **options},
        recipe=recipe,
        metric=metric,
        worst=WORST_PSNR if metric == "PSNR" else 0.0,
        image_size=SIDES[dataset],
        top5=dataset == "imagenet",
    )


# Nayak 2020, with its authors' code: docs/decisions/0011
HINGE_MNIST = Recipe(
    epochs=500,
    batch_size=100,
    optimizer="adam",
    learning_rate=3e-3,
    decay="exponential",
    decay_end=1e-4,
    loss="squared-hinge",
)
HINGE_CIFAR = replace(HINGE_MNIST, epochs=100, batch_size=50, learning_rate=1e-3, decay_end=3e-4)
BVGG = Recipe(
    epochs=250,
    batch_size=64,
    optimizer="adam",
    learning_rate=1e-2,  # as with Bop, for all real-valued parameters
    decay="none",
    augmentation="crop-and-flip",
)
DENOISING = replace(BVGG, epochs=100, augmentation="none", loss="mean-squared-error", noise=0.1)
REAL_DENOISING = replace(DENOISING, learning_rate=1e-3, betas=(0.99, 0.999))

# Quist 2023, section 4.1
BIREALNET = Recipe(
    epochs=400,
    batch_size=256,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    decay="cosine",
    pixels="standardised",
    augmentation="crop-and-flip",
)

# Paren & Poudel 2021, section 5.1
RESNET = Recipe(
    epochs=1000,
    batch_size=128,
    optimizer="adam",
    learning_rate=1e-2,
    decay="linear",
    pixels="standardised",
    augmentation="crop-and-flip",
)

# the same section, by its code: Adam at 1e-2 in the first step too, and a teacher trained by SGD at 1.0 with step decay
REACTNET20 = replace(RESNET, first_step=FirstStep(epochs=200, learning_rate=1e-2))
PREACTIVATION = replace(BIREALNET, epochs=200, batch_size=128, learning_rate=1.0, nesterov=True, decay="step")

# teachers of our ResNet-20 and the ReActNet-A of Quist 2023: He et al. 2016, with cosine instead of step decay
RESNET_TEACHER = replace(BIREALNET, epochs=180, batch_size=128)
IMAGENET_TEACHER = replace(BIREALNET, epochs=90, augmentation="flip-and-colours")

# Quist 2023, section 4.1: 600,000 steps on the images that are not held out for validation
REACTNET = Recipe(
    epochs=249,
    batch_size=510,
    optimizer="adam",
    learning_rate=2.5e-3,
    decay="linear",
    loss="distribution",
    pixels="standardised",
    augmentation="flip-and-colours",
    teacher="imagenet-resnet34",
)

CIFARS = (("cifar10", 10), ("cifar100", 100))

# the PyTorch code of Liu et al. 2018, from labels alone
BIREALNET18 = replace(
    REACTNET, epochs=256, batch_size=512, learning_rate=1e-3, loss="smoothed-cross-entropy", teacher=None
)

_TASKS = (
    Task(
        name="spoken-digits",
        summary="ten spoken digits from MFCC frames, four fully connected layers, three of them binary",
        dataset="spoken-digits",
        model="audio-mlp",
        model_options={"width": 128, "first": 56},
        recipe=Recipe(
            epochs=16, batch_size=50, learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decay="cosine"
        ),
    ),
    _of_recordings("fsdd", "ten spoken digits from log-mel features of FSDD's 3,000 wav files"),
    _of_recordings("audiomnist", "ten spoken digits from AudioMNIST's 30,000 wav files (Becker et al. 2018)"),
    _of_images(
        "mnist-fullycon",
        "handwritten digits, three dense layers of 4,096 units and an output layer",
        "fullycon",
        HINGE_MNIST,
        width=4096,
    ),
    _of_images("mnist-lenet5", "handwritten digits, LeNet-5", "lenet5", HINGE_MNIST, width=20),
    _of_images("cifar10-lenet5", "images of 10 classes, LeNet-5", "lenet5", HINGE_CIFAR, width=20),
    _of_images(
        "cifar10-convnet",
        "images of 10 classes, six convolutions and three dense layers",
        "convnet",
        HINGE_CIFAR,
        width=128,
    ),
    _of_images(
        "cifar10-bvgg",
        "images of 10 classes, BVGG with batch normalisation",
        "bvgg",
        BVGG,
        width=128,
        normalisation="batch",
    ),
    _of_images(
        "cifar10-bvgg-layer",
        "images of 10 classes, BVGG with layer normalisation",
        "bvgg",
        BVGG,
        width=128,
        normalisation="layer",
    ),
    _of_images(
        "cifar10-denoise",
        "images with noise to remove, a binary autoencoder",
        "autoencoder",
        DENOISING,
        width=32,
        metric="PSNR",
    ),
    _of_images(
        "cifar10-real-denoise",
        "images with noise to remove, a real-valued autoencoder",
        "autoencoder",
        REAL_DENOISING,
        width=32,
        metric="PSNR",
        binary=False,
    ),
    _of_images(
        "cifar10-birealnet20", "images of 10 classes, Bi-Real-Net-20", "birealnet20", BIREALNET, width=16
    ),
    _of_images(
        "cifar10-resnet20", "images of 10 classes, binary ResNet-20", "binary-resnet20", RESNET, width=16
    ),
    _of_images(
        "cifar100-resnet20", "images of 100 classes, binary ResNet-20", "binary-resnet20", RESNET, width=16
    ),
    _of_images(
        "cifar10-resnet20-distilled",
        "images of 10 classes, binary ResNet-20 that learns from a real-valued one",
        "binary-resnet20",
        replace(RESNET, loss="distribution", teacher="cifar10-real-resnet20"),
        width=16,
    ),
    _of_images(
        "cifar100-resnet20-distilled",
        "images of 100 classes, binary ResNet-20 that learns from a real-valued one",
        "binary-resnet20",
        replace(RESNET, loss="distribution", teacher="cifar100-real-resnet20"),
        width=16,
    ),
    *(
        _of_images(
            f"{dataset}-reactnet20",
            f"images of {classes} classes, ResNet-20 with ReActNet's blocks, in two steps",
            "reactnet20",
            REACTNET20,
            width=16,
        )
        for dataset, classes in CIFARS
    ),
    *(
        _of_images(
            f"{dataset}-reactnet20-distilled",
            f"images of {classes} classes, the same network as before, learning from a real-valued one",
            "reactnet20",
            replace(REACTNET20, loss="distribution", teacher=f"{dataset}-real-preactivation20"),
            width=16,
        )
        for dataset, classes in CIFARS
    ),
    _of_images(
        "imagenet-reactnet-a",
        "large images of any number of classes, ReActNet-A that learns from ResNet-34",
        "reactnet-a",
        REACTNET,
        width=32,
    ),
    _of_images(
        "imagenet-birealnet18",
        "large images of any number of classes, Bi-Real-Net-18 that learns from ResNet-34",
        "birealnet18",
        REACTNET,
        width=64,
    ),
    _of_images(
        "imagenet-reactnet-a-undistilled",
        "large images of any number of classes, ReActNet-A that learns from labels",
        "reactnet-a",
        replace(REACTNET, loss="cross-entropy", teacher=None),
        width=32,
    ),
    _of_images(
        "imagenet-birealnet18-undistilled",
        "large images of any number of classes, Bi-Real-Net-18 that learns from labels, by its own recipe",
        "birealnet18",
        BIREALNET18,
        width=64,
    ),
)

# without binary weights, to compare others with and to learn from: Paren & Poudel 2021, Table 1, first row
_BOTH = tuple(
    _of_images(
        f"{dataset}-real-preactivation20",
        f"images of {classes} classes, real-valued ResNet-20 with normalisation before each convolution",
        "preactivation-resnet20",
        PREACTIVATION,
        width=16,
    )
    for dataset, classes in CIFARS
)
TASKS: dict[str, Task] = {task.name: task for task in (*_TASKS, *_BOTH)}
# those without binary weights, to compare others with
REAL_TASKS = tuple(
    name for name, task in TASKS.items() if task in _BOTH or task.model_options.get("binary") is False
)

# Networks without binary weights, for tasks to learn from. They are trained without a method.
_TEACHERS = (
    _of_images(
        "cifar10-real-resnet20",
        "images of 10 classes, real-valued ResNet-20",
        "resnet20",
        RESNET_TEACHER,
        width=16,
    ),
    _of_images(
        "cifar100-real-resnet20",
        "images of 100 classes, real-valued ResNet-20",
        "resnet20",
        RESNET_TEACHER,
        width=16,
    ),
    _of_images(
        "imagenet-resnet34",
        "large images of any number of classes, real-valued ResNet-34",
        "resnet34",
        IMAGENET_TEACHER,
        width=64,
    ),
    *_BOTH,
)
TEACHERS: dict[str, Task] = {task.name: task for task in _TEACHERS}
