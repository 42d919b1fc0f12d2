"""The names of an export's tables and forms, for code that does without what builds the tables."""

from typing import Literal, get_args

TableName = Literal[
    "trials", "curves", "confirmations", "epochs", "repeats", "traces", "differing-signs", "published"
]
Form = Literal["csv", "parquet", "json"]
TABLE_NAMES: tuple[TableName, ...] = get_args(TableName)
FORM_NAMES: tuple[Form, ...] = get_args(Form)
