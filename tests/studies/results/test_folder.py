import json

import pytest

from studies.errors import StudyError
from studies.results.output_folder import check_folder


def test_a_folder_is_taken_that_is_missing_empty_or_has_an_export_of_the_study(tmp_path):
    check_folder(tmp_path / "none", "s-1")
    check_folder(tmp_path, "s-1")
    (tmp_path / ".figure8.png.0123").write_bytes(b"cut short")
    check_folder(tmp_path, "s-1")
    (tmp_path / "provenance.json").write_text(json.dumps({"study": "s-1"}))
    (tmp_path / "notes.md").touch()
    check_folder(tmp_path, "s-1")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.md": ""}, "has other files in it (notes.md); name a folder that is new or empty"),
        ({"report.md": "", "study.yaml": ""}, "has other files in it (report.md)"),
        ({"provenance.json": '{"study": "s-2"}'}, "has the export of s-2 in it; name another folder"),
        ({"provenance.json": "[]"}, "has the export of something else in it"),
        ({"provenance.json": "{"}, "has the export of something else in it"),
    ],
)
def test_any_other_is_refused(tmp_path, files, said):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(StudyError) as error:
        check_folder(tmp_path, "s-1")
    assert f"--out: {tmp_path} {said}" in str(error.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="is a file; name a folder"):
        check_folder(tmp_path / "file", "s-1")
