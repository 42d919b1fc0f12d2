"""Cursors: the place where a list continues, as text that is opaque to clients."""

import base64
from datetime import UTC, datetime
from types import GenericAlias
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from service.api.problems import Refused


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is before the year 1 or after the year 9999 in UTC") from error


# kinds of values, limited to what the database can be queried for
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Small = Annotated[int, Field(ge=0, lt=2**31)]
Large = Annotated[int, Field(ge=0, lt=2**63)]


class Cursor:
    """The cursors of a list in the order named `order`. A place in the list consists of values of these `kinds`."""

    def __init__(self, order: str, *kinds: Any) -> None:
        self._order = order
        place: Any = GenericAlias(tuple, (str, *kinds))
        self._place = TypeAdapter[Any](place, config=ConfigDict(ser_json_inf_nan="strings"))

    def write(self, *place: Any) -> str:
        content = self._place.dump_json((self._order, *place))
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    def read(self, text: str) -> list[Any]:
        """Return the place that was written. Raises Refused for any other text and for cursors of another order."""
        try:
            order, *place = self._place.validate_json(base64.urlsafe_b64decode(text + "=="))
        except (ValueError, ValidationError) as error:
            fault = f"must be `next` of a previous page, got {text!r:.80}"
            raise Refused("invalid-request", faults=[("cursor", fault)]) from error
        if order != self._order:
            fault = f"must be of the order {self._order}, got one of the order {order}"
            raise Refused("invalid-request", faults=[("cursor", fault)])
        return list(place)
