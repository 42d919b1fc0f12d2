import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import SMALL, VALUES, Stop, Stopping, train_with
from torch import Tensor, nn
from torch.fx import GraphModule

from trainers.errors import CheckpointError, UnusableError
from trainers.models import MODELS
from trainers.revisions import COMPILED
from trainers.tasks import TASKS, Proxy
from trainers.training.checkpoints import Checkpoint
from trainers.training.compilation import _compiled, _gather_gradients, batch_loss
from trainers.training.losses import LOSSES
from trainers.training.results import EpochResult

SPEECH = TASKS["spoken-digits"]


def loss_and_gradients(step: Any, *arguments: Any) -> list[Tensor]:
    model: nn.Module = arguments[0]
    torch.manual_seed(0)
    loss = step(*arguments)
    return [loss, *torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])]


def without_repeats(model: nn.Module) -> nn.Module:
    """Remove blocks like the one before, which would only repeat in the graph, and return the network."""
    for part in [each for each in model.modules() if isinstance(each, nn.Sequential)]:
        for (_, before), (name, block) in pairwise([*part.named_children()]):
            if repr(block) == repr(before):
                delattr(part, name)
    return model


class Seen(Exception):  # noqa: N818
    """The graph of forward and backward is correct, and is not needed further."""


def as_it_is(graph: GraphModule, inputs: list[Tensor]) -> Any:
    """Check what a backend would compile, and leave the graph to Python. What the compiler makes of the graph is
    torch's matter, and its sums have another order, which flips signs."""
    import torch._inductor.lowering  # noqa: F401 - the decompositions expect it; takes seconds
    from torch._dynamo.backends.common import aot_autograd
    from torch._inductor.decomposition import select_decomp_table

    aot = aot_autograd(fw_compiler=None, partition_fn=looked_at, decompositions=select_decomp_table())
    with pytest.raises(Seen):
        aot(graph, inputs)
    return graph.forward


def looked_at(joint: GraphModule, *_: Any, **__: Any) -> Any:
    """Fail if forward or backward sums in an order that a GPU is free to choose."""
    assert any("sum" in str(node.target) for node in joint.graph.nodes)
    for node in joint.graph.nodes:
        name = str(node.target)
        assert not any(kind in name for kind in ("scatter_add", "scatter_reduce", "scatter.reduce")), name
        assert "index_put" not in name or len(node.args) < 4 or not node.args[3], f"{name} that accumulates"
    raise Seen


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_network_is_one_graph_whose_gradients_are_gathered(name: str) -> None:
    """Nothing falls back to Python, and nothing is summed by atomic additions, which do not repeat on a GPU."""
    shape, options = SMALL[name]
    torch.manual_seed(0)
    model = without_repeats(MODELS[name](shape, 4, **options)).double().train()
    inputs = torch.randn(6, *shape, dtype=torch.float64)
    if name == "autoencoder":
        arguments: tuple[Any, ...] = (model, None, LOSSES["mean-squared-error"], inputs, inputs)
    elif name in ("reactnet-a", "binary-resnet20"):
        teacher = nn.Sequential(nn.Flatten(), nn.LazyLinear(4, dtype=torch.float64)).eval()
        teacher(inputs)
        arguments = (model, teacher, LOSSES["distribution"], inputs, torch.arange(6) % 4)
    else:
        of = "squared-hinge" if name in ("fullycon", "lenet5", "convnet") else "cross-entropy"
        arguments = (model, None, LOSSES[of], inputs, torch.arange(6) % 4)
    torch.compiler.reset()
    _gather_gradients()
    step = torch.compile(batch_loss, fullgraph=True, dynamic=False, backend=as_it_is)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ours = loss_and_gradients(step, *arguments)
    averages = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(before)
    torch.testing.assert_close(ours, loss_and_gradients(batch_loss, *arguments))
    torch.testing.assert_close(averages, model.state_dict())  # normalisation's averages


@pytest.mark.slow
def test_a_compiled_training_goes_on_bit_for_bit_and_is_the_same_in_all_but_rounding(
    spoken_digits: Path, tmp_path: Path
) -> None:
    def train(**options: Any) -> Iterator[EpochResult]:
        options = {"seed": 0, "compile": True, "proxy": Proxy(epochs=2, width=16)} | options
        values = VALUES["gradient-filter"]
        return train_with(SPEECH, "gradient-filter", values, split_seed=0, data_dir=spoken_digits, **options)

    def figures(results: Iterator[EpochResult]) -> list[tuple[float, ...]]:
        return [(r.train_loss, r.validation_metric, r.test_metric, r.flip_ratio) for r in results]

    torch.compiler.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    whole = figures(train())
    assert graphs["unique_graphs"] > before  # or nothing was compiled
    kept = tmp_path / "kept"
    with pytest.raises(Stop):
        list(train(checkpoint=Stopping(kept, 27)))
    assert figures(train(checkpoint=Checkpoint(kept))) == whole
    told = (
        f"belongs to another training, with revisions {{'compile': {COMPILED}}} instead of None, "
        "compiled True instead of None"
    )
    with pytest.raises(CheckpointError, match=re.escape(told)):
        next(train(checkpoint=Checkpoint(kept), compile=False))
    started = graphs["unique_graphs"]
    plain = figures(train(compile=False))
    assert graphs["unique_graphs"] == started
    assert plain[0][0] == pytest.approx(whole[0][0], rel=1e-2)

    # another training of the kind is not compiled again
    list(train(seed=1))
    assert graphs["unique_graphs"] == started


@pytest.mark.slow
def test_a_compiled_training_in_float64_is_the_plain_one(spoken_digits: Path) -> None:
    """Sums have another order, which flips no sign: where a sign is open, torch 2.13 has the exact 0 too.

    With torch 2.11 this fails: docs/decisions/0014.
    """
    torch.compiler.reset()
    options = {
        "seed": 0,
        "split_seed": 0,
        "data_dir": spoken_digits,
        "proxy": Proxy(epochs=2, precision="float64"),
    }
    plain, compiled = (
        list(
            train_with(SPEECH, "gradient-filter", VALUES["gradient-filter"], compile=with_compiler, **options)
        )
        for with_compiler in (False, True)
    )
    for a, b in zip(plain, compiled, strict=True):
        assert (a.flip_ratio, a.validation_metric) == (b.flip_ratio, b.validation_metric)
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-10)


def test_without_a_compiler_nothing_is_trained(
    spoken_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compiled.cache_clear()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    options = {"seed": 0, "split_seed": 0, "data_dir": spoken_digits, "compile": True}
    without = torch._inductor.config.patch({"cpp.cxx": (None, "/none")})
    with (
        without,
        pytest.raises(
            UnusableError, match=r"torch cannot compile on this machine: .*No working C\+\+ compiler"
        ),
    ):
        next(train_with(SPEECH, "gradient-filter", VALUES["gradient-filter"], **options))
