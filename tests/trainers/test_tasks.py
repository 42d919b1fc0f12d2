"""Tasks and the proxies that scale them down."""

from dataclasses import replace

import pytest
import torch

from trainers.data import DATASETS, Samples, Splits
from trainers.data.splits import channel_statistics, scaled_down
from trainers.feeding.network_inputs import pixels, prepare
from trainers.models import MODELS
from trainers.tasks import LEAST, TASKS, TEACHERS, FirstStep, Least, Proxy, Recipe, Task


@pytest.mark.parametrize("name", TASKS)
def test_a_task_names_what_there_is(name: str) -> None:
    task = TASKS[name]
    assert task.name == name
    assert task.dataset in DATASETS
    assert task.model in MODELS
    assert type(task.model_options["width"]) is int


def test_recipes_are_the_papers() -> None:
    lenet, mnist = TASKS["cifar10-lenet5"].recipe, TASKS["mnist-lenet5"].recipe
    assert mnist.learning_rate * mnist.decay_end == pytest.approx(3e-7)
    assert lenet.learning_rate * lenet.decay_end == pytest.approx(3e-7)
    assert (mnist.epochs, mnist.batch_size, lenet.epochs, lenet.batch_size) == (500, 100, 100, 50)
    birealnet = TASKS["cifar10-birealnet20"].recipe
    assert (birealnet.epochs, birealnet.batch_size, birealnet.decay) == (400, 256, "cosine")
    assert (birealnet.learning_rate, birealnet.momentum, birealnet.weight_decay) == (0.1, 0.9, 1e-4)
    resnet = TASKS["cifar100-resnet20"].recipe
    assert (resnet.epochs, resnet.batch_size, resnet.learning_rate, resnet.decay) == (
        1000,
        128,
        0.01,
        "linear",
    )
    for name in ("cifar10-reactnet20", "cifar100-reactnet20-distilled"):
        recipe = TASKS[name].recipe
        assert recipe.first_step == FirstStep(epochs=200, learning_rate=1e-2)
        assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.decay) == (
            1000,
            128,
            1e-2,
            "linear",
        )
    teacher = TEACHERS["cifar100-real-preactivation20"].recipe
    assert (teacher.epochs, teacher.learning_rate, teacher.nesterov, teacher.decay) == (
        200,
        1.0,
        True,
        "step",
    )
    own = TASKS["imagenet-birealnet18-undistilled"].recipe
    assert (own.epochs, own.batch_size, own.learning_rate, own.decay) == (256, 512, 1e-3, "linear")
    assert (own.loss, own.teacher, own.weight_decay) == ("smoothed-cross-entropy", None, 0.0)
    undistilled = replace(TASKS["imagenet-reactnet-a"].recipe, loss="cross-entropy", teacher=None)
    assert TASKS["imagenet-reactnet-a-undistilled"].recipe == undistilled
    for name in ("imagenet-reactnet-a", "imagenet-birealnet18"):
        task, recipe = TASKS[name], TASKS[name].recipe
        assert (recipe.optimizer, recipe.learning_rate, recipe.decay) == ("adam", 2.5e-3, "linear")
        assert (recipe.batch_size, recipe.weight_decay, recipe.loss) == (510, 0.0, "distribution")
        trained_on = 1_281_167 - 1000 * 52  # 4 % of a class with 1,300 images, as nearly all have
        assert recipe.epochs * (trained_on // recipe.batch_size) == pytest.approx(600_000, rel=1e-3)
        assert (task.image_size, task.top5) == (224, True)


def test_a_proxy_changes_what_it_names() -> None:
    task = TASKS["cifar10-bvgg-layer"]
    assert Proxy().of(task) == task
    assert Proxy().changes == {}
    proxy = Proxy(epochs=3, train_fraction=0.1, width=8, image_size=16)
    assert proxy.changes == {"epochs": 3, "train_fraction": 0.1, "width": 8, "image_size": 16}
    small = proxy.of(task)
    assert (small.recipe.epochs, small.image_size) == (3, 16)
    assert small.model_options == {"width": 8, "normalisation": "layer"}
    assert replace(small.recipe, epochs=task.recipe.epochs) == task.recipe
    assert TASKS["cifar10-bvgg-layer"].model_options["width"] == 128
    assert proxy.label(task.name) == (
        "proxy of cifar10-bvgg-layer: 3 epochs, 10% of the training samples, width 8, images of 16 x 16"
    )


def test_a_recipe_takes_its_own_optimizers_hyperparameters() -> None:
    sgd, adam = TASKS["cifar10-birealnet20"].recipe, TASKS["cifar10-bvgg"].recipe
    own = {"real_learning_rate": 0.1, "real_weight_decay": 1e-4, "real_momentum": 0.9, "real_decay": "cosine"}
    assert sgd.real == own
    assert adam.real.keys() - own.keys() == {"real_beta1", "real_beta2"}
    assert sgd.own == own | {"batch_size": 256}
    for recipe in (sgd, adam):
        assert recipe.tuned({"alpha": 0.1}) == recipe == recipe.tuned(recipe.real)
    assert sgd.tuned({"real_learning_rate": 1, "real_momentum": 0.5}) == replace(
        sgd, learning_rate=1.0, momentum=0.5
    )
    assert adam.tuned({"real_beta2": 0.9, "real_weight_decay": 0.0, "gamma": 0.1}) == replace(
        adam, betas=(0.9, 0.9), weight_decay=0.0
    )


def test_what_is_the_tasks_own_makes_no_proxy() -> None:
    task = TASKS["mnist-lenet5"]
    own = Proxy(epochs=500, train_fraction=1.0, width=20, image_size=28)
    assert own.without_defaults(task) == Proxy()
    assert Proxy().label(task.name) == "mnist-lenet5"
    assert Proxy(first_step=5).label(task.name) == "mnist-lenet5: 5 epochs with real weights before"
    assert (
        Proxy(first_step=5, epochs=1).label(task.name).startswith("proxy of mnist-lenet5: 1 epoch, 5 epochs")
    )
    assert Proxy(width=20, epochs=2).without_defaults(task) == Proxy(epochs=2)
    same = Proxy(batch_size=100, first_step=3, first_step_learning_rate=1e-3, first_step_decay="exponential")
    assert same.without_defaults(task) == Proxy(first_step=3)
    assert Proxy(first_step=3, first_step_optimizer="adam").without_defaults(task) == Proxy(first_step=3)
    other = Proxy(first_step=3, first_step_optimizer="sgd", first_step_real_learning_rate=3e-3)
    assert (
        other.without_defaults(task) == other
    )  # 3e-3 is the recipe's, which a study's real_learning_rate changes
    assert other.label(task.name) == (
        "mnist-lenet5: 3 epochs with real weights before, those weights by sgd before, all else at the rate 0.003 "
        "before"
    )
    assert Proxy(precision="float32").without_defaults(task) == Proxy()
    assert Proxy(precision="float64").label(task.name) == "mnist-lenet5: in float64"
    assert Proxy(precision="float64").of(task).recipe == replace(task.recipe, precision="float64")


def test_a_recipe_is_lengthened_and_its_first_step_is_free() -> None:
    task = TASKS["imagenet-reactnet-a"]
    proxy = Proxy(
        epochs=500, batch_size=220, first_step=128, first_step_learning_rate=1.25e-3, validation="none"
    )
    recipe = proxy.of(task).recipe
    assert (recipe.epochs, recipe.batch_size) == (500, 220)
    assert recipe.first_step == FirstStep(epochs=128, learning_rate=1.25e-3)
    assert proxy.label(task.name) == (
        "imagenet-reactnet-a: 500 epochs, 128 epochs with real weights before, batches of 220, those weights' rate "
        "0.00125, all training images, scored on test alone"
    )
    assert (
        Proxy(epochs=500, first_step=0)
        .label(task.name)
        .startswith("proxy of imagenet-reactnet-a: 500 epochs")
    )
    assert repr(Proxy(epochs=2)) == (
        "Proxy(epochs=2, train_fraction=None, width=None, image_size=None, first_step=None)"
    )
    assert repr(Proxy(batch_size=2)).endswith("first_step=None, batch_size=2)")


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("mnist-lenet5", {"epochs": 0}, r"epochs must be in \[1, 10000\], got 0"),
        ("mnist-lenet5", {"epochs": 1.5}, r"epochs must be in \[1, 10000\], got 1.5"),
        ("mnist-lenet5", {"batch_size": 1}, r"batch_size must be in \[2, 65536\], got 1"),
        ("mnist-lenet5", {"validation": 0.1}, "validation must be none, got 0.1"),
        (
            "fsdd",
            {"validation": "none"},
            "fsdd has no published test samples: leave out validation, got 'none'",
        ),
        (
            "mnist-lenet5",
            {"first_step": 1, "first_step_decay": "steep"},
            "first_step_decay must be in {none, linear",
        ),
        (
            "mnist-lenet5",
            {"first_step_decay": "none"},
            "first_step_decay needs a first step: set first_step to",
        ),
        (
            "mnist-lenet5",
            {"first_step": 1, "first_step_optimizer": "bop"},
            "first_step_optimizer must be one of adam, sgd, got 'bop'",
        ),
        (
            "mnist-lenet5",
            {"first_step": 1, "first_step_real_learning_rate": 0},
            r"first_step_real_learning_rate must be in \(0, inf\), got 0",
        ),
        (
            "mnist-lenet5",
            {"first_step_learning_rate": 0},
            r"first_step_learning_rate must be in \(0, inf\), got 0",
        ),
        ("mnist-lenet5", {"without": "scale"}, "mnist-lenet5's network has no scale to leave out"),
        (
            "cifar10-reactnet20",
            {"without": "bn"},
            "must be one of offsets, polynomial, real-ends, real-shortcuts, rprelu, rsign, scale, "
            "scale-and-polynomial, slopes, none, got 'bn'",
        ),
        ("mnist-lenet5", {"precision": 64}, "precision must be one of float32, float64, got 64"),
        ("mnist-lenet5", {"width": True}, "width must be at least 1, got True"),
        ("mnist-lenet5", {"width": 21}, "width must be at most mnist-lenet5's own, 20, got 21"),
        ("mnist-lenet5", {"image_size": 29}, "image_size must be at most mnist-lenet5's own, 28, got 29"),
        ("mnist-lenet5", {"train_fraction": "all"}, r"train_fraction must be in \(0, 1\], got 'all'"),
        ("mnist-lenet5", {"train_fraction": 0.0}, r"train_fraction must be in \(0, 1\], got 0.0"),
        ("mnist-lenet5", {"train_fraction": float("nan")}, r"train_fraction must be in \(0, 1\], got nan"),
        ("spoken-digits", {"image_size": 8}, "spoken-digits has no images: leave out image_size, got 8"),
        (
            "mnist-lenet5",
            {"image_size": 3},
            "image_size must be at least 4 for mnist-lenet5's network, got 3",
        ),
        (
            "cifar10-bvgg",
            {"image_size": 9},
            "image_size must be at least 10 for cifar10-bvgg's network, got 9",
        ),
        ("cifar10-denoise", {"width": 3}, "width must be at least 4 for cifar10-denoise's network, got 3"),
        (
            "cifar10-denoise",
            {"image_size": 12},
            "image_size must be a multiple of 8 for cifar10-denoise's network, got 12",
        ),
    ],
)
def test_a_bad_proxy_is_refused(task: str, changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Proxy(**changes).of(TASKS[task])


def works(task: Task, width: int, image_size: int | None) -> bool:
    """Return whether the task's network can be built and run so, on the meta device, which computes nothing."""
    shape = (1 if task.dataset == "mnist" else 3, image_size, image_size) if image_size else (20, 13)
    try:
        with torch.device("meta"):
            model = MODELS[task.model](shape, 10, **{**task.model_options, "width": width})
            model(torch.empty(2, *shape))
    except (ValueError, IndexError):
        return False
    return True


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", TASKS)
def test_the_least_width_and_images_are_those_that_the_network_needs(name: str) -> None:
    task = TASKS[name]
    least = LEAST.get(task.model, Least())
    side = task.image_size and least.image_size
    assert works(task, least.width, side)
    assert least.width == 1 or not works(task, least.width - 1, side)
    if side:
        assert side == 1 or not works(task, least.width, side - 1)
        for image_size in range(side, 2 * side + 4):
            assert works(task, least.width, image_size) == (image_size % least.multiple == 0)


def splits() -> Splits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (120, 3, 8, 8), generator=generator, dtype=torch.uint8)
    parts = [Samples(part, torch.arange(40) % 4) for part in images.split(40)]
    mean, std = channel_statistics(parts[0].inputs)
    return Splits(*parts, classes=4, mean=mean, std=std)


def test_a_share_of_every_class_is_left_to_train_on() -> None:
    whole = splits()
    small = scaled_down(whole, 0.3, None, 0)
    assert small.train.targets.bincount().tolist() == [3] * 4
    own = {image.numpy().tobytes() for image in whole.train.inputs}
    assert {image.numpy().tobytes() for image in small.train.inputs} < own
    assert torch.equal(small.validation.inputs, whole.validation.inputs)
    assert torch.equal(scaled_down(whole, 0.3, None, 0).train.inputs, small.train.inputs)
    assert not torch.equal(scaled_down(whole, 0.3, None, 1).train.inputs, small.train.inputs)
    assert small.mean is not None
    assert torch.allclose(small.mean, small.train.inputs.float().mean((0, 2, 3)))
    with pytest.raises(ValueError, match=r"train_fraction 0\.01 leaves classes without"):
        scaled_down(whole, 0.01, None, 0)


def test_smaller_images_are_means_of_areas() -> None:
    whole = splits()
    small = scaled_down(whole, None, 4, 0)
    for name in ("train", "validation", "test"):
        part, own = getattr(small, name), getattr(whole, name)
        blocks = own.inputs.float().view(40, 3, 4, 2, 4, 2).mean((3, 5))
        assert part.inputs.dtype == torch.uint8
        assert torch.equal(part.inputs, blocks.round().to(torch.uint8))
    assert small.std is not None
    assert torch.allclose(small.std, small.train.inputs.float().std((0, 2, 3), correction=0), rtol=1e-4)
    floats = replace(whole, train=Samples(whole.train.inputs.float(), whole.train.targets))
    with pytest.raises(ValueError, match="no images to scale down"):
        scaled_down(floats, None, 4, 0)


def recipe(**values: object) -> Recipe:
    return replace(Recipe(epochs=1, batch_size=1, learning_rate=1.0, decay="none"), **values)


def test_bytes_go_from_minus_one_to_one_or_are_standardised() -> None:
    data = splits()
    generator = torch.Generator()
    ends = Samples(
        torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8), torch.zeros(2)
    )
    symmetric = recipe()
    scale = pixels(symmetric, data.mean, data.std, torch.device("cpu"))
    out = prepare(ends, symmetric, scale, generator, training=True).inputs
    assert torch.allclose(out, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8))
    standardised = recipe(pixels="standardised")
    scale = pixels(standardised, data.mean, data.std, torch.device("cpu"))
    out = prepare(data.train, standardised, scale, generator, training=True).inputs
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(out.std((0, 2, 3)), torch.ones(3), atol=1e-3)
    assert pixels(symmetric, None, None, torch.device("cpu")) is None


def test_images_are_flipped_and_coloured_in_training_alone() -> None:
    data = splits()
    changed = recipe(augmentation="flip-and-colours")
    scale = torch.zeros(3), torch.ones(3)
    generator = torch.Generator().manual_seed(0)
    plain = prepare(data.train, changed, scale, generator, training=False).inputs
    assert torch.equal(plain, data.train.inputs.float())
    shifts = prepare(data.train, changed, scale, generator, training=True).inputs
    same, mirrored = shifts - plain, shifts - plain.flip(3)
    for image in range(40):  # the image or its mirror image, with one shift per channel
        assert min(float(x[image].std((1, 2)).max()) for x in (same, mirrored)) < 1e-4
    assert shifts.is_contiguous(memory_format=torch.channels_last)


def test_noise_is_to_be_taken_out_in_training_and_scoring() -> None:
    data = splits()
    noisy = recipe(noise=0.1)
    scale = pixels(noisy, data.mean, data.std, torch.device("cpu"))
    clean = prepare(data.train, recipe(), scale, torch.Generator(), training=False).inputs
    for training in (True, False):
        generator = torch.Generator().manual_seed(3)
        inputs, targets = prepare(data.train, noisy, scale, generator, training=training)
        assert torch.equal(targets, clean)
        inside = targets.abs() < 0.5
        assert float((inputs - targets)[inside].std()) == pytest.approx(0.1, rel=0.1)
        assert inputs.abs().max() <= 1
