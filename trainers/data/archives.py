"""Published files: downloaded or taken from disk, checked against their checksums, unpacked whole."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import DataError


@dataclass(frozen=True, slots=True)
class Download:
    """A published file: its address and, where one is published, its MD5."""

    url: str
    md5: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@contextmanager
def unpacked(source: Path | None, downloads: Sequence[Download], root: Path, command: str) -> Iterator[Path]:
    """A folder with what `downloads` hold: fetched where `source` is None, else `source`, a folder or an archive.

    What is downloaded or unpacked lies in a temporary folder under `root`. A download, and an archive that
    has the name of one, must have its checksum. `command` is what the user is told to run with `--from`.
    Raises DataError.
    """
    if source is not None and source.is_dir():
        yield source
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".fetch-", dir=root)
    except OSError as error:
        raise DataError(f"{root}: cannot be written: {error}") from error
    with temporary as name:
        folder = Path(name)
        if source is not None:
            known = {download.name: download.md5 for download in downloads}
            _check(source, known.get(source.name))
            if not _unpack(source, folder):
                raise DataError(f"{source}: is neither a folder nor a whole tar or zip archive")
        else:
            for download in downloads:
                file = folder / download.name
                _get(download.url, file, command)
                _check(file, download.md5)
                if _unpack(file, folder):
                    file.unlink()
        yield folder


def holding(folder: Path, *names: str) -> Path:
    """The first folder, `folder` itself or one at most two below it, that has one of `names`. Raises DataError."""
    for depth in ("", "*/", "*/*/"):
        for name in names:
            for found in sorted(folder.glob(depth + name)):
                return found.parent
    raise DataError(f"{folder}: holds no {' or '.join(names)}")


def digest(file: Path) -> str:
    """The MD5 of a file. Raises DataError."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _check(file: Path, md5: str | None) -> None:
    found = digest(file)
    if md5 is not None and found != md5:
        raise DataError(f"{file}: is not the published file: md5 {found}, not {md5}")


def _get(url: str, file: Path, command: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=60) as response, file.open("wb") as stream:
            shutil.copyfileobj(response, stream)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DataError(
            f"{url}: cannot be fetched ({error}); download it elsewhere and run: {command} --from PATH"
        ) from error


def _unpack(archive: Path, folder: Path) -> bool:
    """Whether `archive` is one; what it holds is put into `folder`, and nothing anywhere else."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as contents:
                contents.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as contents:
                _extract(contents, folder)
                while contents.fileobj and contents.fileobj.read(1 << 20):
                    pass  # a compressed archive's checksum lies behind its end
        else:
            return False
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        OSError,
        ValueError,
        OverflowError,
    ) as error:
        raise DataError(f"{archive}: cannot be unpacked whole: {error}") from error
    return True


def _extract(contents: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        contents.extractall(folder, filter="data")
        return
    for entry in contents.getmembers():  # Python before 3.11.4
        inside = (folder / entry.name).resolve().is_relative_to(folder.resolve())
        if not inside or not (entry.isfile() or entry.isdir()):
            raise tarfile.TarError(f"{entry.name!r} is no file or folder below where it is unpacked")
    contents.extractall(folder)
