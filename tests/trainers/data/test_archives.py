import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from trainers.data import archives
from trainers.data.archives import Download, digest, holding, unpacked
from trainers.data.arrays import read_arrays, write_arrays
from trainers.errors import DataError


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A folder that stands in for the official address, with an archive of set/numbers.txt."""
    folder = tmp_path / "official"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "numbers.txt").write_text("1 2 3")
    with tarfile.open(folder / "set.tar.gz", "w:gz") as archive:
        archive.add(folder / "set", "set")
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.write(folder / "set" / "numbers.txt", "set/numbers.txt")
    return folder


def taken(source: Path | None, download: Download, root: Path) -> str:
    with unpacked(source, [download], root, "fetch it", 10_000) as folder:
        text = (holding(folder, "numbers.txt") / "numbers.txt").read_text()
    assert not list(root.glob(".fetch-*"))
    return text


@pytest.mark.parametrize("name", ["set.tar.gz", "set.zip"])
def test_downloaded_or_from_an_archive_or_a_folder(name: str, official: Path, tmp_path: Path) -> None:
    file = official / name
    download = Download(file.as_uri(), digest(file))
    for source in (None, file, official, official / "set"):
        assert taken(source, download, tmp_path / "data") == "1 2 3"


def test_another_file_than_the_published_one_is_refused(official: Path, tmp_path: Path) -> None:
    file = official / "set.zip"
    download = Download(file.as_uri(), "0" * 32)
    for source in (None, file):
        with pytest.raises(
            DataError, match=rf"set\.zip: is not the published file: its md5 is {digest(file)}, not 000"
        ):
            taken(source, download, tmp_path)
    renamed = file.rename(official / "mine.zip")  # no checksum is known for another name
    assert taken(renamed, download, tmp_path) == "1 2 3"


def test_no_network_says_what_to_do(tmp_path: Path) -> None:
    download = Download("http://127.0.0.1:9/set.zip")
    with pytest.raises(
        DataError, match=r"127\.0\.0\.1:9/set\.zip: cannot be fetched \(.*run: fetch it --from PATH"
    ):
        taken(None, download, tmp_path)
    with pytest.raises(DataError, match="cannot be fetched"):
        taken(None, Download((tmp_path / "nowhere.zip").as_uri()), tmp_path)


@pytest.mark.parametrize("name", ["set.tar.gz", "set.zip"])
@pytest.mark.parametrize("damage", ["truncated", "one byte", "empty", "text"])
def test_damaged_archive_is_named(damage: str, name: str, official: Path, tmp_path: Path) -> None:
    file = official / name
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    elif damage == "one byte":
        place = data.index(b"1 2 3") if name == "set.zip" else len(data) // 2
        data[place] ^= 0xFF
    else:
        data = bytearray(b"" if damage == "empty" else b"<html>not found</html>")
    file.write_bytes(data)
    with pytest.raises(
        DataError, match=rf"{file}: (cannot be unpacked completely|is neither a folder nor a complete)"
    ):
        taken(file, Download(file.as_uri()), tmp_path)


@pytest.mark.parametrize("flip", [0x01, 0x10, 0x80, 0xFF])
def test_every_damaged_byte_of_a_compressed_archive_is_found(flip: int, tmp_path: Path) -> None:
    contents = io.BytesIO()
    with tarfile.open(fileobj=contents, mode="w") as archive:
        entry = tarfile.TarInfo("set/numbers.txt")
        entry.size, entry.mtime = 5, 1_700_000_000
        archive.addfile(entry, io.BytesIO(b"1 2 3"))
    data = gzip.compress(contents.getvalue(), mtime=0)
    file = tmp_path / "set.tar.gz"
    for place in range(10, len(data)):  # after the header: nothing depends on its time and system
        damaged = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
        with suppress(OSError, EOFError, zlib.error):
            if gzip.decompress(damaged) == contents.getvalue():
                continue  # the bit has no meaning, or encodes the same zeros in another way
        file.write_bytes(damaged)
        with pytest.raises(
            DataError, match=r"cannot be unpacked completely|is neither a folder nor a complete"
        ):
            taken(file, Download(file.as_uri()), tmp_path / str(place))


def test_source_that_is_not_there_and_folder_without_the_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: cannot be read: No such file"):
        taken(tmp_path / "nowhere", Download("http://127.0.0.1:9/set.zip"), tmp_path)
    with pytest.raises(DataError, match=rf"{tmp_path}: holds no a or b"):
        holding(tmp_path, "a", "b")


def test_archive_cannot_write_outside(tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "evil", "../../../evil-was-here")
    with pytest.raises(DataError, match=r"evil\.tar: cannot be unpacked completely"):
        taken(tmp_path / "evil.tar", Download("http://127.0.0.1:9/x"), tmp_path / "data")


def bomb(name: str, file: Path) -> None:
    """Write a small archive of 30 MB of zeros: in a file, in a name's own header, or behind the archive's end."""
    zeros = io.BytesIO(bytes(30_000_000))
    if name.endswith(".zip"):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("set/numbers.txt", zeros.getbuffer())
        return
    entry = tarfile.TarInfo("set/numbers.txt")
    entry.size = 0 if "behind" in name else 30_000_000
    if "name" in name:
        entry.type = tarfile.GNUTYPE_LONGNAME
    contents = entry.tobuf(tarfile.GNU_FORMAT) + zeros.getbuffer() + bytes(1024)
    if "behind" in name:
        contents = entry.tobuf() + bytes(1024) + zeros.getbuffer()
    file.write_bytes(lzma.compress(contents, preset=0) if name.endswith("xz") else gzip.compress(contents, 1))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.xz", "x-name.tar.gz", "x-behind.tar.gz"])
def test_no_more_is_unpacked_than_the_set_can_have(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 1000)
    file = tmp_path / name
    bomb(name, file)
    assert file.stat().st_size < 1_000_000
    tracemalloc.start()
    with (
        pytest.raises(
            DataError, match=rf"{name}: cannot be unpacked completely: it holds more than [\d,]+ bytes or"
        ),
        unpacked(file, [Download("http://127.0.0.1:9/x")], tmp_path / "data", "fetch it", 10_000),
    ):
        pass
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert not list((tmp_path / "data").iterdir())


def test_more_files_than_the_set_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        for i in range(4):
            zipped.writestr(f"{i}", "")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i in range(4):
            archive.addfile(tarfile.TarInfo(f"{i}"))
    for name in ("x.zip", "x.tar"):
        with pytest.raises(DataError, match=r"more than 10,000 bytes or 3 files"):
            taken(tmp_path / name, Download("http://127.0.0.1:9/x"), tmp_path / "data")


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: cannot be written"):
        taken(None, Download("http://127.0.0.1:9/x"), tmp_path / "file")
    with pytest.raises(DataError, match=r"numbers\.npz: cannot be written"):
        write_arrays(tmp_path / "file" / "numbers.npz", {"x": np.zeros(3)})


def of_zeros(shape: tuple[int, ...], kind: str) -> bytes:
    """Return an array's header and its first sixteen bytes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(16)


@pytest.mark.parametrize(
    ("array", "compression", "message"),
    [
        (
            of_zeros((10**13,), "<f8"),
            zipfile.ZIP_STORED,
            r"x has 16 bytes, but its header says \(10+,\) of float64",
        ),
        (of_zeros((2,), "|O"), zipfile.ZIP_STORED, r"x has \d+ bytes, but its header says \(2,\) of object"),
        (of_zeros((2,), "<f8") + bytes(30_000_000), zipfile.ZIP_DEFLATED, "x is compressed"),
        (
            of_zeros((2,), "<f8").replace(b"NUMPY\1", b"NUMPY\3"),
            zipfile.ZIP_STORED,
            r"x has a header of version",
        ),
        (b"x", zipfile.ZIP_STORED, "EOF"),
    ],
)
def test_what_a_file_says_of_its_arrays_is_checked_first(
    array: bytes, compression: int, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "numbers.npz"
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("x.npy", array)
    with pytest.raises(DataError, match=rf"{file}: damaged \(.*{message}.*\); delete it and run: fetch it"):
        read_arrays(file, ("x",), "fetch it")


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "other arrays", "missing"])
def test_kept_arrays_that_are_damaged(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "numbers.npz"
    write_arrays(file, {"x": np.arange(1000), "y": np.ones(3)})
    assert [entry.name for entry in tmp_path.iterdir()] == ["numbers.npz"]
    x, y = read_arrays(file, ("x", "y"), "fetch it")
    assert x.sum() == 499500
    assert y.tolist() == [1, 1, 1]
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        del data[1000:]
    elif damage == "one bit":
        data[len(data) // 2] ^= 1
    elif damage == "empty":
        data.clear()
    file.write_bytes(data)
    names = ("x", "z") if damage == "other arrays" else ("x", "y")
    if damage == "missing":
        file.unlink()
    expected = (
        "missing; run: fetch it" if damage == "missing" else r"damaged \(.*\); delete it and run: fetch it"
    )
    with pytest.raises(DataError, match=rf"{file}: {expected}"):
        read_arrays(file, names, "fetch it")
