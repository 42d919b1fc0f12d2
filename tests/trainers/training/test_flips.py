import torch

from trainers.training.flips import FlipCounter


def test_ratio_by_hand() -> None:
    first, second = torch.tensor([[1.0, -1.0], [1.0, -1.0]]), torch.tensor([0.5, -0.0])
    counter = FlipCounter([first, second])
    first.neg_()
    counter.update()  # 4 of 6
    second.mul_(3)
    counter.update()  # magnitudes alone: 0 of 6
    second[1] = 0.0
    counter.update()  # -0 to +0: 1 of 6
    assert counter.ratio() == 5 / 18
    counter.reset()
    first[0, 0] = 1.0
    counter.update()
    assert counter.ratio() == 1 / 6
