"""A study against its floor: the same suggestions, trainings and confirmations without Ray and a database.

    python tests/benchmarks/study_floor.py [--runs 20] [--trials 25] [--rounds 1]

Both do every trial of figure8-spoken-digits.yaml from a cold start, one after the other, as whole processes. The floor
is a bare process per core; each takes the next run and alternates suggestion and training.
Prints wall seconds of both, their ratio, and the study's peak resident memory over all its processes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil

import studies
from service.settings import Settings
from studies.analysis.confirmation import representatives
from studies.design.searchers import Observation
from studies.design.spec import from_json, load
from studies.running.schedule import Confirms
from studies.running.trial import assign, assign_confirmation, choose, train

# as Ray does for its workers: one thread per process, for every library
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

SPEC = Path(studies.__file__).parent / "specs" / "quist2023" / "figure8-spoken-digits.yaml"


def bare_run(spec_json: dict, method: str, run: int) -> list[float]:
    """Do one run's trials in this process, as a study does, but without Ray and the database."""
    spec = from_json(spec_json)
    history: tuple[Observation, ...] = ()
    for _ in range(spec.trials):
        assignment = assign(
            spec, spec.arm(method), run, history, data_dir=Settings.from_environment().data_dir
        )
        suggestion, _ = choose(assignment)
        *_, last = train(assignment, suggestion)
        history += (Observation(suggestion.hyperparameters, last.validation_metric),)
    confirm(spec, method, run, history)
    return [observation.objective for observation in history if observation.objective is not None]


def confirm(spec, arm: str, run: int, history: tuple[Observation, ...]) -> None:
    """Train the run's incumbents again."""
    objectives, chosen = [o.objective for o in history], [o.hyperparameters for o in history]
    direction = spec.task_definition().direction
    for trial in dict.fromkeys(representatives(objectives, chosen, direction)):
        for number in range(1, (spec.confirm.seeds if spec.confirm and trial else 0) + 1):
            confirms = Confirms(trial, number, chosen[trial - 1])
            assignment = assign_confirmation(
                spec, spec.arm(arm), run, confirms, data_dir=Settings.from_environment().data_dir
            )
            list(train(assignment, choose(assignment)[0]))


def floor(spec) -> tuple[float, dict[tuple[str, int], list[float]]]:
    start = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        # the most expensive runs first, so that the processes end together
        keys = [
            (m.name, run)
            for m in sorted(spec.arms, key=lambda m: -len(m.space))
            for run in range(1, spec.runs + 1)
        ]
        found = {key: pool.submit(bare_run, spec.to_json(), *key) for key in keys}
        objectives = {key: future.result() for key, future in found.items()}
    return time.perf_counter() - start, objectives


def study(spec, folder: Path) -> tuple[float, int, dict[tuple[str, int], list[float]]]:
    from service.database.engine import connect
    from service.database.store import Store

    url = f"sqlite:///{folder}/study.db"
    command = [sys.executable, "-m", "service.cli", "run", str(SPEC), "--db", url, "--out", str(folder)]
    command += ["--runs", str(spec.runs), "--trials", str(spec.trials)]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, resident(root))
            time.sleep(0.5)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"the study ended with {process.returncode}")
    store = Store(connect(url))
    objectives: dict[tuple[str, int], list[float]] = {}
    for trial in store.trials(spec.study_id):
        objectives.setdefault((trial.arm, trial.run), []).append(trial.objective)
    return seconds, peak, objectives


def resident(root: psutil.Process) -> int:
    """Return the bytes resident in the process and all below it; shared pages are counted in each process."""
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    spec = load(SPEC)
    spec = from_json(spec.to_json() | {"runs": arguments.runs, "trials": arguments.trials})
    trials = len(spec.arms) * spec.runs * spec.trials
    print(f"{trials} trials on {os.cpu_count()} cores: python {' '.join(sys.argv)}", flush=True)
    for number in range(1, arguments.rounds + 1):
        bare, expected = floor(spec)
        print(f"round {number}: floor {bare:7.1f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            whole, peak, objectives = study(spec, Path(folder))
        same = "the same" if objectives == expected else "DIFFERENT"
        print(
            f"round {number}: study {whole:7.1f} s, ratio {whole / bare:.2f}, "
            f"peak resident {peak / 1e9:.1f} GB, objectives {same}",
            flush=True,
        )


if __name__ == "__main__":
    main()
