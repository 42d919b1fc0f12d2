"""Published files: downloaded or taken from disk, checked against their checksums, unpacked whole."""

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

from trainers.errors import DataError

MOST_FILES = 100_000  # in an archive: AudioMNIST's has 30,000


@dataclass(frozen=True, slots=True)
class Download:
    """A published file: its address and its MD5, if one is published."""

    url: str
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@contextmanager
def unpacked(
    source: Path | None, downloads: Sequence[Download], root: Path, command: str, most: int
) -> Iterator[Path]:
    """Yield a folder with the contents of `downloads`, fetched if `source` is None, else from that folder or archive.

    Downloaded and unpacked files lie in a temporary folder under `root`. A download must have its checksum, and so must
    an archive with a download's name; an archive of more than `most` bytes is refused. `command` is the one that error
    messages tell the user to run with `--from`. Raises DataError.
    """
    if source is not None and source.is_dir():
        yield source
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".fetch-", dir=root)
    except OSError as error:
        raise DataError(
            f"{root}: cannot be written: {error}; TUNEBENCH_DATA_DIR sets the data folder"
        ) from error
    with temporary as name:
        folder = Path(name)
        if source is None:
            _download(downloads, folder, command, most)
        else:
            _take(source, downloads, folder, most)
        yield folder


def holding(folder: Path, *names: str) -> Path:
    """Return the first folder with one of `names`: `folder`, or one at most two levels below it that is not hidden.

    Raises DataError.
    """
    for pattern in [depth + name for depth in ("", "*/", "*/*/") for name in names]:
        for found in sorted(folder.glob(pattern)):
            if not any(map(is_hidden, found.relative_to(folder).parts)):
                return found.parent
    raise DataError(f"{folder}: holds no {' or '.join(names)}")


def is_hidden(name: str) -> bool:
    """Return whether the file is one that other programs leave: .ipynb_checkpoints, ._x.jpeg, .DS_Store, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def digest(file: Path) -> str:
    """Return the MD5 of a file. Raises DataError."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _download(downloads: Sequence[Download], folder: Path, command: str, most: int) -> None:
    """Download the published files into `folder` and unpack those that are archives."""
    for download in downloads:
        file = folder / download.name
        _get(download.url, file, command)
        _check_md5(file, download.md5)
        if _unpack(file, folder, most):
            file.unlink()


def _take(source: Path, downloads: Sequence[Download], folder: Path, most: int) -> None:
    """Unpack the archive `source` into `folder`."""
    known = {download.name: download.md5 for download in downloads}
    _check_md5(source, known.get(source.name))
    if not _unpack(source, folder, most):
        raise DataError(f"{source}: is neither a folder nor a complete tar or zip archive")


def _check_md5(file: Path, md5: str | None) -> None:
    found = digest(file)
    if md5 is not None and found != md5:
        raise DataError(f"{file}: is not the published file: its md5 is {found}, not {md5}")


def _get(url: str, file: Path, command: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as response, file.open("wb") as stream:
            shutil.copyfileobj(response, stream)
    except (urllib.error.URLError, OSError, ValueError, HTTPException) as error:
        raise DataError(
            f"{url}: cannot be fetched ({error}); download it elsewhere and run: {command} --from PATH"
        ) from error


def _unpack(archive: Path, folder: Path, most: int) -> bool:
    """Unpack at most `most` bytes of `archive` into `folder` and nowhere else; return whether it is an archive."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _check_size((entry.file_size for entry in zipped.infolist()), most)
                zipped.extractall(folder)
            return True
        with _bounded(archive, most) as stream:
            try:
                contents = tarfile.TarFile(fileobj=stream)
            except tarfile.ReadError:
                return False
            with contents:
                _check_size((entry.size for entry in contents), most)
                _extract(contents, folder)
            while stream.read(1 << 20):
                pass  # a compressed archive's checksum follows its contents
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        OSError,
        RuntimeError,
        ValueError,
        OverflowError,
    ) as error:
        raise DataError(f"{archive}: cannot be unpacked completely: {error}") from error
    return True


def _check_size(sizes: Iterable[int], most: int) -> None:
    """Refuse too many or too large files, before anything is unpacked."""
    total = 0
    for count, size in enumerate(sizes, start=1):
        total += size
        if total > most or count > MOST_FILES:
            raise ValueError(_too_large(most))


def _too_large(most: int) -> str:
    return f"it holds more than {most:,} bytes or {MOST_FILES:,} files, so it is not this data set alone"


class _Bounded(io.RawIOBase):
    """A stream that refuses to be read beyond its first `most` bytes."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most = stream, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = self._most - self._stream.tell()
        data = self._stream.read(left + 1 if size < 0 else min(size, left + 1))
        if len(data) > left:
            raise ValueError(_too_large(self._most))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > self._most:
            raise ValueError(_too_large(self._most))
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


@contextmanager
def _bounded(archive: Path, most: int) -> Iterator[_Bounded]:
    """Yield the tar archive inside its compression, if any, bounded with room for the tar's own headers."""
    with archive.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        opener = next((OPENERS[magic] for magic in OPENERS if start.startswith(magic)), None)
        with opener(stream) if opener else nullcontext(stream) as plain:
            yield _Bounded(plain, 2 * most + 1024 * MOST_FILES)


OPENERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


def _extract(contents: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        contents.extractall(folder, filter="data")
        return
    for entry in contents.getmembers():  # Python before 3.11.4
        inside = (folder / entry.name).resolve().is_relative_to(folder.resolve())
        if not inside or not (entry.isfile() or entry.isdir()):
            raise tarfile.TarError(f"{entry.name!r} is not a file or folder inside {folder}")
    contents.extractall(folder)
