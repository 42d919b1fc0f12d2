"""Settings from the environment, read once at the edge."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.errors import SettingError

DEFAULT_URL = "http://127.0.0.1:8000"


def service_url(given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the service's URL: `given`, else TUNEBENCH_URL, else one on this machine."""
    return (environ.get("TUNEBENCH_URL") or DEFAULT_URL) if given is None else given


def service_token(given: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the token for the service: `given`, else TUNEBENCH_TOKEN."""
    return environ.get("TUNEBENCH_TOKEN") or None if given is None else given


def database_url(given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the database's URL: `given`, else TUNEBENCH_DATABASE_URL, else ./tunebench.db. Raises SettingError."""
    return given or _secret(environ, "TUNEBENCH_DATABASE_URL") or "sqlite:///tunebench.db"


@dataclass(frozen=True)
class Settings:
    """The service's settings. Ray's own variable `RAY_ADDRESS` names the cluster to use; else a local one starts."""

    database_url: str
    data_dir: Path
    ray_address: str | None = None
    ray_dashboard: str = "http://127.0.0.1:8265"  # of the cluster at RAY_ADDRESS
    max_running_studies: int = 1  # at once, of all services that share the database
    max_trials: int = 20_000  # of one study
    max_streams: int = 1_000  # open event streams and followed logs

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings. Raises SettingError, which names the variable, its value and what is allowed."""
        return cls(
            database_url=database_url(None, environ),
            data_dir=_data_dir(environ),
            ray_address=environ.get("RAY_ADDRESS") or None,
            ray_dashboard=environ.get("TUNEBENCH_RAY_DASHBOARD") or cls.ray_dashboard,
            max_running_studies=_whole(environ, "TUNEBENCH_MAX_RUNNING_STUDIES", cls.max_running_studies),
            max_trials=_whole(environ, "TUNEBENCH_MAX_TRIALS", cls.max_trials),
            max_streams=_whole(environ, "TUNEBENCH_MAX_STREAMS", cls.max_streams),
        )


def _data_dir(environ: Mapping[str, str]) -> Path:
    try:
        return Path(environ.get("TUNEBENCH_DATA_DIR") or "~/.cache/tunebench").expanduser().absolute()
    except RuntimeError as error:
        raise SettingError(
            "this user has no home folder; set TUNEBENCH_DATA_DIR to a folder for data sets"
        ) from error


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    """Return the variable's value, or the content of the file that `<variable>_FILE` names."""
    if (value := environ.get(name)) or not (path := environ.get(f"{name}_FILE")):
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{name}_FILE {path!r} cannot be read: {error}") from error


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise SettingError(f"{name} must be a whole number from 1 to 1000000, got {text!r}")
    return int(text)
