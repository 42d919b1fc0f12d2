"""A study under `tunebench serve` against `tunebench run`.

    python tests/benchmarks/service_study.py [--rounds 3] [--runs 5] [--trials 12]

Runs a smaller version of Figure 8's study on real Ray, both ways in turn, each in its own database. The seconds of
`tunebench run` count from the start of the command, those of the service from the submission, both to the completed
study: the service's Ray is already up, as wherever it serves. Also prints the seconds from the submission to the first
running trial.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
import killable
from killable import Service, Study, wait

from service.settings import Settings
from studies.records import StudyState


def alone(folder: Path) -> float:
    """Return the wall seconds of `tunebench run`, from its start to the completed study."""
    study = Study(folder)
    began = time.time()
    assert study.start(at_a_time=os.cpu_count()).wait() == 0, study.log()
    (record,) = study.store.studies()
    return record.finished_at.timestamp() - began


def served(service: Service) -> tuple[float, float]:
    """Return the wall seconds from the submission to the completed study, and to the first trial running."""
    began = time.time()
    study = service.submit()
    wait(lambda: service.store.study(study).state is StudyState.COMPLETED, 3600)
    record, trials = service.store.study(study), service.store.trials(study)
    service.store.delete(study)
    first = min(trial.started_at for trial in trials)
    return record.finished_at.timestamp() - began, first.timestamp() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args()
    killable.SPEC |= {"runs": options.runs, "trials": options.trials, "searcher": "ax"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        source = Settings.from_environment().data_dir / "spoken-digits"
        (folder / "data" / "spoken-digits").symlink_to(source)
        service = Service(
            folder / "service", f"sqlite:///{folder}/served.db", folder / "data", os.cpu_count()
        )
        pairs = []
        for number in range(options.rounds):
            by_command = alone(folder / f"alone-{number}")
            service.start()
            try:
                wait(lambda: httpx.get(f"{service.url}/readyz").json()["ray"] == "ok", 60)
                by_service, first = served(service)
            finally:
                service.stop()
            pairs.append((by_service / by_command, first))
            print(
                f"tunebench run {by_command:.1f} s, the service {by_service:.1f} s: {pairs[-1][0]:.3f}; "
                f"first trial running after {first:.1f} s",
                flush=True,
            )
    ratio, first = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"median ratio {ratio:.3f}, first trial running after {first:.1f} s")


if __name__ == "__main__":
    main()
