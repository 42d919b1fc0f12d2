"""Which training comes next, and on which worker."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from studies.analysis.confirmation import representatives
from studies.analysis.decision import decision
from studies.design.searchers import Observation
from studies.design.spec import StudySpec
from studies.errors import StudyError
from studies.records import ConfirmationRecord, TrialRecord
from trainers.hyperparameters import Value


@dataclass(frozen=True, slots=True)
class Confirms:
    """What a confirmation confirms: the run's trial number `trial`, by the `number`th of its seeds, both from 1."""

    trial: int
    number: int
    hyperparameters: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Turn:
    """The next trial of a run, after `history`, or a confirmation, on the worker numbered `slot`."""

    arm: str
    run: int
    history: tuple[Observation, ...]
    slot: int = -1  # not handed out
    confirms: Confirms | None = None


Key = tuple[int, str, int, int]  # run, arm, then a confirmation's trial and number, or zeros for a trial


class Schedule:
    """The trainings that are left of a study, handed out from the shortest run first, so that all runs end together.

    Trials of one run follow each other; runs do not wait for one another. Once a run is over, its incumbents are
    confirmed if the study asks for that, in any order, while no trial waits. A slot gets one training at a time; the
    slot freed last is next, because it has a worker.

    A study that stops when it is decided goes through its runs in order instead, each with its confirmations: the
    sooner a run is complete, the sooner it is looked at.
    """

    def __init__(
        self,
        spec: StudySpec,
        study: str,
        history: Sequence[TrialRecord | ConfirmationRecord],
        slots: int,
    ) -> None:
        self._spec, self._records = spec, list(history)
        self._trials, self._direction = spec.trials, spec.task_definition().direction
        self._seeds = spec.confirm.seeds if spec.confirm else 0
        self._done: dict[tuple[int, str], list[Observation]] = {
            (run, arm.name): [] for run in range(1, spec.runs + 1) for arm in spec.arms
        }
        self._under_way: dict[Key, int] = {}
        self._free = [*range(slots)][::-1]
        trials = [record for record in history if isinstance(record, TrialRecord)]
        for record in sorted(trials, key=lambda r: (r.arm, r.run, r.trial)):
            seen = self._done[record.run, record.arm]
            if record.trial != len(seen) + 1:
                raise StudyError(
                    f"{study}: {record.arm} run {record.run} has trial {record.trial} but not {len(seen) + 1}"
                )
            seen.append(_observed(record))
        self._unconfirmed: dict[Key, Confirms] = {}
        for run, arm in self._done:
            self._expect_confirmations(run, arm)
        for confirmation in history:
            if isinstance(confirmation, ConfirmationRecord):
                del self._unconfirmed[_key(confirmation)]
        self._decided = self._is_decided()

    @property
    def remaining(self) -> int:
        """The number of trainings that have not finished, even if under way; confirmations count once their run is
        over.

        Once the study is decided, only those under way count.
        """
        if self._decided:
            return len(self._under_way)
        return sum(self._trials - len(seen) for seen in self._done.values()) + len(self._unconfirmed)

    @property
    def waiting(self) -> int:
        """The number of trainings that could be handed out now if there were slots."""
        if self._decided:
            return 0
        trials, confirmations = self._not_under_way()
        return len(trials) + len(confirmations)

    def next(self) -> Turn | None:
        """Hand out a training; None if every slot has one, every run waits for its own trial, or the study is
        decided."""
        if self._decided or not self._free:
            return None
        in_order = self._spec.stop_when is not None
        waiting, unconfirmed = self._not_under_way()
        if in_order and waiting and unconfirmed:
            first = min(run for run, _ in waiting)
            unconfirmed = [key for key in unconfirmed if key[0] <= first]
            waiting = [] if unconfirmed else waiting
        if waiting:
            run, arm = key = min(waiting, key=lambda k: (k[0] * in_order, len(self._done[k]), k))
            slot = self._under_way[run, arm, 0, 0] = self._free.pop()
            return Turn(arm, run, tuple(self._done[key]), slot)
        if not unconfirmed:
            return None
        confirmation = unconfirmed[0]
        slot = self._under_way[confirmation] = self._free.pop()
        run, arm, _, _ = confirmation
        return Turn(arm, run, (), slot, self._unconfirmed[confirmation])

    def open(self) -> Iterator[Turn]:
        """Yield each run's next trial and the confirmations that are left; with runs in order, only the first run's."""
        turns = [
            Turn(arm, run, tuple(seen)) for (run, arm), seen in self._done.items() if len(seen) < self._trials
        ]
        turns += [Turn(arm, run, (), confirms=c) for (run, arm, _, _), c in self._unconfirmed.items()]
        first = min((turn.run for turn in turns), default=0)
        for turn in turns:
            if not self._decided and (self._spec.stop_when is None or turn.run == first):
                yield turn

    def put_back(self, arm: str, run: int, confirms: Confirms | None = None) -> None:
        """Free the slot of the run's latest trial, or of this confirmation, to be handed out again: it came to
        nothing."""
        self._end((run, arm, confirms.trial, confirms.number) if confirms else (run, arm, 0, 0))

    def finished(self, record: TrialRecord | ConfirmationRecord) -> None:
        """Note that the training has ended, in whatever state, or is another study's. After a trial, its run goes
        on."""
        key = _key(record)
        self._end(key)
        if isinstance(record, ConfirmationRecord):
            del self._unconfirmed[key]
        else:
            self._done[record.run, record.arm].append(_observed(record))
            self._expect_confirmations(record.run, record.arm)
        if self._spec.stop_when is not None:
            self._records.append(record)
            self._decided = self._decided or (self._complete(record.run) and self._is_decided())

    def _end(self, key: Key) -> None:
        if (slot := self._under_way.pop(key, None)) is not None:  # else it was not handed out
            self._free.append(slot)

    def _not_under_way(self) -> tuple[list[tuple[int, str]], list[Key]]:
        """Return the runs and arms whose next trial can be handed out, and the confirmations that can."""
        trials = [
            (run, arm)
            for (run, arm), seen in self._done.items()
            if len(seen) < self._trials and (run, arm, 0, 0) not in self._under_way
        ]
        return trials, [key for key in self._unconfirmed if key not in self._under_way]

    def _complete(self, run: int) -> bool:
        """Return whether every arm has all trials and confirmations of the run."""
        trials = all(len(seen) == self._trials for (of, _), seen in self._done.items() if of == run)
        return trials and not any(key[0] == run for key in self._unconfirmed)

    def _is_decided(self) -> bool:
        if self._spec.stop_when is None:
            return False
        trials = [each for each in self._records if isinstance(each, TrialRecord)]
        confirmations = [each for each in self._records if isinstance(each, ConfirmationRecord)]
        return decision(self._spec, trials, confirmations).verdict is not None

    def _expect_confirmations(self, run: int, arm: str) -> None:
        """Expect a confirmation of each of the run's incumbents with each seed, once the run is over."""
        seen = self._done[run, arm]
        if not self._seeds or len(seen) < self._trials:
            return
        given = [dict(each.hyperparameters) for each in seen]
        for trial in dict.fromkeys(
            representatives([each.objective for each in seen], given, self._direction)
        ):
            for number in range(1, self._seeds + 1) if trial else ():
                confirms = Confirms(trial, number, given[trial - 1])
                self._unconfirmed[run, arm, trial, number] = confirms


def _key(record: TrialRecord | ConfirmationRecord) -> Key:
    if isinstance(record, ConfirmationRecord):
        return record.run, record.arm, record.trial, record.number
    return record.run, record.arm, 0, 0


def _observed(record: TrialRecord) -> Observation:
    return Observation(dict(record.hyperparameters), record.objective, record.sem)
