"""Failed trials: their errors, and the parts of a study that have no result because of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from studies.design.searchers import SEARCHERS
from studies.records import TrialState

CERTAIN_TRIALS = (
    5  # trials at least, equally many of every run: if all fail with one error, that is no accident
)
LONGEST = 300  # characters of an error that are shown
NUMBER = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)


class Ended(Protocol):
    """What is needed of a finished trial: a TrialRecord, or a row with these columns."""

    @property
    def arm(self) -> str: ...
    @property
    def trial(self) -> int: ...
    @property
    def state(self) -> TrialState: ...
    @property
    def error(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """The first line of an error, and how many trials have failed with it."""

    error: str
    trials: int

    @property
    def kind(self) -> str:
        """The error with each number replaced by 0."""
        return NUMBER.sub("0", self.error)

    def __str__(self) -> str:
        return f"{self.error} ({self.trials} {'trial' if self.trials == 1 else 'trials'})"


def commonest(trials: Iterable[Ended], at_most: int = 3) -> tuple[Failure, ...]:
    """Return why trials have failed, the commonest error first. Errors that differ only in numbers count as one."""
    errors = _Errors()
    for trial in trials:
        if trial.state is TrialState.FAILED:
            errors.add(trial)
    return errors.commonest(at_most)


def first_line(error: str | None) -> str:
    """Return the first line of a stored error, which a traceback may follow."""
    line = next(iter((error or "").strip().splitlines()), "no reason given")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


class FailureTracker:
    """The failures and results of a study's trials so far, added one at a time.

    An arm is compared by what its search finds. If a whole arm, or all trials that its model chose, have not a single
    result, the study has no answer, however many trials it has. `spec` is the stored one.
    """

    def __init__(self, spec: Mapping[str, Any], trials: Iterable[Ended] = ()) -> None:
        runs = int(spec["runs"])
        self._starts = {arm["name"]: _unmodelled(spec, arm) for arm in spec["arms"]}
        self._arms = {name: _Part(name, runs) for name in self._starts}
        self._searches = {
            name: _Part(f"{name}, after the first {start} trials of each run,", runs)
            for name, start in self._starts.items()
        }
        for trial in trials:
            self.add(trial)

    def add(self, trial: Ended) -> str | None:
        """Count the trial. Return why the study will have no answer, if this trial makes that certain, else None.

        It is certain when the first few trials of every run have failed with one error and none has a result. If the
        study goes on nevertheless, the reason is returned again when the next few trials of every run have failed.
        """
        arm, search = self._arms[trial.arm], self._searches[trial.arm]
        certain = arm.add(trial, trial.trial)
        if trial.trial > (start := self._starts[trial.arm]):
            certain |= search.add(trial, trial.trial - start)
        return self._without_result(arm, search) if certain else None

    def nothing(self) -> str | None:
        """Return which arms of a study with all its trials have no result, and why; None if every arm has one."""
        told = (self._without_result(self._arms[name], self._searches[name]) for name in self._arms)
        return "; ".join(filter(None, told)) or None

    @staticmethod
    def _without_result(*parts: "_Part") -> str | None:
        """Return the first part with trials but no result, in words; None if there is none."""
        return next((str(part) for part in parts if part.trials and not part.results), None)


def _unmodelled(spec: Mapping[str, Any], arm: Mapping[str, Any]) -> int:
    """Return the trials of a run before the arm's searcher uses a model; all of them if it has none."""
    searcher = arm.get("searcher", spec["searcher"])
    return int(searcher["initial_trials"] if SEARCHERS[searcher["name"]].model else spec["trials"])


class _Errors:
    """A count of errors."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._as_met: dict[str, str] = {}

    def add(self, trial: Ended) -> None:
        line = first_line(trial.error)
        self._counts[self._as_met.setdefault(NUMBER.sub("0", line), line)] += 1

    def commonest(self, at_most: int) -> tuple[Failure, ...]:
        return tuple(Failure(error, count) for error, count in self._counts.most_common(at_most))


class _Part:
    """Trials of an arm, numbered from 1 in each run: all of them, or those that its model chose."""

    def __init__(self, name: str, runs: int) -> None:
        self._name, self._runs = name, runs
        self._each = -(-CERTAIN_TRIALS // runs)  # trials of a run that are judged together
        self._together: defaultdict[int, list[Ended]] = defaultdict(list)
        self._errors = _Errors()
        self.trials = self.results = 0

    def add(self, trial: Ended, number: int) -> bool:
        """Count the trial, and return whether it completes a group from all runs that all failed with one error."""
        self.trials += 1
        if trial.state is TrialState.FAILED:
            self._errors.add(trial)
        else:
            self.results += 1
        together = self._together[(number - 1) // self._each]
        together.append(trial)
        counted = commonest(together)
        return len(counted) == 1 and counted[0].trials == self._each * self._runs

    def __str__(self) -> str:
        errors = "; ".join(map(str, self._errors.commonest(3)))
        return f"{self._name} has no result: all {self.trials} trials failed: {errors}"


def nothing(spec: Mapping[str, Any], trials: Iterable[Ended]) -> str | None:
    """Return which arms of a study with all these trials have no result, and why; None if every arm has one."""
    return FailureTracker(spec, trials).nothing()
