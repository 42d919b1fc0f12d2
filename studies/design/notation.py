"""Study files as plain values: JSON, or YAML 1.2 with its core schema, in any Unicode encoding.

PyYAML reads and writes YAML, with the core schema's scalars in place of YAML 1.1's, in which 010 is 8, 1:30 is 90 and
`no` is false. (ruamel.yaml supports 1.2, but still does not read 1_000, 0b11 and dates as strings.)
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from studies.design.size import MOST_BYTES, MOST_DEPTH, MOST_DIGITS, MOST_VALUES
from studies.errors import StudyError

TAG = "tag:yaml.org,2002:"
NULL = re.compile(r"(~|null|Null|NULL)?$")
BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)$")
INT = re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
FLOAT = re.compile(
    r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
OLD = re.compile(r"[-+]?[0-9]+([_:][0-9]+)+(\.[0-9_]*)?([eE][-+]?[0-9]+)?$")  # 1_000, 1:30
# YAML 1.2.2, section 10.3.2: plain scalars that are not strings, their first characters and their values
CORE: dict[str, tuple[re.Pattern[str], list[str], Callable[[str], Any]]] = {
    "null": (NULL, ["", *"~nN"], lambda _: None),
    "bool": (BOOL, [*"tTfF"], lambda word: word.lower() == "true"),
    "int": (INT, [*"-+0123456789"], lambda word: int(word, {"0o": 8, "0x": 16}.get(word[:2], 10))),
    "float": (FLOAT, [*"-+.0123456789"], lambda word: float(re.sub(r"\.(?=[a-zA-Z])", "", word))),
}


def read(path: Path) -> Any:
    """Read a file without checking its keys: a service may know more than this version. Raises StudyError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error}") from error
    if len(content) > MOST_BYTES:
        raise StudyError(f"{path}: cannot be read: a study file has at most {MOST_BYTES // 2**20} MiB")
    try:
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        fault = f"it is not {error.encoding.upper()} at byte {error.start}; save it as UTF-8"
        raise StudyError(f"{path}: cannot be read: {fault}") from error
    try:
        return parse(text)
    except ValueError as error:
        raise StudyError(f"{path}: {error}") from error


def parse(text: str) -> Any:
    """Parse JSON or YAML. Raises ValueError that says where the text is neither, or holds too much."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        in_json = f"; it is not JSON either: {error}" if text.lstrip().startswith("{") else ""
    try:
        return yaml.load(text, Loader=_Loader)
    except _TooMuchError as error:
        raise ValueError(f"exceeds a limit: it {_where(error)}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {_where(error)}{in_json}") from error


def write(value: Any) -> str:
    """Return the value as YAML that reads back the same, also as YAML 1.1."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")  # YAML's reader says where
    return found


def _where(error: yaml.YAMLError) -> str:
    match error:
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark() as mark):
            return f"{error.problem}, in line {mark.line + 1}, column {mark.column + 1}"
        case yaml.reader.ReaderError():
            return f"{error.reason}, at character {error.position}"
        case _:
            return str(error).replace("\n", " ")


class _TooMuchError(ComposerError):
    """A text, valid YAML as far as it was read, that holds more than a study may."""


class _Loader(yaml.SafeLoader):
    """Loads plain values by the core schema, and merge keys. Each key is a string given once; all of it is bounded."""

    yaml_constructors: ClassVar = {
        f"{TAG}{kind}": yaml.SafeLoader.yaml_constructors[f"{TAG}{kind}"] for kind in ("str", "seq", "map")
    } | {None: yaml.SafeLoader.construct_undefined}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._composed = 0
        self._sizes: dict[yaml.Node, int] = {}  # values in each node, aliases expanded

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and count its values, those of an alias each time it is used."""
        alias = self.check_event(yaml.AliasEvent)
        where = parent.start_mark if parent else None
        if self._depth > MOST_DEPTH:
            raise _TooMuchError(None, None, f"is nested deeper than {MOST_DEPTH}", where)
        before = self._composed
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None
        if alias and node not in self._sizes:
            raise ComposerError(None, None, "an alias is inside the value that it refers to", where)
        self._composed += self._sizes[node] if alias else 1
        if self._composed > MOST_VALUES:
            fault = f"holds more than {MOST_VALUES:,} values, with each alias counted as the value that it refers to"
            raise _TooMuchError(None, None, fault, where)
        self._sizes[node] = self._composed - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag not in (f"{TAG}str", f"{TAG}merge"):
                raise ComposerError(None, None, "a key must be a string", key.start_mark)
            if key.value in seen:
                raise ComposerError(None, None, f"key {key.value!r:.80} is given twice", key.start_mark)
            seen.add(key.value)
        return node

    def construct_core(self, node: yaml.ScalarNode) -> Any:
        kind, word = node.tag.removeprefix(TAG), self.construct_scalar(node)
        pattern, _, value = CORE[kind]
        if not pattern.match(word) or len(word) > MOST_DIGITS:
            raise ConstructorError(None, None, f"{word!r:.40} is not a valid {kind}", node.start_mark)
        return value(word)

    def construct_old(self, node: yaml.ScalarNode) -> Any:
        fault = f"{node.value!r:.40} is a number in YAML 1.1 only; write it without _ and :"
        raise ConstructorError(None, None, fault, node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes strings that the core schema or YAML 1.1 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first, _) in CORE.items():
    _Loader.add_implicit_resolver(f"{TAG}{_kind}", _pattern, _first)
    _Loader.add_constructor(f"{TAG}{_kind}", _Loader.construct_core)
    _Dumper.add_implicit_resolver(f"{TAG}{_kind}", _pattern, _first)
_Loader.add_implicit_resolver("old", OLD, [*"-+0123456789"])
_Loader.add_constructor("old", _Loader.construct_old)
_Loader.add_implicit_resolver(f"{TAG}merge", re.compile(r"<<$"), ["<"])
