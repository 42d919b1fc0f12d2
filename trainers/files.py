"""Files that other processes may read while they are replaced."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from trainers.errors import DataError


@contextmanager
def atomic_write(file: Path) -> Iterator[BinaryIO]:
    """Yield a stream that replaces `file` when complete: others see the old file or all of the new. Raises
    DataError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
            Path(name).chmod(0o644)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"{file}: cannot be written: {error}; TUNEBENCH_DATA_DIR sets the data folder"
        ) from error


def checksum(file: Path) -> str | None:
    """Return a file's SHA-256, None if it is missing. Kept in this process until the file changes. Raises DataError."""
    try:
        status = file.stat()
        return _sum(file.absolute(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=16)
def _sum(file: Path, *as_it_is: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
