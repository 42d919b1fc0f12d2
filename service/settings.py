"""Settings from the environment, read once at the edge."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """`RAY_ADDRESS` is Ray's own: set, that cluster is used; not set, a local one is started."""

    database_url: str
    data_dir: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        return cls(
            database_url=environ.get("TUNEBENCH_DATABASE_URL") or "sqlite:///tunebench.db",
            data_dir=Path(environ.get("TUNEBENCH_DATA_DIR") or Path.home() / ".cache" / "tunebench")
            .expanduser()
            .absolute(),
        )
