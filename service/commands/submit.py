"""Commands that queue, watch, edit and stop studies at a service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.backends import RemoteService, remote_service
from service.commands.options import AsJson, Runs, Service, Study, Trials, WholeStudy, Yes
from service.commands.show import done, tell
from service.commands.study_file import changed
from service.commands.terminal import confirm_or_exit, notes, print_json, say
from studies.records import StudyState
from studies.results.wording import count

if TYPE_CHECKING:
    from service.client import Client
    from service.commands.progress import StudyProgress
    from service.schemas import Study as StudyFound

WATCH_SECONDS = 600.0  # how long a watch waits for a service to come back


# eight parameters: typer makes each an option of the command
def submit(
    spec: Annotated[Path, typer.Argument(help="Study file, YAML or JSON.")],
    url: Service = None,
    label: Annotated[list[str] | None, typer.Option(help="A label; may be repeated.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher first, -100 to 100; else 0.")] = None,
    runs: Runs = None,
    trials: Trials = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the study's progress until it is finished.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a study at a service; an existing study of the same spec is left as it is."""
    study = changed(spec, runs, trials)
    where = remote_service(url)
    with where.client() as client:
        queued = client.submit(study, labels=label or (), priority=priority or 0)
    if as_json:
        print_json(queued.model_dump(mode="json"))
    else:
        say(f"{queued.id}: {queued.state} at {where.url}")
        if priority not in (None, queued.priority) or not {*(label or ())} <= {*queued.labels}:
            say(
                "It was stored before, and its labels and priority stay: change them with tunebench edit",
                notes,
            )
    if watch:
        _watch(where, queued)


def watch(study: Study, url: Service = None) -> None:
    """Show a study's progress until it is finished; the study runs whether it is watched or not."""
    where = remote_service(url)
    _watch(where, where.find(study))


def edit(
    study: Study,
    url: Service = None,
    priority: Annotated[int | None, typer.Option(help="Higher first, -100 to 100.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label to add; may be repeated.")] = None,
    unlabel: Annotated[list[str] | None, typer.Option(help="A label to remove; may be repeated.")] = None,
    name: Annotated[str | None, typer.Option(help="A new name; the id stays.")] = None,
) -> None:
    """Change a study's priority, labels or name."""
    where = remote_service(url)
    found = where.find(study)
    labels = {*found.labels, *(label or ())} - {*(unlabel or ())}
    with where.client() as client:
        now = client.edit(
            found.id, priority=priority, name=name, labels=sorted(labels) if label or unlabel else None
        )
    labelled = f", labels {', '.join(now.labels)}" if now.labels else ""
    say(f"{now.id}: {now.state}, priority {now.priority}{labelled}, name {now.name}")


def pause(
    study: Study,
    url: Service = None,
    now: Annotated[bool, typer.Option("--now", help="Give up the trials in flight.")] = False,
) -> None:
    """Stop a study after the trials in flight and free the cluster. A pause does not change which trials it has."""
    where = remote_service(url)
    with where.client() as client:
        _tell(where, client.pause(where.find(study).id, now=now))


def cancel(study: WholeStudy, url: Service = None) -> None:
    """Stop a study and keep its trials; if it is resumed, it continues where it was."""
    where = remote_service(url)
    with where.client() as client:
        _tell(where, client.cancel(where.find(study, whole=True).id))


def delete(study: WholeStudy, url: Service = None, yes: Yes = False) -> None:
    """Remove a finished study with all its trials, for good."""
    where = remote_service(url)
    found = where.find(study, whole=True)
    trials = count(done(found), "trial")
    confirm_or_exit(f"{found.id} at {where.url} and its {trials} will be deleted for good.", yes)
    with where.client() as client:
        client.delete(found.id)
    say(f"{found.id} and its {trials} are deleted from {where.url}")


def logs(
    study: Study,
    url: Service = None,
    tail: Annotated[int, typer.Option(help="How many lines from the end.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing new lines.")] = False,
) -> None:
    """Print the log of a study's job."""
    where = remote_service(url)
    with where.client() as client:
        line = None
        for line in client.logs(where.find(study).id, tail=tail, follow=follow):
            say(line)
    if line is None:
        say("the study's job has printed nothing yet", notes)


def _tell(where: RemoteService, study: "StudyFound") -> None:
    asked = f", asked to {study.requested}" if study.requested else ""
    say(f"{study.id}: {study.state}{asked} at {where.url}")


def _state(study: "StudyFound") -> str:
    if study.requested:
        return f"asked to {study.requested}"
    return f"{study.state}: {study.trouble}" if study.trouble else study.state


def _shown(client: "Client", study: "StudyFound", progress: "StudyProgress") -> "StudyFound":
    """Show the study's progress until it is finished. Return the finished study."""
    from service.schemas import Trial

    for seen in client.watch(study.id):
        if isinstance(seen, Trial):
            progress(seen)
        else:
            study = seen
            progress.state(_state(seen))
    return study


def _watch(where: RemoteService, study: "StudyFound") -> None:
    from service.commands.progress import StudyProgress

    progress = StudyProgress(
        tuple(study.arms),
        study.runs * study.budget,
        metric=study.metric,
        maximize=study.direction == "maximize",
        before=done(study),
        console=notes,
    )
    try:
        with where.client(WATCH_SECONDS) as client, progress:
            study = _shown(client, study, progress)
    except KeyboardInterrupt:
        again = f"tunebench watch {study.id}{where.option}"
        say(f"Stopped watching. {study.id} continues at {where.url}; watch it again with: {again}", notes)
        raise typer.Exit(130) from None
    if study.state is not StudyState.COMPLETED:
        say(f"{study.id}: {study.state}" + (f": {study.error}" if study.error else ""), notes)
        raise typer.Exit(1)
    say(f"{study.id}: {study.state}", notes)
    tell(where.comparison(study.id))
