"""Trials that failed: of which errors, and which part of a study has come to nothing by them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from studies.design.searchers import SEARCHERS
from studies.records import TrialState

CERTAIN = 5  # trials at least, the same number of every run: all failing of one error they are no accident
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
    """An error, its first line, and how many trials have failed of it."""

    error: str
    trials: int

    @property
    def kind(self) -> str:
        """The error without its numbers."""
        return NUMBER.sub("0", self.error)

    def __str__(self) -> str:
        return f"{self.error} ({self.trials} {'trial' if self.trials == 1 else 'trials'})"


def commonest(trials: Iterable[Ended], at_most: int = 3) -> tuple[Failure, ...]:
    """Why trials have failed, the commonest error first. Errors that differ in numbers alone count as one."""
    errors = _Errors()
    for trial in trials:
        if trial.state is TrialState.FAILED:
            errors.add(trial)
    return errors.commonest(at_most)


def first_line(error: str | None) -> str:
    """The first line of a stored error, which may go on with a traceback."""
    line = next(iter((error or "").strip().splitlines()), "no reason given")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


class Losses:
    """What a study's trials have come to so far, told one at a time.

    An arm is compared by what its search finds. Where a whole arm, or all that its model has chosen, is without a
    single result, the study has no answer, however many trials it has. `spec` is the study's as it is stored.
    """

    def __init__(self, spec: Mapping[str, Any], trials: Iterable[Ended] = ()) -> None:
        runs = int(spec["runs"])
        self._starts = {arm["name"]: _unmodelled(spec, arm) for arm in spec["arms"]}
        self._arms = {name: _Part(name, runs) for name in self._starts}
        self._searches = {
            name: _Part(f"{name} after the first {start} trials of a run", runs)
            for name, start in self._starts.items()
        }
        for trial in trials:
            self.add(trial)

    def add(self, trial: Ended) -> str | None:
        """Count the trial. Returns why nothing more can be hoped for, where that has become certain with it.

        That is so when the first few trials of every run have failed of one error and none has a result. A study that
        goes on after all is told again when the next few of every run have failed.
        """
        arm, search = self._arms[trial.arm], self._searches[trial.arm]
        certain = arm.add(trial, trial.trial)
        if trial.trial > (start := self._starts[trial.arm]):
            certain |= search.add(trial, trial.trial - start)
        return self._without_result(arm, search) if certain else None

    def nothing(self) -> str | None:
        """What has no result in a study that has all its trials, and why; None where every arm has one."""
        told = (self._without_result(self._arms[name], self._searches[name]) for name in self._arms)
        return "; ".join(filter(None, told)) or None

    @staticmethod
    def _without_result(*parts: "_Part") -> str | None:
        """The first that has none."""
        return next((str(part) for part in parts if part.trials and not part.results), None)


def _unmodelled(spec: Mapping[str, Any], arm: Mapping[str, Any]) -> int:
    """After how many trials of a run the arm's searcher has a model, if it ever has one."""
    searcher = arm.get("searcher", spec["searcher"])
    return int(searcher["initial_trials"] if SEARCHERS[searcher["name"]].model else spec["trials"])


class _Errors:
    """Errors, counted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._as_met: dict[str, str] = {}

    def add(self, trial: Ended) -> None:
        line = first_line(trial.error)
        self._counts[self._as_met.setdefault(NUMBER.sub("0", line), line)] += 1

    def commonest(self, at_most: int) -> tuple[Failure, ...]:
        return tuple(Failure(error, count) for error, count in self._counts.most_common(at_most))


class _Part:
    """Trials of an arm, numbered from 1 in each of its runs: all of them, or those that its model has chosen."""

    def __init__(self, name: str, runs: int) -> None:
        self._name, self._runs = name, runs
        self._each = -(-CERTAIN // runs)  # trials of a run that are looked at together
        self._together: defaultdict[int, list[Ended]] = defaultdict(list)
        self._errors = _Errors()
        self.trials = self.results = 0

    def add(self, trial: Ended, number: int) -> bool:
        """Whether this is the last of so many trials of every run that have all failed of one error."""
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
    """What of a study with all these trials has no result, and why; None where every arm has one."""
    return Losses(spec, trials).nothing()
