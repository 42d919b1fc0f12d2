"""What every data set must do."""

from pathlib import Path

import pytest

from trainers.data import DATASETS
from trainers.errors import DataError


@pytest.mark.parametrize("name", DATASETS)
def test_missing_names_the_file_and_the_command(name: str, tmp_path: Path) -> None:
    data = DATASETS[name]
    assert data.path(tmp_path).is_relative_to(tmp_path / name)
    for ask in (lambda: data.load(tmp_path, 0), lambda: data.check_data(tmp_path)):
        with pytest.raises(DataError, match=rf"{name}/.*: missing; run: tunebench data fetch {name}( |$)"):
            ask()


@pytest.mark.parametrize("name", DATASETS)
def test_of_what_is_missing_the_origin_is_not_known(name: str, tmp_path: Path) -> None:
    assert DATASETS[name].origin(tmp_path) == {"sha256": None, "published": None}


@pytest.mark.parametrize("name", DATASETS)
def test_a_source_that_is_none_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        DATASETS[name].fetch(tmp_path, tmp_path / "nowhere")
    assert not DATASETS[name].path(tmp_path).exists()
