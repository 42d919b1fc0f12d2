"""The files that a browser fetches besides the pages, kept in memory and compressed once."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

IMPORT = re.compile(r'from "\./([a-z]+\.js)"')
STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PLOTLY = f"plotly-{version('plotly')}.min.js"


@dataclass(frozen=True)
class Asset:
    media_type: str
    content: bytes
    compressed: bytes


class Assets:
    """The files by their paths. All paths change when any file does, so that browsers may keep the files for ever.

    The scripts import each other by relative paths, so one digest for all files stands before the name.
    """

    def __init__(self) -> None:
        files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in TYPES}
        digest = hashlib.sha256(repr(files).encode()).hexdigest()[:12]
        self._paths = {name: f"{digest}/{name}" for name in files}
        self._assets = {self._paths[name]: _asset(name, content) for name, content in files.items()}

    def url(self, name: str) -> str:
        """Return the file's URL, relative to the service's root. Raises KeyError."""
        return f"static/{PLOTLY if name == PLOTLY else self._paths[name]}"

    def scripts(self, name: str) -> list[str]:
        """Return the URLs of all that a script imports, directly or not, so that they are fetched at once."""
        found = [name]
        for script in found:
            imported = IMPORT.findall(self._assets[self._paths[script]].content.decode())
            found += [other for other in imported if other not in found]
        return [self.url(other) for other in found[1:]]

    def get(self, path: str) -> Asset | None:
        """Return the file at `/static/<path>`, None if there is none."""
        return _plotly() if path == PLOTLY else self._assets.get(path)


@cache
def _plotly() -> Asset:
    """Return plotly.js as the plotly package ships it. Its folder is found without importing the package."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return _asset(path.name, path.read_bytes())


def _asset(name: str, content: bytes) -> Asset:
    return Asset(TYPES[Path(name).suffix], content, gzip.compress(content, 6, mtime=0))
