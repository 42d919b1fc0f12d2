"""Commands that run studies on this machine."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.backends import LocalDatabase, backend, local_database
from service.commands.options import Database, OptionalService, Runs, Study, Trials
from service.commands.show import tell_export
from service.commands.study_file import changed
from service.commands.terminal import notes, say
from service.errors import StudyUnknown
from studies.errors import SpecError, StudyError
from studies.records import StudyRecord, StudyState
from studies.results.output_folder import check_folder
from studies.results.wording import count

if TYPE_CHECKING:
    from studies.design.spec import StudySpec

HOLD_SECONDS = 60.0  # how long a service leaves a new study to this process, which takes a moment to claim it
OutDir = Annotated[Path | None, typer.Option("--out", help="Folder for the export; else results/STUDY.")]


def run(
    spec: Annotated[Path, typer.Argument(help="Study file, YAML or JSON.")],
    db: Database = None,
    out_dir: OutDir = None,
    runs: Runs = None,
    trials: Trials = None,
) -> None:
    """Run a study here and export it; an unfinished study of the same spec continues where it stopped."""
    from studies.design.spec import from_json

    study_spec = from_json(changed(spec, runs, trials), source=str(spec))
    here = local_database(db)
    out_dir = out_dir or Path("results") / study_spec.study_id
    check_ready(study_spec, here)
    check_folder(out_dir, study_spec.study_id)
    from service.database.engine import connect, upgrade

    upgrade(connect(here.database_url))
    # its driver adds the provenance
    _drive(here, here.store.create_study(study_spec, {}, hold=HOLD_SECONDS), out_dir)


def resume(
    study: Study,
    url: OptionalService = None,
    db: Database = None,
    out_dir: OutDir = None,
) -> None:
    """Resume an unfinished study: at a service if one is given, else here, and then export it."""
    where = backend(url, db)
    if not isinstance(where, LocalDatabase):
        if out_dir is not None:
            raise StudyError(
                "--out is only for a study that runs on this machine; export a study of a service with: "
                f"tunebench export {shlex.quote(study)} --out {shlex.quote(str(out_dir))}{where.option}"
            )
        with where.client() as client:
            found = client.resume(where.find(study).id)
        say(f"{found.id}: {found.state} at {where.url}")
        return
    from studies.design.spec import stored

    try:
        record = where.store.study(study)
    except StudyUnknown as error:
        raise StudyUnknown(
            f"{error}; to resume a study of a service, give the service with --url or TUNEBENCH_URL"
        ) from None
    out_dir = out_dir or Path("results") / record.id
    check_ready(stored(record), where)
    check_folder(out_dir, record.id)
    _drive(where, record, out_dir)


def _drive(here: LocalDatabase, study: StudyRecord, out_dir: Path) -> None:
    """Run what is left, show the progress, export, and print the results."""
    from service.cluster.driver import drive
    from service.commands.progress import StudyProgress
    from studies.design.spec import stored
    from studies.running import ready
    from studies.running.provenance import provenance

    spec = stored(study)
    failed = study.state is StudyState.FAILED and here.store.without_result(study.id) is not None
    if failed or study.state is StudyState.COMPLETED:
        say(f"{study.id} is complete: {study.trials} trials are in the database", notes)
        for _, difference in ready.changed(study.provenance, provenance(spec, here.settings.data_dir)):
            say(f"note: {study.id}: {difference}", notes)
        _conclude(here, study.id, out_dir)
        return
    kept = f", {study.trials} of them done before" if study.trials else ""
    most = "at most " if spec.stop_when else ""
    say(f"{study.id}: {most}{count(spec.planned, 'trial')} on {spec.task_label}{kept}. Starting Ray", notes)
    progress = StudyProgress.of(study, notes)
    again = f"tunebench resume {study.id} --out {shlex.quote(str(out_dir))}{here.option}"
    try:
        with progress:
            state = drive(
                here.store, study, here.settings.data_dir, progress, tell=progress.state, note=progress.note
            )
    except KeyboardInterrupt:
        done = here.store.study_by_id(study.id).trials
        say(
            f"Interrupted: {done} of {spec.planned} trials are stored. Continue with the same command or with: {again}",
            notes,
        )
        raise typer.Exit(130) from None
    if state not in (StudyState.COMPLETED, StudyState.FAILED):
        say(f"{study.id} is {state}, as requested. Continue with: {again}", notes)
        raise typer.Exit(1)
    _conclude(here, study.id, out_dir)


def _conclude(here: LocalDatabase, study: str, out_dir: Path) -> None:
    """Export a study that is over and print its results and why trials failed. Exit with 1 if the study failed."""
    tell_export(here.export(study, out_dir), out_dir)
    found = here.store.study_by_id(study)
    if found.state is StudyState.FAILED:
        say(f"{study} failed: {found.error}", notes)
        raise typer.Exit(1)
    if found.failed:
        from studies.analysis.failures import commonest

        errors = "; ".join(map(str, commonest(here.store.ended(study, failed=True))))
        say(f"note: {found.failed} of {found.trials} trials failed: {errors}", notes)


def check_ready(spec: "StudySpec", here: LocalDatabase) -> None:
    """Raise SpecError with every fault that keeps the study from running here. Nothing is written."""
    from studies.running import capacity, ready

    machines = [capacity.here(spec)] if here.settings.ray_address is None else None
    if faults := ready.faults(spec, here.settings.data_dir, machines):
        raise SpecError(spec.name, faults)
