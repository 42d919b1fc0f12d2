from torch import nn

from trainers.layers.rsign_rprelu import RPReLU, RSign
from trainers.optimizers.real_parameters import groups


def test_weight_decay_spares_normalisation_and_biases() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2, bias=False))
    decayed, spared = groups(model, list(model.parameters()), 0.25)
    assert decayed["weight_decay"] == 0.25
    assert spared["weight_decay"] == 0.0
    assert decayed["params"] == [model[0].weight, model[2].weight]
    assert spared["params"] == [model[0].bias, model[1].weight, model[1].bias]


def test_weight_decay_spares_layer_normalisation_rsign_and_rprelu() -> None:
    model = nn.Sequential(nn.LayerNorm(2), RSign(2), RPReLU(2), nn.Linear(2, 2, bias=False))
    decayed, spared = groups(model, list(model.parameters()), 0.25)
    assert decayed["params"] == [model[3].weight]
    assert len(spared["params"]) == 6
