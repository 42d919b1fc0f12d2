import copy

import pytest
import torch
from made_up import SMALL
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from trainers.layers.binary import BinaryConv2d, BinaryLinear, binary_parameters, partition
from trainers.models import MODELS, birealnet, reactnet
from trainers.models.reactnet20 import Block as Block20
from trainers.models.residual import Subsampled
from trainers.models.stack import ChannelNorm
from trainers.optimizers import GradientFilter
from trainers.tasks import PARTS

MNIST, CIFAR, IMAGENET = (1, 28, 28), (3, 32, 32), (3, 224, 224)

# model, image, classes, options, all parameters, binary ones. Published: ReActNet-A 29.3 M, ResNet-20 0.27 M
# (He et al. Table 6), ResNet-18 11.69 M (Bi-Real-Net-18 has as many), ResNet-34 21.8 M, BinaryNet 10.35 M
COUNTS = [
    ("audio-mlp", (10, 13), 10, {"width": 64}, 17556, 8832),
    ("audio-mlp", (20, 13), 10, {"width": 128, "first": 56}, 40_036, 128 * (56 + 128 + 10)),
    ("audio-mlp", (10, 13), 10, {"width": 64, "first": 65}, 17556, 8832),
    ("fullycon", MNIST, 10, {}, 36_831_252, 784 * 4096 + 2 * 4096**2 + 40960),
    ("lenet5", MNIST, 10, {}, 1_329_300, 500 + 10_000 + 25_000 + 62_500 + 49 * 50 * 500 + 5000),
    ("lenet5", CIFAR, 10, {}, 1_705_300, 1500 + 10_000 + 25_000 + 62_500 + 64 * 50 * 500 + 5000),
    ("convnet", CIFAR, 10, {}, 14_029_716, 14_022_016),
    ("bvgg", CIFAR, 10, {}, 10_359_700, 10_352_000),
    (
        "bvgg",
        CIFAR,
        10,
        {"normalisation": "layer"},
        10_363_422,
        10_352_000,
    ),
    ("autoencoder", CIFAR, 10, {}, 14_054, 13_824),
    ("autoencoder", CIFAR, 10, {"binary": False}, 14_163, 0),
    ("birealnet20", CIFAR, 10, {}, 272_474, 267_264),
    ("birealnet18", IMAGENET, 1000, {}, 11_689_512, 10_985_472),
    ("binary-resnet20", CIFAR, 10, {}, 272_362, 267_264),
    ("resnet20", CIFAR, 10, {}, 269_722, 0),
    ("resnet20", CIFAR, 100, {}, 275_572, 0),
    ("reactnet20", CIFAR, 10, {}, 275_786, 267_264),
    ("preactivation-resnet20", CIFAR, 10, {}, 272_282, 0),
    ("reactnet-a", IMAGENET, 1000, {}, 29_343_592, 28_253_184),
    ("resnet34", IMAGENET, 1000, {}, 21_797_672, 0),
]


def convolutions(model: nn.Module) -> list[tuple[int, ...]]:
    """Each binary convolution as (inputs, outputs, kernel, stride)."""
    layers = (layer for layer in model.modules() if isinstance(layer, BinaryConv2d))
    return [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in layers]


@pytest.mark.parametrize(("name", "shape", "classes", "options", "total", "binary"), COUNTS)
def test_parameters_are_as_many_as_published(name, shape, classes, options, total, binary) -> None:
    with torch.device("meta"), torch.random.fork_rng():
        model = MODELS[name](shape, classes, **options)
    assert sum(p.numel() for p in model.parameters()) == total
    layers = [m for m in model.modules() if isinstance(m, BinaryConv2d | BinaryLinear)]
    assert sum(layer.weight.numel() for layer in layers) == binary


def test_every_model_is_counted_and_tried() -> None:
    assert {row[0] for row in COUNTS} == SMALL.keys() == MODELS.keys()


# with seed 0: means of the first and the last weight matrix, and the next random number drawn after them
DRAWN = {
    "audio-mlp": (-0.01083, 0.375, 0.54177),
    "fullycon": (0.04167, 0.0, 0.07972),
    "lenet5": (0.12, -0.005, 0.4478),
    "convnet": (-0.00926, 0.01562, 0.53356),
    "bvgg": (-0.00926, 0.01562, 0.53356),
    "autoencoder": (-0.00926, -0.10185, 0.93827),
    "birealnet20": (-0.00692, 0.01708, 0.44271),
    "birealnet18": (-0.00105, 0.00795, 0.34529),
    "binary-resnet20": (-0.04139, 0.01003, 0.24566),
    "resnet20": (-0.04139, 0.01003, 0.97224),
    "reactnet20": (-0.00692, 0.01708, 0.44271),
    "preactivation-resnet20": (-0.01484, 0.01708, 0.03091),
    "reactnet-a": (-0.00692, -0.00351, 0.75496),
    "resnet34": (-0.00326, -0.00616, 0.48894),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_draws_what_it_always_has(name: str) -> None:
    """Otherwise trainings of the same names would have other numbers (`trainers/revisions.py`)."""
    shape, options = SMALL[name]
    torch.manual_seed(0)
    first, *_, last = (p for p in MODELS[name](shape, 4, **options).parameters() if p.ndim > 1)
    found = first.mean().item(), last.mean().item(), torch.rand(()).item()
    assert found == pytest.approx(DRAWN[name], abs=2e-5)


def test_reactnet_a_layer_by_layer() -> None:
    model = MODELS["reactnet-a"]((3, 64, 64), 10, width=8)
    first, last = model[0], model[-1]
    assert (first.in_channels, first.out_channels, first.kernel_size, first.stride) == (3, 8, (3, 3), (2, 2))
    assert (last.in_features, last.out_features) == (256, 10)
    blocks = [(1, 2, 1), (2, 4, 2), (4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 16, 2), *[(16, 16, 1)] * 5]
    blocks += [(16, 32, 2), (32, 32, 1)]
    expected = []
    for inputs, outputs, stride in blocks:
        expected += [(8 * inputs, 8 * inputs, 3, stride), (8 * inputs, 8 * outputs, 1, 1)]
    assert convolutions(model) == expected


def test_reactnet_a_has_the_real_parts_that_are_published() -> None:
    with torch.device("meta"):
        model = MODELS["reactnet-a"](IMAGENET, 1000)
    kinds: dict[str, int] = {}
    for layer in model.modules():
        own = sum(p.numel() for p in layer.parameters(recurse=False))
        if own:
            kinds[type(layer).__name__] = kinds.get(type(layer).__name__, 0) + own
    inputs = 32 + 64 + 2 * 128 + 2 * 256 + 6 * 512 + 1024
    outputs = 64 + 2 * 128 + 2 * 256 + 6 * 512 + 2 * 1024
    assert kinds == {
        "Conv2d": 864,
        "BatchNorm2d": 2 * (32 + inputs + outputs),
        "BinaryConv2d": 28_253_184,
        "RSign": 2 * inputs,
        "RPReLU": 3 * (inputs + outputs),
        "Linear": 1_025_000,
    }


def test_birealnets_layer_by_layer() -> None:
    w = 4
    of_20 = convolutions(MODELS["birealnet20"](CIFAR, 10, width=w))
    assert of_20 == (
        [(w, w, 3, 1)] * 6 + [(w, 2 * w, 3, 2)] + [(2 * w, 2 * w, 3, 1)] * 5
        + [(2 * w, 4 * w, 3, 2)] + [(4 * w, 4 * w, 3, 1)] * 5
    )  # fmt: skip
    assert convolutions(MODELS["binary-resnet20"](CIFAR, 10, width=w)) == of_20
    assert convolutions(MODELS["reactnet20"](CIFAR, 10, width=w)) == of_20
    of_18 = convolutions(MODELS["birealnet18"]((3, 64, 64), 10, width=w))
    assert len(of_18) == 16
    assert [c for c in of_18 if c[3] == 2] == [(w, 2 * w, 3, 2), (2 * w, 4 * w, 3, 2), (4 * w, 8 * w, 3, 2)]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("lenet5", MNIST, "C20 N C20 P N C50 N C50 P N F D500 N D10 N"),  # Nayak 2020, Table 2
        (
            "convnet",
            CIFAR,
            "C128 N C128 P N C256 N C256 P N C512 N C512 P N F D1024 N D1024 N D10 N",
        ),  # Table 3
        ("bvgg", CIFAR, "C128 N C128 P N C256 N C256 P N C512 N C512 P N F D1024 N D1024 N D10 N"),
        ("fullycon", MNIST, "F O D4096 N S O D4096 N S O D4096 N D10 N"),  # Table 1
        ("autoencoder", CIFAR, "C32 N P C16 N P C8 N P C8 N U C16 N U C32 N U C3 N T"),  # Table 6
    ],
)
def test_tables_of_001(name, shape, expected) -> None:
    letters = {"MaxPool2d": "P", "Flatten": "F", "Dropout": "O", "Sign": "S", "Doubled": "U", "Tanh": "T"}
    with torch.device("meta"):
        model = MODELS[name](shape, 10)
    read = []
    for layer in model:
        if isinstance(layer, BinaryConv2d):
            read.append(f"C{layer.out_channels}")
        elif isinstance(layer, BinaryLinear):
            read.append(f"D{layer.out_features}")
        else:
            read.append(letters.get(type(layer).__name__, "N"))
    assert " ".join(read) == expected


@pytest.mark.parametrize("name", ["lenet5", "convnet", "bvgg", "fullycon", "autoencoder"])
def test_the_first_layer_of_001_takes_the_image_itself(name) -> None:
    shape, options = SMALL[name]
    model = MODELS[name](shape, 10, **options).eval()
    image = torch.rand(2, *shape)
    layers = [m for m in model if isinstance(m, BinaryConv2d | BinaryLinear)]
    assert torch.equal(layers[0].binarise(image), image)
    assert set(layers[0].weight.unique().tolist()) == {-1.0, 1.0}
    # the first layer of the autoencoder's decoder takes real values too
    direct = [i for i, layer in enumerate(layers) if isinstance(layer.binarise, nn.Identity)]
    assert direct == {"autoencoder": [0, 3], "fullycon": [0, 1, 2]}.get(name, [0])


def test_fullycon_drops_to_zero_and_not_to_a_sign() -> None:
    model = MODELS["fullycon"]((1, 6, 6), 10, width=16).train()
    seen: list[torch.Tensor] = []
    layers = [layer for layer in model if isinstance(layer, BinaryLinear)]
    for layer in layers[1:3]:
        layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(torch.randn(64, 1, 6, 6))
    for inputs in seen:
        assert set(inputs.unique().tolist()) == {-2.0, 0.0, 2.0}
        assert 0.4 < (inputs == 0).float().mean() < 0.6


@pytest.mark.parametrize("name", MODELS)
def test_a_step_moves_every_trainable_parameter(name) -> None:
    torch.manual_seed(0)
    shape, options = SMALL[name]
    model = MODELS[name](shape, 7, **options)
    outputs = model(torch.randn(16, *shape))
    assert outputs.shape == ((16, *shape) if name == "autoencoder" else (16, 7))
    (outputs * torch.randn_like(outputs)).sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.any(), key
    binary, _ = partition(model)
    assert all(set(p.unique().tolist()) == {-1.0, 1.0} for p in binary)


@pytest.mark.parametrize("name", MODELS)
def test_a_few_samples_are_learned(name) -> None:
    torch.manual_seed(0)
    shape, options = SMALL[name]
    model = MODELS[name](shape, 7, **options).train()
    inputs, labels = torch.rand(16, *shape) * 2 - 1, torch.randint(0, 7, (16,))
    if name == "autoencoder":
        inputs = torch.sign(inputs[:, :, :1, :1]).expand_as(inputs)  # one of eight colours: noise has no code
    binary, real = partition(model)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(real, lr=0.02)]
    if binary:
        optimizers.append(GradientFilter(binary, alpha=0.05, gamma=0.3))
    losses = []
    for _ in range(40):
        outputs = model(inputs)
        loss = mse_loss(outputs, inputs) if name == "autoencoder" else cross_entropy(outputs, labels)
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    assert all(set(p.unique().tolist()) == {-1.0, 1.0} for p in binary)


@pytest.mark.parametrize("name", [name for name, (shape, _) in SMALL.items() if len(shape) == 3])
def test_channels_last_computes_the_same(name) -> None:
    torch.manual_seed(0)
    shape, options = SMALL[name]
    model = MODELS[name](shape, 7, **options).double().eval()
    x = torch.randn(4, *shape, dtype=torch.float64)
    twin = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(twin(x.to(memory_format=torch.channels_last)), model(x))


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_are_the_seeds(name) -> None:
    shape, options = SMALL[name]
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(MODELS[name](shape, 7, **options).state_dict())
    assert all(torch.equal(one, other) for one, other in zip(*(m.values() for m in models), strict=True))


def test_duplicated_1x1_is_the_published_one() -> None:
    """ReActNet's code has two 1x1 convolutions with a normalisation each and concatenates their outputs."""
    torch.manual_seed(0)
    block = reactnet.Block(4, 8, stride=2).double()
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    y = block.conv1(x)
    y = block.activation1(block.bn1(y) + nn.functional.avg_pool2d(x, 2))
    halves = []
    for part in (slice(0, 4), slice(4, 8)):
        out = nn.functional.conv2d(y.sign(), block.conv2.weight[part])
        mean, variance = out.mean((0, 2, 3), keepdim=True), out.var((0, 2, 3), unbiased=False, keepdim=True)
        halves.append((out - mean) / (variance + 1e-5).sqrt() + y)
    torch.testing.assert_close(block(x), block.activation2(torch.cat(halves, dim=1)))


def test_bireal_block_is_convolution_of_signs_plus_shortcut() -> None:
    torch.manual_seed(0)
    block = birealnet.Block(4, 8, stride=2).double().eval()
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    convolved = nn.functional.conv2d(x.sign(), block.conv.weight, stride=2, padding=1)
    shortcut = nn.functional.conv2d(nn.functional.avg_pool2d(x, 2), block.shortcut[1].weight)
    factor = (1 + 1e-5) ** -0.5  # both normalisations are new: mean 0, variance 1
    torch.testing.assert_close(block(x), (convolved + shortcut) * factor)


def test_resnet34_has_the_names_of_published_checkpoints() -> None:
    with torch.device("meta"):
        state = MODELS["resnet34"](IMAGENET, 1000).state_dict()
    assert len(state) == 218
    expected = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "bn1.num_batches_tracked": (),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer1.2.bn2.bias": (64,),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.running_var": (128,),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.0.conv1.weight": (512, 256, 3, 3),
        "layer4.2.bn2.weight": (512,),
        "fc.weight": (1000, 512),
        "fc.bias": (1000,),
    }
    assert {key: tuple(state[key].shape) for key in expected} == expected
    assert "layer1.0.downsample.0.weight" not in state
    assert not any(key.startswith("layer1.3") for key in state)


def test_layer_normalisation_is_over_channels() -> None:
    x = torch.randn(2, 5, 3, 3)
    y = ChannelNorm(5)(x)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(1, unbiased=False), torch.ones(2, 3, 3), atol=1e-3, rtol=0)
    options = {"width": 4, "normalisation": "layer"}
    model = MODELS["bvgg"]((3, 14, 14), 7, **options).train()
    image = torch.randn(3, 3, 14, 14)
    torch.testing.assert_close(model(image)[:1], model(image[:1]))  # other samples do not matter


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'group'; known are batch, layer"):
        MODELS["bvgg"](CIFAR, 10, normalisation="group")
    with pytest.raises(ValueError, match=r"images of \(6, 6\) are too small"):
        MODELS["bvgg"]((3, 6, 6), 10)
    with pytest.raises(ValueError, match=r"multiples of 8, got \(28, 28\)"):
        MODELS["autoencoder"](MNIST, 10)


def test_reactnet20s_block_is_the_plain_formulation() -> None:
    """In float64: sign(x + offset), weights +-1, a factor, normalisation, a shortcut and a PReLU with offsets."""
    torch.manual_seed(0)
    block = Block20(4, 8, 2).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn_like(parameter))
        block.conv.weight.sign_()
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    own = dict(block.named_parameters())
    offset, scale, act = own["conv.binarise.offset"], own["scale.weight"], block.activation

    def normalised(y: torch.Tensor, name: str) -> torch.Tensor:
        z = (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), False, keepdim=True) + 1e-5).sqrt()
        return z * own[f"{name}.weight"][:, None, None] + own[f"{name}.bias"][:, None, None]

    y = nn.functional.conv2d((x + offset[:, None, None]).sign(), block.conv.weight, stride=2, padding=1)
    pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    shortcut = torch.einsum("oi,bihw->bohw", own["shortcut.1.weight"][:, :, 0, 0], pooled)
    z = normalised(y * scale, "bn") + normalised(shortcut, "shortcut.2") + act.before[:, None, None]
    expected = torch.where(z > 0, z, z * act.slope[:, None, None]) + act.after[:, None, None]
    torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [2, 8])
def test_a_strided_1x1_is_torchs(channels: int) -> None:
    ours, x = Subsampled(channels, 2 * channels, 2), torch.randn(2, channels, 7, 8).requires_grad_()
    theirs = nn.functional.conv2d(x.detach().requires_grad_(), ours.weight.detach(), stride=2)
    y = ours(x)
    torch.testing.assert_close(y, theirs)
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    expected = torch.zeros_like(x)
    expected[..., ::2, ::2] = torch.einsum("bohw,oi->bihw", 2 * y, ours.weight[:, :, 0, 0])
    torch.testing.assert_close(x.grad, expected)


def test_reactnet20_does_without_one_part() -> None:
    """The other parameters keep their names and initial values."""
    torch.manual_seed(0)
    whole = dict(Block20(4, 4, 1).named_parameters())
    scale, offset = "scale.weight", "conv.binarise.offset"
    before, slope, after = (f"activation.{name}" for name in ("before", "slope", "after"))
    gone = {
        "scale": {scale},
        "rsign": {offset},
        "polynomial": set(),
        "rprelu": {before, slope, after},
        "scale-and-polynomial": {scale},
        "offsets": {offset, before, after},
        "slopes": {slope},
        "real-shortcuts": set(),
        "real-ends": set(),
    }
    assert gone.keys() == set(PARTS["reactnet20"])
    for without, names in gone.items():
        torch.manual_seed(0)
        block = Block20(4, 4, 1, without)
        there = {name: value for name, value in block.named_parameters() if value.requires_grad}
        assert whole.keys() - there.keys() == names
        assert all(torch.equal(value, whole[name]) for name, value in there.items())
    assert MODELS["reactnet20"](CIFAR, 10, width=2, without="rsign")[3].conv.binarise is not None


def test_what_reactnet20_has_for_a_part_that_it_does_without() -> None:
    """As in the authors' code: PReLU without offsets, ReLU without slopes, binary weights with real inputs."""
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    offsets, slopes = (Block20(4, 4, 1, without).activation for without in ("offsets", "slopes"))
    assert torch.equal(offsets(x), nn.functional.prelu(x, torch.full((4,), 0.25)))
    with torch.no_grad():
        slopes.before.fill_(0.5)
        slopes.after.fill_(-0.25)
    assert torch.equal(slopes(x), torch.relu(x + 0.5) - 0.25)
    # the authors' numbers of binary weights at width 16: 18 convolutions, the first and the last layer, two shortcuts
    binary = {None: 267_264, "real-ends": 267_264 + 432 + 640, "real-shortcuts": 267_264 + 512 + 2048}
    for without, count in binary.items():
        model = MODELS["reactnet20"](CIFAR, 10, without=without)
        assert sum(weight.numel() for weight in binary_parameters(model)) == count
        layers = [layer for layer in model.modules() if isinstance(layer, BinaryConv2d | BinaryLinear)]
        real = [layer for layer in layers if isinstance(layer.binarise, nn.Identity)]
        assert len(real) == len(layers) - 18
        assert model(torch.randn(2, *CIFAR)).shape == (2, 10)


@pytest.mark.parametrize("without", ["polynomial", "scale-and-polynomial", "rsign", "offsets", None])
def test_the_derivative_of_an_ablated_sign(without: str | None) -> None:
    """Equation 1 without the polynomial, otherwise equation 2, with or without offset."""
    sign = Block20(1, 1, 1, without).conv.binarise
    x = torch.tensor([-1.5, -0.5, 0.25, 2.0]).view(1, 1, 1, 4).requires_grad_()
    sign(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == ([0, 1, 1, 0] if "polynomial" in str(without) else [0, 1, 1.5, 0])


def test_reactnet20_halves_the_image_before_its_blocks() -> None:
    model, sides = MODELS["reactnet20"](CIFAR, 10, width=2), []
    for layer in model:
        if isinstance(layer, Block20):
            layer.register_forward_hook(lambda m, inputs, y: sides.append(y.shape[-1]))
    model(torch.zeros(1, *CIFAR))
    assert sides == [16] * 6 + [8] * 6 + [4] * 6


def test_bvgg_and_the_autoencoder_are_normalised_as_in_keras() -> None:
    """eps 1e-3, momentum 0.01, no scale; layer normalisation has a bias before it."""
    for name, options in (("bvgg", {}), ("autoencoder", {}), ("autoencoder", {"binary": False})):
        model = MODELS[name](SMALL[name][0], 10, width=8, **options)
        layers = [m for m in model if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
        assert {(m.eps, m.momentum, m.weight.requires_grad) for m in layers} == {(1e-3, 0.01, False)}
    model = MODELS["bvgg"](SMALL["bvgg"][0], 10, width=8, normalisation="layer").double()
    first, *rest = model[:6]
    with torch.no_grad():
        for parameter in (rest[2].bias, rest[4].bias):
            parameter.copy_(
                torch.randn(8, generator=torch.Generator().manual_seed(len(rest)), dtype=torch.float64)
            )
    x = rest[0](first(torch.randn(2, *SMALL["bvgg"][0], dtype=torch.float64)))
    y = nn.functional.conv2d(x.sign(), rest[1].weight, padding=1) + rest[2].bias[:, None, None]
    y = nn.functional.max_pool2d(y, 2)
    y = (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + 1e-3).sqrt()
    expected = y + rest[4].bias[:, None, None]
    torch.testing.assert_close(nn.Sequential(*rest[1:])(x), expected, rtol=1e-12, atol=1e-12)


def test_the_real_autoencoder_rectifies_before_it_normalises() -> None:
    model = MODELS["autoencoder"](CIFAR, 10, binary=False)
    kinds = [type(layer).__name__ for layer in model]
    assert kinds[:4] == ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d"]
    assert kinds[-2:] == ["Conv2d", "Tanh"]
    assert all(layer.bias is not None for layer in model if isinstance(layer, nn.Conv2d))
