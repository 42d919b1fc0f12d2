"""The `tunebench` command."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.database import connect, upgrade
from service.errors import ServiceError
from service.settings import Settings
from service.store import Store
from studies.errors import StudyError
from studies.records import StudyRecord, StudyState
from studies.spec import StudySpec, from_json, load
from trainers.errors import DataError

app = typer.Typer(
    help="What a hyperparameter costs: tuning studies of binary neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
database_app = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(database_app, name="db")

out = Console()
progress = Console(stderr=True)

DatabaseUrl = Annotated[
    str | None, typer.Option("--db", help="Database URL; else TUNEBENCH_DATABASE_URL, else ./tunebench.db")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command; what a user can put right is one message and exit code 2."""
    try:
        app()
    except (StudyError, ServiceError, DataError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="Study file, YAML or JSON.")],
    db: DatabaseUrl = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Export here; else results/STUDY.")] = None,
    runs: Annotated[int | None, typer.Option(help="Runs a method, instead of the file's.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials a run, instead of the file's.")] = None,
) -> None:
    """Run a study and export it; an unfinished study of the same spec goes on where it stopped."""
    study_spec = load(spec)
    overrides = {key: value for key, value in (("runs", runs), ("trials", trials)) if value is not None}
    study_spec = from_json(study_spec.to_json() | overrides, source=str(spec))
    settings = _settings(db)
    out_dir = out_dir or Path("results") / study_spec.study_id
    _check_ready(study_spec, settings, out_dir)
    engine = connect(settings.database_url)
    upgrade(engine)
    store = Store(engine)
    from studies.provenance import provenance

    _drive(store, store.create_study(study_spec, provenance()), settings, out_dir)


@app.command()
def resume(
    study: Annotated[str, typer.Argument(help="Study id, its name, or the start of its id.")],
    db: DatabaseUrl = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Export here; else results/STUDY.")] = None,
) -> None:
    """Go on with an unfinished study and export it."""
    settings = _settings(db)
    store = Store(connect(settings.database_url))
    record = store.study(study)
    out_dir = out_dir or Path("results") / record.id
    _check_ready(from_json(record.spec), settings, out_dir)
    _drive(store, record, settings, out_dir)


@app.command("list")
def list_studies(db: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the studies, the newest first."""
    store = _store(db)
    counts = store.trial_counts()
    rows = [
        {
            "study": study.id,
            "state": study.state,
            "task": study.spec["task"],
            "methods": [method["name"] for method in study.spec["methods"]],
            "trials": counts.get(study.id, 0),
            "planned": from_json(study.spec).planned,
            "created": study.created_at.isoformat(timespec="seconds"),
        }
        for study in store.studies()
    ]
    _print_rows(rows, as_json, empty="no studies yet; run one: tunebench run SPEC")


@app.command()
def show(
    study: Annotated[str, typer.Argument(help="Study id, its name, or the start of its id.")],
    db: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show a study: its state, each method's best, the comparison in words."""
    from studies.comparison import compare
    from studies.summary import summary

    store = _store(db)
    record = store.study(study)
    trials = store.trials(record.id)
    comparison = compare(record, trials)
    if as_json:
        times = {key: getattr(record, key) for key in ("created_at", "started_at", "finished_at")}
        _print_json(
            {
                "id": record.id,
                "name": record.name,
                "state": record.state,
                **{key: time and time.isoformat() for key, time in times.items()},
                "error": record.error,
                "trials": len(trials),
                "planned": from_json(record.spec).planned,
                "spec": record.spec,
                "provenance": record.provenance,
                "comparison": comparison,
            }
        )
        return
    out.print(
        f"[bold]{record.id}[/bold]  {record.state}, {len(trials)} of {from_json(record.spec).planned} trials"
    )
    if record.error:
        out.print(f"stopped: {record.error}", markup=False)
    better = 1 if from_json(record.spec).task_definition().direction == "maximize" else -1
    for method in record.spec["methods"]:
        own = [t for t in trials if t.method == method["name"] and t.objective is not None]
        if not own:
            out.print(f"  {method['name']}: no result yet")
            continue
        best = max(own, key=lambda t: better * (t.objective or 0.0))
        values = ", ".join(f"{k} = {_number(v)}" for k, v in best.hyperparameters.items())
        out.print(
            f"  {method['name']}: best {best.objective:.1%} (test {best.test_metric:.1%}), "
            f"run {best.run} trial {best.trial}, with {values}",
            highlight=False,
        )
    out.print(summary(comparison), markup=False, highlight=False)


@app.command()
def export(
    study: Annotated[str, typer.Argument(help="Study id, its name, or the start of its id.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write to; made where it is missing.")],
    db: DatabaseUrl = None,
) -> None:
    """Write a study's figure, curves, trials, comparison, provenance and report, also while it runs."""
    store = _store(db)
    _export(store, store.study(study), out_dir)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the training methods and their search spaces."""
    from studies.methods import METHODS
    from studies.space import searched, to_json

    rows = [
        {
            "method": name,
            "dimensions": len(searched(method.space)),
            "space": {key: to_json(dimension) for key, dimension in method.space.items()},
            "summary": method.summary,
            "source": method.source,
        }
        for name, method in METHODS.items()
    ]
    _print_rows(rows, as_json)


@app.command()
def tasks(as_json: AsJson = False) -> None:
    """List the tasks."""
    from trainers.tasks import TASKS

    rows = [
        {
            "task": task.name,
            "data": task.dataset,
            "model": task.model,
            "metric": f"{task.metric} ({task.direction})",
            "epochs": task.recipe.epochs,
            "summary": task.summary,
        }
        for task in TASKS.values()
    ]
    _print_rows(rows, as_json)


@app.command()
def searchers(as_json: AsJson = False) -> None:
    """List the searchers."""
    from studies.searchers import SEARCHERS

    rows = [
        {"searcher": name, "summary": (suggest.__doc__ or "").splitlines()[0]}
        for name, suggest in SEARCHERS.items()
    ]
    _print_rows(rows, as_json)


@data_app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the data sets and whether they are here."""
    from trainers.data import DATASETS

    folder = Settings.from_environment().data_dir
    rows = [
        {
            "data": name,
            "here": data.path(folder).exists(),
            "path": str(data.path(folder)),
            "summary": data.summary,
        }
        for name, data in DATASETS.items()
    ]
    _print_rows(rows, as_json)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A data set of `tunebench data list`.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A file or folder already here, instead of the network.")
    ] = None,
) -> None:
    """Fetch a data set and check it whole."""
    from trainers.data import DATASETS

    if name not in DATASETS:
        raise StudyError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    folder = Settings.from_environment().data_dir
    if source is not None or not DATASETS[name].path(folder).exists():
        progress.print(f"Fetching {name}", soft_wrap=True)
    out.print(f"{name} is here, checked: {DATASETS[name].fetch(folder, source)}", soft_wrap=True)


@database_app.command("upgrade")
def upgrade_database(db: DatabaseUrl = None) -> None:
    """Create the database's tables or bring them up to date."""
    url = _settings(db).database_url
    upgrade(connect(url))
    out.print("The database is up to date.")


def _drive(store: Store, study: StudyRecord, settings: Settings, out_dir: Path) -> None:
    """Run what is left with progress, export, and say what came out."""
    from service.driver import drive
    from service.progress import StudyProgress

    spec = from_json(study.spec)
    history = store.trials(study.id)
    planned = spec.planned
    if study.state is StudyState.COMPLETED:
        progress.print(f"{study.id} is complete: {planned} trials are in the database", soft_wrap=True)
    else:
        kept = f", {len(history)} of them done before" if history else ""
        progress.print(f"{study.id}: {planned} trials{kept}. Starting Ray", soft_wrap=True)
        watch = StudyProgress(spec, history, progress)
        try:
            with watch:
                drive(store, study, settings.data_dir, watch)
        except KeyboardInterrupt:
            done = store.trial_counts().get(study.id, 0)
            progress.print(
                f"Interrupted: {done} of {planned} trials are kept; the same command goes on from there, "
                f"as does: tunebench resume {study.id} --out {out_dir}",
                soft_wrap=True,
            )
            raise typer.Exit(130) from None
    _export(store, store.study(study.id), out_dir)


def _export(store: Store, study: StudyRecord, folder: Path) -> None:
    from studies.comparison import compare
    from studies.export import export
    from studies.summary import summary

    trials = store.trials(study.id, with_epochs=True)
    export(study, trials, folder)
    out.print(
        f"Figure: {folder / 'figure8.png'}\nReport: {folder / 'report.md'}", soft_wrap=True, highlight=False
    )
    out.print(summary(compare(study, trials)), markup=False, highlight=False)


def _check_ready(spec: StudySpec, settings: Settings, folder: Path) -> None:
    """Raise before anything is written where the data are missing or damaged, or the export cannot be written."""
    from trainers.data import DATASETS

    DATASETS[spec.task_definition().dataset].load(settings.data_dir, 0)
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"--out: {folder} is a file; name a folder")


def _settings(db: str | None) -> Settings:
    settings = Settings.from_environment()
    return Settings(database_url=db or settings.database_url, data_dir=settings.data_dir)


def _store(db: str | None) -> Store:
    return Store(connect(_settings(db).database_url))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _print_rows(rows: Sequence[dict[str, Any]], as_json: bool, empty: str = "none") -> None:
    if as_json:
        _print_json(rows)
        return
    if not rows:
        out.print(empty)
        return
    table = Table(*rows[0], box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value))
        case dict():
            return "\n".join(f"{key}: {_dimension(entry)}" for key, entry in value.items())
        case _:
            return str(value)


def _dimension(entry: Any) -> str:
    match entry:
        case {"low": low, "high": high, "log": log}:
            return f"{low:g} to {high:g}{', log' if log else ''}"
        case list():
            return " or ".join(str(value).lower() for value in entry)
        case _:
            return str(entry)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()


if __name__ == "__main__":
    main()
