import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import SettingError
from service.ray_token import find_ray_token, make_ray_token


def test_the_token_is_looked_for_where_ray_does(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_ray_token({}) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of the home\n")
    assert find_ray_token({}) == "of the home"
    (tmp_path / "file").write_text("of the file")
    named = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "file")}
    assert find_ray_token(named) == "of the file"
    assert (
        find_ray_token(named | {"RAY_AUTH_TOKEN": "itself"})
        == make_ray_token({"RAY_AUTH_TOKEN": "itself"})
        == "itself"
    )


def test_a_new_token_is_for_this_user_alone_and_made_once(tmp_path):
    path = tmp_path / "ray" / "token"
    environ = {"RAY_AUTH_TOKEN_PATH": str(path)}
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: make_ray_token(environ), range(32)))
    assert made == {find_ray_token(environ)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["token"]
    assert len(path.read_text()) == 64


def test_a_token_that_cannot_be_is_told(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(SettingError, match="empty' is empty; remove the file"):
        make_ray_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "empty")})
    with pytest.raises(SettingError, match="cannot be read"):
        find_ray_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path)})
    with pytest.raises(SettingError, match="cannot be written"):
        make_ray_token({"RAY_AUTH_TOKEN_PATH": "/proc/token"})
