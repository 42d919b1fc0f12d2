"""The token that Ray's own ports ask for, kept where Ray itself looks for it: whoever has it can run code."""

import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from studies.errors import StudyError
from studies.running.ray_folder import NOWHERE

OTHERS = 0o077

log = logging.getLogger("tunebench.ray")


def find_ray_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return RAY_AUTH_TOKEN, or the contents of RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, if any. Raises StudyError."""
    if token := environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = _path(environ)
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"Ray's token {str(path)!r} cannot be read: {error}") from error


def make_ray_token(environ: Mapping[str, str] = os.environ) -> str:
    """Return the token, in a file for this user alone; make a new one if there is none. Raises StudyError."""
    if environ.get("RAY_AUTH_TOKEN", "").strip():
        return environ["RAY_AUTH_TOKEN"].strip()
    path = _path(environ)
    if not environ.get("RAY_AUTH_TOKEN_PATH"):  # the folder is Ray's and holds nothing for others
        _tighten(path.parent)
    _tighten(path)
    if token := find_ray_token(environ):
        return token
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.touch(0o600, exist_ok=False)
        new.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was faster: its token counts
            path.hardlink_to(new)
        new.unlink()
    except OSError as error:
        raise StudyError(
            f"Ray's token {str(path)!r} cannot be written: {error.strerror}; name another file with "
            "RAY_AUTH_TOKEN_PATH"
        ) from error
    if token := find_ray_token(environ):
        return token
    raise StudyError(
        f"Ray's token {str(path)!r} is empty; delete the file, and the next start makes a new token"
    )


def _tighten(path: Path) -> None:
    """Deny other users all access to the token or its folder. Raises StudyError if this user cannot."""
    with suppress(FileNotFoundError):
        allowed = path.stat().st_mode & 0o777
        if not allowed & OTHERS:
            return
        try:
            path.chmod(allowed & ~OTHERS)
        except OSError as error:
            raise StudyError(
                f"Ray's token {str(path)!r} is open to other users (mode {allowed:o}), and you cannot change that; "
                "name a file of your own with RAY_AUTH_TOKEN_PATH"
            ) from error
        log.warning(
            "Ray's token: %s was open to other users (mode %o) and is now yours alone; if somebody may have read or "
            "replaced the token, delete it, and the next start makes a new one",
            path,
            allowed,
        )


def _path(environ: Mapping[str, str]) -> Path:
    if named := environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(named)
    home = os.path.expanduser("~")  # noqa: PTH111
    if home in ("~", NOWHERE):
        raise StudyError(
            "this user has no home folder for Ray's token; name a file for it with RAY_AUTH_TOKEN_PATH"
        )
    return Path(home) / ".ray" / "auth_token"
