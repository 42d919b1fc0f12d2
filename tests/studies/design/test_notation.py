import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.design.notation import parse, read, write
from studies.design.size import MOST_BYTES, MOST_VALUES
from studies.errors import StudyError

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, word) for word in ("yes", "no", "on", "off", "y", "n", "tRUE", "nULL")),
        *zip(("0", "42", "-1", "+12", "0042", "010", "0o17", "0xFf"), (0, 42, -1, 12, 42, 10, 15, 255), strict=True),
        *zip((".5", "5.", "1e3", "1e-4", "-1E+2", "00.5"), (0.5, 5.0, 1e3, 1e-4, -100.0, 0.5), strict=True),
        *zip((".inf", "-.INF", "+.Inf"), (math.inf, -math.inf, math.inf), strict=True),
        *((word, word) for word in ("0b11", "2024-02-29", "0o8", "inf", "nan", "1e", ".", "-1-", "1-2", "=", "1.2.3")),
        *((f"'{word}'", word) for word in ("42", "true", "1_000", "1:30")),
        ("!!str 42", "42"),
    ],
)  # fmt: skip
def test_a_word_is_what_yaml_1_2_says(word, value):
    (found,) = parse(f"a: {word}\n").values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("word", ["1_000", "-1_000", "1:30", "1:30:00", "1_0.5", "2_5e3"])
def test_numbers_of_yaml_1_1_alone_are_refused(word):
    with pytest.raises(ValueError, match=f"'{word}' is a number in YAML 1.1 only; .* in line 2, column 4"):
        parse(f"b: 1\na: {word}\n")


def test_merge_keys():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {y: 3, <<: [*b, {z: 4, x: 5}]}\n"
    assert parse(text) == {"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3, "z": 4}}


@pytest.mark.parametrize(
    "text",
    ['{\n\t"a": [1, 2.5],\n\t"b": null\n}\n', '{"a":[1,2.5],"b":null}', '\t{"a": [1,\t2.5], "b":\n null}'],
)
def test_json_is_read_as_json(text):
    assert parse(text) == {"a": [1, 2.5], "b": None}


def test_of_broken_json_both_readers_faults_are_told():
    with pytest.raises(
        ValueError, match=r"line 2, column 1; it is not JSON either: .* double quotes: line 3 column 2"
    ):
        parse('{\n\t"a": 1,\n}\n'.replace("}", "\t}"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["name: é\n", '{"name": "é"}'])
def test_any_unicode_encoding(tmp_path, encoding, text):
    (tmp_path / "s.yaml").write_bytes(text.encode(encoding))
    assert read(tmp_path / "s.yaml") == {"name": "é"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: [", "expected the node content, but found '<stream end>', in line 1, column 8"),
        ("a: 1\na: 2", "key 'a' is given twice, in line 2, column 1"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice, in line 1, column 10"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "key '<<' is given twice"),
        ("? [a]\n: b", "a key must be a string"),
        ("1: b", "a key must be a string"),
        ("true: b", "a key must be a string"),
        ("<<: 1", "expected a mapping"),
        ("<<: [1]", "expected a mapping"),
        ("a: 1\n---\na: 2", "found another document, in line 2, column 1"),
        ("a: &x [*x]", "an alias is inside the value that it refers to"),
        ("a: *b", "undefined alias 'b'"),
        ("a:\n\tb: 1", r"found character '\\t' that cannot start any token, in line 2, column 1"),
        ("a: \x07", "special characters are not allowed, at character 3"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!binary aGk=", "could not determine a constructor"),
        ("a: !!timestamp 2024-02-29", "could not determine a constructor"),
        ("a: !!int abc", "'abc' is not a valid int"),
        ("a: !!bool yes", "'yes' is not a valid bool"),
        ("a: !!float [1]", "expected a scalar node"),
        (f"a: {'1' * 5000}", "is not a valid int"),
        (f"a: 0x{'f' * 5000}", "is not a valid int"),
    ],
)
def test_what_is_no_study_file_is_refused_in_a_line(tmp_path, text, fault):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(StudyError, match=fault) as refusal:
        read(tmp_path / "s.yaml")
    in_a_line(str(refusal.value), f"{tmp_path / 's.yaml'}: is not YAML: ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * 5000, "nested deeper than 50"),
        ("- " * 5000, "nested deeper than 50"),
        ('{"a":' * 5000, "nested deeper than 50"),
        (LAUGHS, f"holds more than {MOST_VALUES:,} values"),
        (f"[{'1, ' * 20_000}]", f"holds more than {MOST_VALUES:,} values"),
        (LAUGHS[:50] + "]\nb: {<<: [" + "*a, " * 2000 + "]}", f"holds more than {MOST_VALUES:,} values"),
    ],
)
def test_what_is_too_much_is_told_as_that(tmp_path, text, fault):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(StudyError, match=fault) as refusal:
        read(tmp_path / "s.yaml")
    in_a_line(str(refusal.value), f"{tmp_path / 's.yaml'}: exceeds a limit: it ")


def in_a_line(message, start):
    assert message.startswith(start)
    assert "\n" not in message
    assert len(message) < len(start) + 230


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("name: é\n".encode("latin-1"), "cannot be read: it is not UTF-8 at byte 6; save it as UTF-8"),
        (b"\xff\xfe\x00", "cannot be read: it is not UTF-16"),
        (b" " * (MOST_BYTES + 1), "cannot be read: a study file has at most 1 MiB"),
    ],
)
def test_what_cannot_be_read(tmp_path, content, fault):
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(StudyError, match=fault):
        read(tmp_path / "s.yaml")


def test_an_endless_file_is_not_read_to_its_end():
    with pytest.raises(StudyError, match="/dev/zero: cannot be read: a study file has at most 1 MiB"):
        read(Path("/dev/zero"))


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=9), plain, max_size=5))
def test_what_is_written_reads_back(values):
    assert parse(json.dumps(values)) == values
    assert parse(write(values)) == values


def test_what_is_written_reads_back_by_yaml_1_1_too():
    words = [
        "010",
        "0o10",
        "1e3",
        "yes",
        "off",
        "~",
        "",
        "1:30",
        "1_000",
        "0b11",
        "2024-02-29",
        "<<",
        "=",
        "a",
    ]
    values = {"words": words, "numbers": [1e-5, 1e20, 5e-324, -0.0, 10, 2**63], "rest": [True, None]}
    assert parse(write(values)) == yaml.safe_load(write(values)) == values


@given(
    st.text()
    | st.lists(st.sampled_from([*"{}[]:,-?&*!|>'\"%@`#~ \n\t.x1", "<<", "&a", "*a", "---", "!!"])).map(
        "".join
    )
)
def test_any_text_is_read_or_refused(text):
    with suppress(ValueError):
        json.dumps(parse(text))
