"""The process that computes analyses, `python -m service.api.analyst NICENESS`, and the client that asks it over pipes.

So the service itself never loads SciPy or Matplotlib, and quick answers never wait for a computation.
"""

import asyncio
import json
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import IO, Any

from service import priority
from service.database.engine import connect
from service.database.store import Store
from service.errors import AnalysisStopped, ServiceError, StoreError
from studies.analysis.estimate import Estimate
from studies.design.spec import StudySpec, stored
from studies.encoding import number
from studies.errors import StudyError
from studies.records import ConfirmationRecord, Outcome, StudyRecord, TrialRecord
from studies.results.table_names import FORM_NAMES, TABLE_NAMES

IDLE_SECONDS = 60.0  # without a request, after which the process ends
LONGEST_SECONDS = 120.0  # of one computation
RECORDED = ("traces", "differing-signs")  # tables of series that trainings recorded by step
LENGTH = struct.Struct("!Q")  # of the message that follows
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Computed:
    """An analysis as bytes, of the study created at `created_at`, with its events up to `last_event`."""

    created_at: datetime
    last_event: int
    content: bytes


class Analyst:
    """A process that computes one analysis at a time, asked by a thread of its own.

    The first request starts the process. It is replaced if it was killed. It ends after `IDLE_SECONDS` without a
    request, or with the service.
    """

    def __init__(self, url: str, niceness: int) -> None:
        self._url, self._niceness = url, niceness
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyst")
        self._busy = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._retirement: threading.Timer | None = None
        self._closed = False

    async def ask(self, study: str, what: str) -> Computed:
        """Compute `what`, a key of `ANALYSES`. Raises what the computation raises.

        Raises AnalysisStopped if the process and its replacement were killed, or after `LONGEST_SECONDS`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, study, what)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._retire()
        if self._retirement is not None:
            self._retirement.cancel()

    def _compute(self, study: str, what: str) -> Computed:
        with self._busy:
            if self._retirement is not None:
                self._retirement.cancel()
            try:
                answer = self._answer(study, what)
            finally:
                self._retirement = threading.Timer(IDLE_SECONDS, self._retire)
                self._retirement.daemon = True
                self._retirement.start()
        if isinstance(answer, Exception):
            raise answer
        return Computed(*answer)

    def _answer(self, study: str, what: str) -> Any:
        for _ in range(2):
            if self._closed:
                break
            with suppress(EOFError, BrokenPipeError):
                process = self._started()
                assert process.stdin is not None
                assert process.stdout is not None
                _send(process.stdin, (study, what))
                answers = select.poll()
                answers.register(process.stdout, select.POLLIN)
                if answers.poll(1000 * LONGEST_SECONDS):
                    return _receive(process.stdout)
                self._end()
                raise AnalysisStopped(
                    f"computing {what} of study {study} takes longer than {LONGEST_SECONDS:g} seconds"
                )
            self._end()
        raise AnalysisStopped(
            f"the process that computes {what} of study {study} was killed before it finished"
        )

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.api.analyst", str(self._niceness)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | ONE_THREAD,
                start_new_session=True,
            )
            assert self._process.stdin is not None
            _send(self._process.stdin, self._url)
        return self._process

    def _retire(self) -> None:
        if self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()

    def _end(self) -> None:
        """Kill the process, which has no state to lose. The next request starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(BrokenPipeError), process:  # closes the pipes and waits for its end
                pass


def _curves(store: Store, study: StudyRecord) -> bytes:
    from studies.analysis.comparison import label
    from studies.analysis.curves import centre, of_study
    from studies.analysis.decision import up_to_decision

    spec, arms = stored(study), {}
    worths = {arm.name: _Means() for arm in spec.arms}
    outcomes: Sequence[Outcome]
    if spec.confirm is None and spec.stop_when is None:
        outcomes = store.outcomes(study.id)
    else:
        spec, trials, confirmations = up_to_decision(
            spec, store.trials(study.id), store.confirmations(study.id)
        )
        outcomes = trials
        if spec.confirm is not None:
            worths = _incumbent_means(spec, trials, confirmations)
    for name, curves in of_study(spec, outcomes).items():
        middle = centre(curves)
        arms[name] = {
            "runs": [
                {"run": run, "best_so_far": [number(value) for value in best]}
                for run, best in enumerate(curves.runs, start=1)
            ],
            "n": [after.n for after in middle],
            **_columns("median", [after.median for after in middle]),
            **_columns("mean", [after.mean for after in middle]),
            "held_out": [None if e.value is None else number(e.value) for e in worths[name].held_out],
            **_columns("confirmed", worths[name].confirmed),
            "label": label(name, spec.arm(name).method),
        }
    task = spec.task_definition()
    return _json(
        {
            "task": study.task,
            "task_label": study.task_label,
            "last_event": study.last_event,
            "study": study.id,
            "metric": task.metric,
            "direction": task.direction,
            "runs": spec.runs,
            "trials": spec.trials,
            "arms": arms,
        }
    )


@dataclass(frozen=True, slots=True)
class _Means:
    """Means over an arm's runs after each trial; empty in a study that confirms no incumbents."""

    held_out: Sequence[Estimate] = ()
    confirmed: Sequence[Estimate] = ()


def _incumbent_means(
    spec: StudySpec, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord]
) -> dict[str, _Means]:
    """Return the mean test metrics of each arm's incumbents and of their confirmations."""
    from studies.analysis.confirmation import worth
    from studies.analysis.curves import means

    found = {arm.name: worth(spec, arm.name, trials, confirmations) for arm in spec.arms}
    return {name: _Means(means(of.held_out), means(of.confirmed)) for name, of in found.items()}


def _columns(what: str, estimates: Sequence[Estimate]) -> dict[str, list[float | str | None]]:
    """Return the estimates' values, lower ends, upper ends and levels, under names that start with `what`."""
    parts = {
        what: [e.value for e in estimates],
        f"{what}_low": [e.low for e in estimates],
        f"{what}_high": [e.high for e in estimates],
        f"{what}_level": [e.level for e in estimates],
    }
    return {name: [None if x is None else number(x) for x in values] for name, values in parts.items()}


def _comparison(store: Store, study: StudyRecord) -> bytes:
    from service.schemas import ComparisonAnswer
    from studies.analysis.comparison import compare

    records, confirmations = store.trials(study.id), store.confirmations(study.id)
    comparison = compare(study, records, store.epoch_range_by_arm(study.id), confirmations)
    return _json(ComparisonAnswer.of(study.last_event, comparison).model_dump(mode="json"))


def _differing_signs(store: Store, study: StudyRecord) -> bytes:
    from studies.analysis.comparison import label
    from studies.analysis.decision import up_to_decision
    from studies.analysis.recorded import differing, pairs_of_signs

    spec = stored(study)
    found = []
    recorded = store.trials(study.id, with_series=True) if spec.record.signs else []
    spec, trials, _ = up_to_decision(spec, recorded, ())
    for a, b in pairs_of_signs(spec):
        if (traces := differing(spec, trials, (a.name, b.name))) is not None:
            runs = zip(traces.numbers, traces.runs.tolist(), strict=True)
            found.append(
                {
                    "first": a.name,
                    "second": b.name,
                    "first_label": label(a.name, a.method),
                    "second_label": label(b.name, b.method),
                    "steps": traces.steps.tolist(),
                    "runs": [{"run": run, "differing": [*map(number, counts)]} for run, counts in runs],
                    "mean": [*map(number, traces.mean.tolist())],
                }
            )
    return _json({"study": study.id, "last_event": study.last_event, "pairs": found})


def _figure(store: Store, study: StudyRecord, kind: str) -> bytes:
    from studies.results.export import image

    return image(study, store.trials(study.id), kind, store.confirmations(study.id))


def _archive(store: Store, study: StudyRecord) -> bytes:
    from studies.results.export import archive

    trials = store.trials(study.id, with_epochs=True, with_series=True)
    confirmations = store.confirmations(study.id)
    return archive(study, trials, confirmations=confirmations)


def _table(store: Store, study: StudyRecord, name: str, form: str) -> bytes:
    from studies.results.data_tables import table

    trials: list[TrialRecord] = []
    if name != "confirmations":
        trials = store.trials(study.id, with_epochs=name == "epochs", with_series=name in RECORDED)
    confirmations = [] if name in ("trials", "epochs", *RECORDED) else store.confirmations(study.id)
    return table(study, trials, name, form, confirmations)


ANALYSES: dict[str, Callable[[Store, StudyRecord], bytes]] = {
    "curves": _curves,
    "comparison": _comparison,
    "differing-signs": _differing_signs,
    **{f"figure8.{kind}": partial(_figure, kind=kind) for kind in ("png", "svg", "pdf")},
    "export.zip": _archive,
    **{
        f"{name}.{form}": partial(_table, name=name, form=form) for name in TABLE_NAMES for form in FORM_NAMES
    },
}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal: the service decides when to stop
    priority.lower_own_priority(int(sys.argv[1]))  # requests that need no computation go first
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    url = _receive(source)
    store: Store | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            study, what = _receive(source)
            answer: tuple[datetime, int, bytes] | Exception
            try:
                store = store or Store(connect(url))
                record = store.study_by_id(study)
                answer = (record.created_at, record.last_event, ANALYSES[what](store, record))
            except StudyError as error:
                answer = StoreError(
                    f"study {study} was stored by another version of tunebench and cannot be read: {error}"
                )
            except ServiceError as error:
                answer = error
            except Exception:
                answer = RuntimeError(f"{what} of study {study}:\n{traceback.format_exc()}")
            _send(sink, answer)


def _send(sink: IO[bytes], message: object) -> None:
    content = pickle.dumps(message)
    sink.write(LENGTH.pack(len(content)) + content)
    sink.flush()


def _receive(source: IO[bytes]) -> Any:
    """Return the next message. Raises EOFError if the other side is gone."""
    content = _exactly(source, *LENGTH.unpack(_exactly(source, LENGTH.size)))
    return pickle.loads(content)


def _exactly(source: IO[bytes], size: int) -> bytes:
    if len(content := source.read(size)) < size:
        raise EOFError
    return content


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
