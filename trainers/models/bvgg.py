"""BVGG, the BinaryNet of Courbariaux as Helwegen et al. train it with Bop: Nayak 2020, sections 3 and 4."""

from torch import nn

from trainers.models.stack import keras, stack


def bvgg(
    input_shape: tuple[int, ...], classes: int, *, width: int = 128, normalisation: str = "batch"
) -> nn.Sequential:
    """Build a network (batch, channels, height, width) -> (batch, classes); `normalisation` is "batch" or "layer".

    It differs from `convnet` as Nayak 2020's code does: the image is not padded, and normalisation is Keras's without a
    scale; layer normalisation comes after a bias in every layer but the first. `width` is the number of filters of the
    first convolutions, 128.
    """
    filters = [width * factor for factor in (1, 1, 2, 2, 4, 4)]
    return stack(
        input_shape,
        classes,
        filters=filters,
        kernel_size=3,
        dense=(width * 8, width * 8),
        normalisation=keras(normalisation),
        first_padding=False,
    )
