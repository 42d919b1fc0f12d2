"""Published results of methods on a study's task: shown beside our numbers, without an influence on them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MOST_ROWS = 100
# the first character is a letter or digit; none has a meaning in Markdown, HTML or a table
UNSEEN = r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # without width, or reversing a text's direction
TEXT = rf"^[0-9A-Za-z\u00c0-\u024f][^\x00-\x1f\x7f-\x9f{UNSEEN}<>|`\[\]*_~;\\]{{0,119}}$"
TEXT_IN_WORDS = (
    r"must be 1 to 120 characters, the first of them a Latin letter or a digit, without <>|`[]*_~;\ "
)
BOUNDS = {"accuracy": (0.0, 1.0)}
OTHERS = (-1e6, 1e6)  # for any other metric

Text = Annotated[str, Field(pattern=TEXT)]
Real = Annotated[float, Field(allow_inf_nan=False)]


class Published(BaseModel):
    """A test metric that a paper prints, in the task's unit (accuracy from 0 to 1), and its source.

    `sd` is the standard deviation over the paper's own trainings, if it gives one. `source` names authors, year and
    table: "Quist 2023, Table 2".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    test: Real
    sd: Annotated[Real, Field(ge=0)] | None = None
    source: Text

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, without what the paper does not give."""
        return self.model_dump(exclude_none=True)

    def faults(self, metric: str) -> Iterator[tuple[str, str]]:
        """Yield each key that is invalid in a study of this metric, and its fault."""
        low, high = BOUNDS.get(metric, OTHERS)
        if not low <= self.test <= high:
            yield "test", f"{metric} must be from {low:g} to {high:g}, got {self.test:g}"
        if self.sd is not None and self.sd > (most := (high - low) / 2):
            yield "sd", f"must be at most {most:g} for {metric}, got {self.sd:g}"


class PublishedRow(Published):
    """A published result of a method that is no arm of the study, with the name that tables show."""

    name: Text


def deciding(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec's JSON values without the published results, which decide none of the study's numbers.

    Two specs for which these are equal are the same study.
    """
    arms = [{key: found for key, found in arm.items() if key != "published"} for arm in spec["arms"]]
    return {key: found for key, found in spec.items() if key != "published"} | {"arms": arms}
