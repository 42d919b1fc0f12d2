"""The token that Ray's own ports ask for, looked for where Ray itself looks for it."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from service.errors import SettingError


def find_ray_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """RAY_AUTH_TOKEN, or what the file RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token holds. Raises SettingError."""
    if token := environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = _path(environ)
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"Ray's token {str(path)!r} cannot be read: {error}") from error


def make_ray_token(environ: Mapping[str, str] = os.environ) -> str:
    """The token; where there is none, a new one in a file for this user alone. Raises SettingError."""
    if token := find_ray_token(environ):
        return token
    path = _path(environ)
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.touch(0o600, exist_ok=False)
        new.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):  # another service was faster: its token it is
            path.hardlink_to(new)
        new.unlink()
    except OSError as error:
        raise SettingError(f"Ray's token {str(path)!r} cannot be written: {error}") from error
    if token := find_ray_token(environ):
        return token
    raise SettingError(f"Ray's token {str(path)!r} is empty; remove the file and a new one is made")


def _path(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
