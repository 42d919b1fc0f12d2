"""What all figures of a study share: their size, colours, axes and legend."""

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.design.spec import StudySpec

COLUMN_INCHES = 3.4  # a column of a two-column page
# Okabe & Ito's colours, told apart with any colour vision and, in this order, in grey. The others, for more arms, are
# as far from these and from each other as 13 colours can be with any colour vision. The page has the same
LOOKS = (
    ("#0072B2", "o"),
    ("#D55E00", "^"),
    ("#009E73", "s"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
    ("#8A2152", "<"),
    ("#4A3A86", ">"),
    ("#405918", "p"),
    ("#A1554C", "*"),
    ("#736B7A", "h"),
    ("#033630", "d"),
)
GREY = "0.35"  # for what is the same for every arm
LINE = 58  # characters of a title per column


def title(spec: StudySpec) -> str:
    """Return a figure's title: the task's label if the task is not trained as it stands, else ""."""
    return spec.task_label if spec.task_label != spec.task else ""


def figure_of(height_inches: float, title: str, legend_rows: int, columns: int = 1) -> Figure:
    """Return a figure `columns` page columns wide, with room for axes of this height, a title above, a legend below."""
    lines = textwrap.wrap(title, LINE * columns)
    height_inches += 0.15 * (legend_rows + 1 + len(lines))
    figure = Figure(figsize=(COLUMN_INCHES * columns, height_inches), dpi=300, layout="constrained")
    FigureCanvasAgg(figure)
    if lines:
        figure.suptitle("\n".join(lines), fontsize=8)
    return figure


def plain(axes: Axes) -> None:
    """Give axes the look of all figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_linewidth(0.6)
    axes.tick_params(labelsize=7, width=0.6, length=3)
    axes.tick_params(which="minor", labelsize=7)  # all the labels of a logarithmic axis within a decade
    axes.grid(axis="y", color="0.9", lw=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def legend(figure: Figure, lines: Sequence[Artist], key: Sequence[tuple[Any, str]], columns: int = 1) -> None:
    """Put the legend below the axes, where it hides no point, and fix the layout."""
    handles = [*lines, *(mark for mark, _ in key)]
    names = [*(str(line.get_label()) for line in lines), *(name for _, name in key)]
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=columns,
        fontsize=7,
        handlelength=1.5,
        labelspacing=0.3,
        columnspacing=0.8,
        edgecolor="none",
    )
    fix_layout(figure)


def fix_layout(figure: Figure) -> None:
    """Lay the figure out once: laid out again for each file format, the axes would shrink each time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
