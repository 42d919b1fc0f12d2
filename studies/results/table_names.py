"""What the tables of an export are called: known to whoever asks for one without what makes them."""

from typing import Literal, get_args

TableName = Literal[
    "trials", "curves", "confirmations", "epochs", "repeats", "traces", "differing-signs", "published"
]
Form = Literal["csv", "parquet", "json"]
TABLE_NAMES: tuple[TableName, ...] = get_args(TableName)
FORM_NAMES: tuple[Form, ...] = get_args(Form)
