import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from studies.errors import StudyError
from studies.running.ray_token import find_ray_token, make_ray_token


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
    with pytest.raises(StudyError, match="empty' is empty; delete the file, and the next start"):
        make_ray_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "empty")})
    with pytest.raises(StudyError, match="cannot be read"):
        find_ray_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path)})
    with pytest.raises(StudyError, match="cannot be written"):
        make_ray_token({"RAY_AUTH_TOKEN_PATH": "/proc/token"})


def test_a_token_that_others_may_read_is_taken_from_them(tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text("theirs too")
    path.chmod(0o644)
    environ = {"RAY_AUTH_TOKEN_PATH": str(path)}
    for _ in range(2):
        assert make_ray_token(environ) == "theirs too"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (told,) = caplog.records
    assert "was open to other users (mode 644) and is now yours alone" in told.getMessage()


def test_the_folder_of_a_token_is_taken_from_others_too(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ray"
    folder.mkdir()
    folder.chmod(0o777)
    made = make_ray_token({})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert make_ray_token({}) == made
    (told,) = caplog.records
    assert f"Ray's token: {folder} was open to other users (mode 777)" in told.getMessage()


def test_a_token_of_another_user_that_all_may_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("known to all")
    path.chmod(0o644)

    def forbidden(self, mode):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", forbidden)
    with pytest.raises(
        StudyError, match=r"token' is open to other users \(mode 644\), and you cannot change that"
    ):
        make_ray_token({"RAY_AUTH_TOKEN_PATH": str(path)})


def test_without_a_home_the_variable_is_named(monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(
        StudyError, match="no home folder for Ray's token; name a file for it with RAY_AUTH_TOKEN_PATH"
    ):
        make_ray_token({})
