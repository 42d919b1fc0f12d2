"""The JSON Schema (2020-12) of study files, for programs that write them.

A file that does not fit is refused. One that fits may be too, as a schema cannot say that `low` is less than `high`.
"""

import math
from dataclasses import asdict
from typing import Any

from studies.design.methods import METHODS
from studies.design.published import MOST_ROWS, Published, PublishedRow
from studies.design.searchers import SEARCHERS
from studies.design.size import MOST_ITEMS
from studies.design.space import Choice, Dimension, Fixed, Float, Int, Tied, to_json
from studies.design.spec import (
    ARMS_ALIAS,
    LEAST,
    MOST_ARMS,
    OF_ARMS,
    Confirm,
    Resources,
    SearcherSpec,
    StudySpec,
)
from trainers.hyperparameters import DECAY, MOST_IN_A_BATCH, VALID, Interval, Options, Whole
from trainers.record import MOST, Record
from trainers.tasks import FIRST_STEP_OPTIMIZERS, MOST_EPOCHS, PRECISIONS, TASKS, WITHOUT

WHOLE_NUMBER = {"type": "integer", "minimum": 1}
PROXY = {
    "epochs": {"type": "integer", "minimum": 1, "maximum": MOST_EPOCHS},
    "train_fraction": {"type": "number", "minimum": LEAST["train_fraction"], "maximum": 1},
    "width": WHOLE_NUMBER,
    "image_size": WHOLE_NUMBER,
    "first_step": {"type": "integer", "minimum": 0, "maximum": MOST_EPOCHS},
    "batch_size": {"type": "integer", "minimum": 2, "maximum": MOST_IN_A_BATCH},
    "first_step_learning_rate": {"type": "number", "exclusiveMinimum": 0},
    "first_step_weight_decay": {"type": "number", "minimum": 0},
    "first_step_decay": {"enum": list(DECAY.values)},
    "first_step_optimizer": {"enum": list(FIRST_STEP_OPTIMIZERS)},
    "first_step_real_learning_rate": {"type": "number", "exclusiveMinimum": 0},
    "validation": {"const": "none"},
    "without": {"enum": list(WITHOUT)},
    "precision": {"enum": list(PRECISIONS)},
}
RECORD: dict[str, dict[str, Any]] = {
    name: {"type": "integer", "minimum": int(name == "every"), "maximum": MOST[name], "default": default}
    if name in MOST
    else {"type": "boolean", "default": default}
    for name, default in asdict(Record()).items()
}


def space_schema(method: str) -> dict[str, Any]:
    """Return the schema of this method's `space` in a study file.

    A hyperparameter that is left out is searched over its default range, or not at all if it has none.
    """
    space, known = METHODS[method].space, METHODS[method].known
    return _mapping(
        {name: _dimension(name, d) for name, d in known.items()}
        | {name: _dimension(name, d) | {"default": to_json(d)} for name, d in space.items()}
    )


def searcher_schema(name: str) -> dict[str, Any]:
    """Return the schema of `searcher` in a study file that chooses this one."""
    model = SearcherSpec.model_json_schema()
    spelled_out = _mapping(model["properties"] | {"name": {"const": name}}, required=["name"])
    return {"anyOf": [{"const": name}, spelled_out]}


def study_schema() -> dict[str, Any]:
    """Return the schema of a whole study file."""
    model, confirm = StudySpec.model_json_schema(), Confirm.model_json_schema()
    spelled_out = _mapping(
        SearcherSpec.model_json_schema()["properties"] | {"name": {"enum": list(SEARCHERS)}}
    )
    searcher = {"anyOf": [{"enum": list(SEARCHERS)}, spelled_out]}
    arms = {
        "type": "array",
        "items": {"anyOf": [{"enum": list(METHODS)}, *(_arm(name, searcher) for name in METHODS)]},
        "minItems": 1,
        "maxItems": MOST_ARMS,
    }
    own: dict[str, Any] = {
        "task": {"enum": list(TASKS)},
        "proxy": _mapping(PROXY),
        "start": model["properties"]["name"] | {"title": "Start"},
        "arms": arms,
        ARMS_ALIAS: arms,
        "searcher": searcher | {"default": SearcherSpec().name},
        "record": _mapping(RECORD),
        "confirm": {
            "anyOf": [_mapping(confirm["properties"], required=confirm["required"]), {"type": "null"}]
        },
        "resources": _mapping(Resources.model_json_schema()["properties"]),
        "published": {"type": "array", "items": _published(PublishedRow), "maxItems": MOST_ROWS},
    }
    required = [name for name in model["required"] if name != "arms"]
    one_of_two = {"oneOf": [{"required": ["arms"]}, {"required": [ARMS_ALIAS]}]}
    return _mapping(model["properties"] | own, required=required) | one_of_two


def _arm(method: str, searcher: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an arm of the method; an arm without `method` has the method's name as its own."""
    named, parts = StudySpec.model_json_schema()["properties"]["name"], {"space": space_schema(method)}
    proxy = {name: PROXY[name] for name in OF_ARMS}
    own = parts | {"searcher": searcher, "task": {"enum": list(TASKS)}, "proxy": _mapping(proxy)}
    own["published"] = {"anyOf": [_published(Published), {"type": "null"}]}
    return {
        "anyOf": [
            _mapping({"name": {"const": method}} | own, required=["name"]),
            _mapping({"name": named, "method": {"const": method}} | own, required=["method"]),
        ]
    }


def _published(model: type[Published]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return _mapping(schema["properties"], required=schema["required"])


def _mapping(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _dimension(name: str, default: Dimension) -> dict[str, Any]:
    value = _value(VALID[name], default)
    choices = {"type": "array", "items": value, "minItems": 1, "maxItems": MOST_ITEMS, "uniqueItems": True}
    forms = [value, choices]
    match default:
        case Float() | Int():
            ends = {"low": value | {"default": default.low}, "high": value | {"default": default.high}}
            integer = {"integer": {"const": True}} if isinstance(default, Int) else {}
            forms.append(_mapping(ends | {"log": {"type": "boolean", "default": default.log}} | integer))
        case Choice() | Fixed() | Tied():
            pass
    if isinstance(default, Float):
        number = {"type": "number", "exclusiveMinimum": 0}
        tie = {"to": {"type": "string"}, "product": number, "ratio": number}
        forms.append(_mapping(tie, required=["to"]))
    return {"anyOf": forms}


def _value(valid: Interval | Whole | Options, default: Dimension) -> dict[str, Any]:
    match valid:
        case Options(values):
            return {"enum": list(values)}
        case Whole(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case Interval(low, high, open_low, open_high):
            schema: dict[str, Any] = {"type": "integer" if isinstance(default, Int) else "number"}
            if math.isfinite(low):
                schema["exclusiveMinimum" if open_low else "minimum"] = low
            if math.isfinite(high):
                schema["exclusiveMaximum" if open_high else "maximum"] = high
            return schema
