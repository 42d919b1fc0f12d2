"""A SQLite database's file: never created by accident; an error when it is gone or was replaced."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from service.errors import DatabaseError


class SqliteFile:
    """The file at a path, which must stay the same file from the first connection on. Threads may share it."""

    def __init__(self, path: Path, lock_seconds: float) -> None:
        self.path, self._lock_seconds = path.absolute(), lock_seconds
        self._identity: tuple[int, int] | None = None

    def exists(self) -> bool:
        """Return whether the file exists. Raises DatabaseError if the file that was opened is gone or was replaced."""
        self.require_same_file()
        return self.path.exists()

    def make(self) -> None:
        """Create the file, empty, if there is none. Only its owner may read it, as it will hold tokens' digests."""
        if not self.exists():
            try:
                self.path.touch(mode=0o600)
            except OSError as error:
                raise DatabaseError(
                    f"database {self.path} cannot be created: {error.strerror}; check its folder's permissions"
                ) from error

    def open(self) -> sqlite3.Connection:
        """Return a new connection, which can only read if this process may not write."""
        self.require_same_file()
        name = f"file:{quote(os.fsencode(self.path))}?mode={self._mode()}"
        connection = sqlite3.connect(name, uri=True, timeout=self._lock_seconds, check_same_thread=False)
        self._identity = self._identity or self._found()
        return connection

    def require_same_file(self) -> None:
        """Raise DatabaseError if the path no longer leads to the file that was opened first.

        A process with that file open would go on writing what nobody will read.
        """
        if self._identity is None or (found := self._found()) == self._identity:
            return
        gone = "was deleted or moved" if found is None else "was replaced by another file"
        raise DatabaseError(
            f"database {self.path} {gone} while it was in use; put it back, or restart the programs that use it",
            f"{gone} while it was in use",
        )

    def keep_write_ahead_log(self) -> None:
        """Let readers and a writer work at once from now on. The file keeps this. Not possible in a transaction."""
        with closing(self.open()) as connection:
            deadline = time.monotonic() + self._lock_seconds
            while not _switch_to_wal(connection, must=time.monotonic() > deadline):
                time.sleep(0.01)

    def _mode(self) -> str:
        if os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK):
            return "rw"
        # A file that nobody has open has no log beside it. To read, SQLite would create a log, which it may not do
        # here, unless it is told that nobody writes.
        return "ro" if Path(f"{self.path}-wal").exists() else "ro&immutable=1"

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def _switch_to_wal(connection: sqlite3.Connection, *, must: bool) -> bool:
    """Turn on the write-ahead log. Returns False if another process is doing the same just now; raises if it `must`.

    SQLite does not wait by itself here.
    """
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if must or not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        return False
    return True
