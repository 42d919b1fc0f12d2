"""A training in progress."""

import math
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainers.data import Samples
from trainers.devices import find, repeatable, seeded, wait
from trainers.errors import CheckpointError, DataError, first_line
from trainers.feeding.feed import Part, feed
from trainers.feeding.network_inputs import as_bytes, pixels, prepare, real_type
from trainers.files import checksum
from trainers.layers.binary import named_binary_parameters, partition
from trainers.models import MODELS
from trainers.optimizers.real_parameters import real_optimizer
from trainers.seeds import derive
from trainers.tasks import Recipe
from trainers.training import teachers
from trainers.training.checkpoints import Checkpoint
from trainers.training.compilation import batch_loss, compiled
from trainers.training.flips import FlipCounter
from trainers.training.losses import LOSSES
from trainers.training.recorder import Recorder
from trainers.training.results import EpochResult, Series
from trainers.training.scoring import Score, evaluate
from trainers.training.stages import Stage, stages
from trainers.training.start import start_from, take_over
from trainers.training.state import State
from trainers.training_spec import Machine, TrainingSpec, fingerprint

COLD_STEPS = 2  # of a stage, which compile or record graphs: not in a training's seconds
PARTS: tuple[Part, ...] = ("validation", "test", "training")  # the index of each seeds its noise


class Training:
    """The network of one training and what it is trained with, an epoch at a time. `state` has all that changes.

    Raises ValueError if the method does not fit the network, DataError for the data and the teacher, and what `feed`
    raises.
    """

    def __init__(self, spec: TrainingSpec, machine: Machine) -> None:
        self._spec, self._machine = spec, machine
        self._task = task = spec.scaled
        self._device = device = find(machine.device)
        self._source = source = feed(spec, machine)
        self._teacher = teachers.file_of(task, machine.data_dir, spec.teacher)
        self._recipe = task.recipe.tuned(spec.hyperparameters)
        self._loss = LOSSES[self._recipe.loss]
        self._batch_loss = compiled(repr(task), device.type) if machine.compile else batch_loss
        self._scale = pixels(self._recipe, source.mean, source.std, device)
        self._stages = stages(self._recipe, spec.method, spec.hyperparameters)
        self._total_steps = self._stages[-1].last_epoch * source.steps_an_epoch
        self._checkpoint: Checkpoint | None = None

        with seeded(derive(spec.seed, "real-initialisation"), torch.device("cpu")):
            model = MODELS[task.model](source.input_shape, source.classes, **task.model_options)
        self.model = _placed(model, device, self._recipe)
        self._binary, self._real = partition(model)
        if bool(self._binary) != (spec.method is not None or self._recipe.first_step is not None):
            if self._binary:
                raise ValueError(f"{task.name} needs a method for its binary weights, got None")
            got = spec.method or f"a first step of {self._recipe.epochs_by(None)} epochs"
            raise ValueError(f"{task.name} has no binary weights, got {got}")
        latent = all(stage.optimizer.latent for stage in self._stages)
        for _, fault in spec.record.faults(task, binary=bool(self._binary), latent=latent):
            raise ValueError(fault)
        self._master: nn.Module | None = None
        if self._recipe.teacher and self._teacher:
            master = teachers.load(self._recipe.teacher, self._teacher, source.input_shape, source.classes)
            self._master = _placed(master, device, self._recipe)
        augmentation = torch.Generator(device).manual_seed(derive(spec.seed, "augmentation"))
        recorder = Recorder(spec.record, named_binary_parameters(model), spec.seed, self._total_steps)
        self.state = State(model, augmentation, recorder)

    def begin(self, checkpoint: Checkpoint | None = None) -> None:
        """Go on from `checkpoint` if it holds this training, or else begin, from the spec's `start` if it has one.

        From here on the training is kept in `checkpoint`. Raises CheckpointError, also if the checksum of `start` is
        not `start_sum`, or if `start` changes while it is read.
        """
        start, start_sum = self._spec.start, self._spec.start_sum
        decided_by = self._identity()
        if start and decided_by["start"] is None:
            raise CheckpointError(f"{start}: there is no such checkpoint")
        self._checkpoint = checkpoint
        kept = checkpoint and checkpoint.open(decided_by)
        if checkpoint and kept:
            self._go_on(kept, checkpoint.path)
        else:
            self._begin_stage(0)
        if start and not kept:
            start_from(start, self.model, self.state.binary_optimizer)
            self.state.flips.look()
        if start and {checksum(start), decided_by["start"]} != {start_sum or decided_by["start"]}:
            raise CheckpointError(
                f"{start}: is not the expected network; put that one back (sha256 {start_sum})"
                if start_sum
                else f"{start}: changed while it was read; try again"
            )

    def _go_on(self, kept: dict[str, Any], path: Path) -> None:
        try:
            self._begin_stage(kept["stage"])
            self.state.load_state_dict(kept)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged ({first_line(error)}); delete it") from error

    @property
    def results(self) -> tuple[EpochResult, ...]:
        """The results of the finished epochs, in order."""
        return tuple(self.state.results)

    @property
    def diverged(self) -> bool:
        return bool(self.state.results) and self.state.results[-1].diverged

    @property
    def over(self) -> bool:
        """Whether no epoch follows."""
        return self.diverged or len(self.state.results) == self._stages[-1].last_epoch

    def epoch(self) -> EpochResult:
        """Train the next epoch, or the rest of it if it was interrupted, score the network, and return the result."""
        state, epoch = self.state, len(self.state.results) + 1
        if epoch > self._stage.last_epoch:
            self._begin_stage(state.stage + 1)
        with repeatable(self._device):
            train_loss = self._train(epoch)
            started = time.perf_counter()
            finite = math.isfinite(train_loss) and self.state.is_finite()
            scores = self._scores() if finite else None
            diverged = not scores or any(math.isnan(score.metric) for score in scores)
            recorded = self._recorded(diverged)
        if diverged and self._master:
            self._check_teacher(self._master)
        validation, test = [Score.worst(self._task)] * 2 if diverged or not scores else scores
        result = EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            validation_metric=validation.metric,
            test_metric=test.metric,
            flip_ratio=state.flips.ratio(),
            train_seconds=state.train_seconds,
            evaluate_seconds=time.perf_counter() - started,
            diverged=diverged,
            validation_top5=validation.top5,
            test_top5=test.top5,
            **recorded,
        )
        state.results.append(result)
        state.train_seconds = 0.0
        if self._checkpoint and self._checkpoint.due(end=self.over):
            self._keep(self._checkpoint)
        return result

    @property
    def _stage(self) -> Stage:
        return self._stages[self.state.stage]

    def _begin_stage(self, number: int) -> None:
        """Begin a stage with new optimizers; the second starts from the first one's weights."""
        state = self.state
        before = {name: weight.clone() for name, weight in self.model.state_dict().items()} if number else {}
        state.stage = number
        self._warm_up_steps = COLD_STEPS if self._machine.compile else 0
        state.binary_optimizer = self._stage.optimizer(
            self._binary,
            **self._stage.values,
            generator=torch.Generator().manual_seed(derive(self._spec.seed, "binary-initialisation")),
        )
        state.real_optimizer = real_optimizer(self.model, self._real, self._recipe)
        if before:
            take_over(before, self.model, state.binary_optimizer, real=True)
        state.flips = FlipCounter(self._binary)

    def _train(self, epoch: int) -> float:
        """Take the remaining steps of `epoch` and return its mean loss, for which it waits for the device once."""
        state, steps = self.state, self._source.steps_an_epoch
        taken = state.step - (epoch - 1) * steps
        if taken == 0:
            state.begin_epoch()
        started = time.perf_counter()
        self.model.train()
        with (
            seeded(derive(self._spec.seed, "dropout", epoch), self._device),
            closing(self._source.training(epoch, taken)) as batches,
        ):
            state.restore_draws()
            for samples in batches:
                self._step(samples)
                if self._warm_up_steps:
                    wait(self._device)
                    self._warm_up_steps -= 1
                    started = time.perf_counter()
                if self._checkpoint and self._checkpoint.due():
                    wait(self._device)
                    state.train_seconds += time.perf_counter() - started
                    self._keep(self._checkpoint)
                    started = time.perf_counter()
        mean_loss = float(state.loss_sum) / steps
        state.train_seconds += time.perf_counter() - started
        return mean_loss

    def _step(self, samples: Samples) -> None:
        """Take one step of both optimizers on a batch, without waiting for the device."""
        state = self.state
        self._schedule()
        inputs, targets = prepare(samples, self._recipe, self._scale, state.augmentation, training=True)
        for parameter in (*self._binary, *self._real):
            parameter.grad = None
        if self._machine.compile:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        loss = self._batch_loss(self.model, self._master, self._loss, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        state.real_optimizer.step()
        state.binary_optimizer.step()
        state.flips.update()
        state.loss_sum += loss.detach()
        state.step += 1
        state.recorder.look(state.step, state.binary_optimizer, state.flips)

    def _keep(self, checkpoint: Checkpoint) -> None:
        checkpoint.write(self.state.state_dict() | {"over": self.over})

    def _schedule(self) -> None:
        """Set the scheduled values that the next step uses."""
        recipe, state = self._recipe, self.state
        progress = self._stage.progress(state.step, self._source.steps_an_epoch, recipe.decay_end)
        rate = self._stage.real_learning_rate(progress)
        for group in state.real_optimizer.param_groups:
            group["lr"] = rate
        state.binary_optimizer.schedule(progress)

    def _scores(self, *, latent: bool = False) -> tuple[Score, Score]:
        """Return the validation and the test score with binary weights, or `latent` ones; without validation samples,
        the test score twice."""
        optimizer = self.state.binary_optimizer
        with optimizer.latent_weights() if latent else optimizer.binarised():
            first = None if self._spec.proxy.validation else self._score("validation")
            test = self._score("test")
        return first or test, test

    def _score(self, part: Part) -> Score:
        """Return the score of the network as it is on `part`."""
        with closing(self._source.scored(part)) as batches:
            return evaluate(self.model, batches, self._task, self._scale, self._noise(part))

    def _noise(self, part: Part) -> torch.Generator:
        drawn_by = derive(self._spec.split_seed, "evaluation", PARTS.index(part))
        return torch.Generator(self._device).manual_seed(drawn_by)

    def _recorded(self, diverged: bool) -> dict[str, Any]:
        """Return what the spec asks to record of the last epoch, by field; the worst metrics if it diverged."""
        record, state = self._spec.record, self.state
        series = state.recorder.take(state.flips)
        if record.images and not diverged and state.step == self._total_steps:
            series += self._images(record.images)
        found: dict[str, Any] = {"series": series}
        if record.train_metric:
            found["train_metric"] = self._task.worst
            if not diverged:
                with state.binary_optimizer.binarised():
                    found["train_metric"] = self._score("training").metric
        if record.latent_metric:
            scores = [Score.worst(self._task)] * 2 if diverged else self._scores(latent=True)
            values = (self._task.worst if math.isnan(score.metric) else score.metric for score in scores)
            found |= zip(("latent_validation_metric", "latent_test_metric"), values, strict=True)
        return found

    def _images(self, number: int) -> tuple[Series, ...]:
        """Return the first `number` test images: as they are, with the noise used in scoring, and recovered."""
        with closing(self._source.scored("test")) as batches, torch.no_grad():
            noise, first = self._noise("test"), next(batches)
            noisy, images = prepare(first, self._recipe, self._scale, noise, training=False)
            self.model.eval()
            with self.state.binary_optimizer.binarised():
                recovered = self.model(noisy)
        named = {"original": images, "noisy": noisy, "recovered": recovered}
        return tuple(
            Series.of(name, [self.state.step], as_bytes(its[None, :number], self._scale).cpu().numpy())
            for name, its in named.items()
        )

    def _check_teacher(self, master: nn.Module) -> None:
        """Raise DataError if the teacher's outputs are not finite: divergence then says nothing about the method."""
        noise = torch.Generator(self._device).manual_seed(0)
        with closing(self._source.scored("validation")) as batches, torch.no_grad():
            inputs, _ = prepare(next(batches), self._recipe, self._scale, noise, training=False)
            if not master(inputs).isfinite().all():
                raise DataError(
                    f"{self._teacher}: the teacher's outputs are not finite; put another teacher there"
                )

    def _identity(self) -> dict[str, Any]:
        """Return the training's fingerprint, without threads, with what its names stand for: the task's recipe, files'
        checksums, the decoder's version."""
        named = fingerprint(self._spec, self._machine)
        compiled = named.pop("compile", None)
        del named["threads"]
        return named | {
            "task": self._task.name,
            "recipe": asdict(self._recipe),
            "model": dict(self._task.model_options),
            "hyperparameters": dict(self._spec.hyperparameters),
            "proxy": self._spec.proxy.changes,
            "training samples": self._source.samples,
            "device": self._device.type,
            "compiled": compiled,
            "decoder": self._source.decoder,
            "teacher": self._teacher and checksum(self._teacher),
            "start": self._spec.start and checksum(self._spec.start),
        }


def _placed(model: nn.Module, device: torch.device, recipe: Recipe) -> nn.Module:
    """Put `model` on `device` in the recipe's precision, with channels last in memory, and return it."""
    model.to(device, real_type(recipe)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    return model
