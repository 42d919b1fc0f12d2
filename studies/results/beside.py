"""What papers print, with what the arms came to beside it."""

from typing import TYPE_CHECKING

from studies.results import wording

if TYPE_CHECKING:  # commands that only print do without
    from studies.analysis.compared import Comparison

HEADING = "Beside what was published"


def beside(comparison: "Comparison") -> list[dict[str, str]]:
    """The rows of the table by column, in words; none where the study's file states nothing."""
    metric = comparison.metric
    ours = ["ours", *(["ours, confirmed"] if comparison.confirmations is not None else [])]
    return [
        {
            "method": row.name,
            f"published test {metric}, not ours": wording.published(row.test, row.sd, metric),
            **{
                column: wording.estimate(end.mean, metric) if end else "–"
                for column, end in zip(ours, comparison.beside(row), strict=False)
            },
            "source": row.source,
        }
        for row in comparison.published or ()
    ]


def note(metric: str) -> str:
    """What the two numbers of a row are."""
    return (
        f"The published test {metric} is what the named source prints, ± its standard deviation over trainings where "
        "the study's file gives one: it is not ours, nothing here has computed or checked it, and no test is made "
        "against it. Ours is the mean over the runs, with Student's t interval."
    )
