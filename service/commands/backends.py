"""The two places that studies can be in: a database opened here, or a service."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from service.database.lookup import ambiguous, matching
from service.errors import DatabaseError, SchemaMissing, ServiceError, StoreError, StudyUnknown
from service.settings import Settings, database_url, service_url
from studies.imports import without_garbage_collection
from studies.records import StudyRecord, StudyState, TrialRecord
from trainers.tasks import TASKS

if TYPE_CHECKING:  # the client and the store each import for seconds, and a command needs only one
    from service.client import Client
    from service.database.store import Store
    from service.schemas import ComparisonAnswer, Study, StudySummary

PATIENCE_SECONDS = 5.0  # with a service that does not answer, while a user waits
ANALYSIS_SECONDS = 150.0  # for answers that take a service a while


class Backend(Protocol):
    """The operations that a local database and a service share. All methods raise ServiceError.

    `option` is the command-line option that names this backend to another command.
    """

    option: str

    def studies(
        self, *, states: Sequence[StudyState] = (), task: str | None = None, label: str | None = None
    ) -> Iterable["StudySummary"]:
        """Return the studies in any of these states, with this task and label, newest first."""

    def find(self, key: str) -> "Study":
        """Return the study that `key` names, by the rules of `service.database.lookup`."""

    def comparison(self, study: str) -> "ComparisonAnswer":
        """Return the comparison of the arms of the study with this id."""

    def export(self, study: str, folder: Path) -> "ComparisonAnswer":
        """Write the study with this id into the folder, and return its comparison."""


class LocalDatabase:
    """A database that this process opens. Other settings are read from the environment only when they are needed."""

    def __init__(self, database_url: str, environ: Mapping[str, str], option: str = "") -> None:
        self.database_url, self.option = database_url, option
        self._environ = environ

    @cached_property
    def settings(self) -> Settings:
        """The settings from the environment, with this database. Raises SettingError."""
        return replace(Settings.from_environment(self._environ), database_url=self.database_url)

    @cached_property
    def store(self) -> "Store":
        from service.database.engine import connect
        from service.database.store import Store

        try:
            return Store(connect(self.database_url))
        except SchemaMissing as error:  # its message ends with the command that helps
            raise DatabaseError(f"{error}{self.option}", error.fault) from error

    def exists(self) -> bool:
        """Return whether there is a database yet."""
        from service.database.engine import connect, exists

        return exists(connect(self.database_url))

    def studies(
        self, *, states: Sequence[StudyState] = (), task: str | None = None, label: str | None = None
    ) -> Iterable["StudySummary"]:
        from service.schemas import StudySummary

        return map(StudySummary.of, self.store.studies(states=states, task=task, label=label))

    def find(self, key: str) -> "Study":
        from service.schemas import Study

        record = self.store.study(key)
        best = self.store.incumbents(record.id, maximize=TASKS[record.task].direction == "maximize")
        return Study.of(record, best, dashboard=None)

    def comparison(self, study: str) -> "ComparisonAnswer":
        record = self.store.study_by_id(study)
        return self._compared(record, self.store.trials(study), self.store.epoch_range_by_arm(study))

    def export(self, study: str, folder: Path) -> "ComparisonAnswer":
        with without_garbage_collection():
            from studies.results.export import export

        record = self.store.study_by_id(study)
        trials = self.store.trials(study, with_epochs=True, with_series=True)
        compared = self._compared(record, trials)
        export(record, trials, folder, compared.comparison, self.store.confirmations(study))
        return compared

    def _compared(
        self,
        record: StudyRecord,
        trials: Sequence[TrialRecord],
        epochs: Mapping[str, Sequence[int]] | None = None,
    ) -> "ComparisonAnswer":
        from service.schemas import ComparisonAnswer
        from studies.analysis.comparison import compare

        confirmations = self.store.confirmations(record.id)
        return ComparisonAnswer.of(record.last_event, compare(record, trials, epochs, confirmations))


class RemoteService:
    """A service, reached over HTTP."""

    def __init__(self, url: str) -> None:
        self.url, self.option = url, f" --url {shlex.quote(url)}"

    def client(self, patience: float = PATIENCE_SECONDS) -> "Client":
        from service.client import Client

        return Client(self.url, timeout=patience)

    def studies(
        self, *, states: Sequence[StudyState] = (), task: str | None = None, label: str | None = None
    ) -> Iterable["StudySummary"]:
        with self.client() as client:
            yield from client.studies(states=states, task=task, label=label)

    def find(self, key: str, *, whole: bool = False) -> "Study":
        """Return the study that `key` fits; with `whole`, only if `key` is its full id or name."""
        from service.client.errors import NotFound

        with self.client() as client:
            with suppress(NotFound):
                return client.study(key)
            there = [(study.id, study.name) for study in client.studies()]
            matches = matching(key, there, whole=whole)
            if len(matches) == 1:
                return client.study(matches[0])
        if matches:
            raise StoreError(ambiguous(key, matches))
        if fits := matching(key, there):
            raise StudyUnknown(
                f"give the study's full id or name, got {key!r}, which matches {', '.join(fits[:20])}"
            )
        known = ", ".join(id for id, _ in there[:20]) + ", ..." * (len(there) > 20)
        raise StudyUnknown(
            f"no study {key!r} at {self.url}; "
            + (f"the studies are {known}" if there else "there are no studies yet")
        )

    def comparison(self, study: str) -> "ComparisonAnswer":
        with self.client(ANALYSIS_SECONDS) as client:
            return client.comparison(study)

    def export(self, study: str, folder: Path) -> "ComparisonAnswer":
        with self.client(ANALYSIS_SECONDS) as client:
            client.export(study, folder)
        return self.comparison(study)


def backend(
    url: str | None, db: str | None, environ: Mapping[str, str] = os.environ
) -> LocalDatabase | RemoteService:
    """Return the backend: `--url` or `--db`, else TUNEBENCH_URL, else TUNEBENCH_DATABASE_URL, else ./tunebench.db."""
    if url and db:
        raise ServiceError("--url names a service and --db a database on this machine: give only one of them")
    if db or not (url or environ.get("TUNEBENCH_URL")):
        return local_database(db, environ)
    return remote_service(url, environ)


def remote_service(url: str | None, environ: Mapping[str, str] = os.environ) -> RemoteService:
    """Return the service: `--url`, else TUNEBENCH_URL, else a service on this machine."""
    return RemoteService(service_url(url, environ))


def local_database(db: str | None, environ: Mapping[str, str] = os.environ) -> LocalDatabase:
    """Return the database: `--db`, else TUNEBENCH_DATABASE_URL, else ./tunebench.db. Raises SettingError."""
    database = database_url(db, environ)
    # another command needs `--db` to find it only if it was given here, or if TUNEBENCH_URL would come first
    if not (db or environ.get("TUNEBENCH_URL")):
        return LocalDatabase(database, environ)
    shown = re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", database)
    return LocalDatabase(database, environ, f" --db {shlex.quote(shown)}")
