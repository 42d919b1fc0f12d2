"""Published results, beside the study's own."""

from typing import TYPE_CHECKING

from studies.results import wording

if TYPE_CHECKING:  # commands that only print need not load it
    from studies.analysis.compared import Comparison

HEADING = "Published results"


def beside(comparison: "Comparison") -> list[dict[str, str]]:
    """Return the table's rows by column, as text; empty if the study file has no published results."""
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
    """Return what the two numbers of a row mean."""
    return (
        f"The published test {metric} is what the named source prints, ± its standard deviation over trainings if the "
        "study file gives it: it is not ours, it was neither computed nor checked here, and nothing is tested against "
        "it. Ours is the mean over the runs, with Student's t interval."
    )
