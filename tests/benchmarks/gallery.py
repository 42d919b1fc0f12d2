"""The papers' figures and tables in small, run and judged: `python tests/benchmarks/gallery.py [STUDY ...]`.

Runs the studies that the claims in `claims.py` name, one after the other, in a database of its own, so whatever it is
interrupted by, the same command goes on; what is finished is not started. After each it writes `docs/gallery.md` with
its figures, from the database alone: every claim with what was estimated, its interval, its rule and the verdict that
follows. A study whose data set is not in the data folder is left out and named. `--write` runs nothing.
"""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from claims import CLAIMS, OPEN, Claim
from matplotlib.figure import Figure
from PIL import Image
from verdicts import FEWEST_RUNS, LEVEL, Verdict, shown, verdict, weakest

import studies
from service.database.engine import connect
from service.database.store import Store
from service.errors import StudyUnknown
from service.settings import Settings
from studies.analysis.estimate import NONE, Estimate
from studies.design.spec import StudySpec, load
from studies.records import StudyRecord, StudyState, TrialRecord
from studies.results import traces
from studies.results.grids import over_grid, side_by_side
from studies.results.wording import count
from trainers.data import DATASETS
from trainers.errors import DataError
from trainers.tasks import TASKS

SPECS = Path(studies.__file__).parent / "specs"
PAGE = Path(__file__).parents[2] / "docs" / "gallery.md"
DOTS_AN_INCH = 110
DRAWN = {"grid": over_grid, "arms": side_by_side, **traces.FIGURES}
COLOURS = 48  # of a figure's palette: a tenth of the size

HEAD = """# Gallery

What `make gallery` writes: claims of [the papers](papers.md), and what came of them in studies small enough for two CPU
cores, on real data. Every number and verdict is computed from the studies' database by these rules; none is typed.

- **Ours** is Hodges and Lehmann's estimate over the runs, paired: the same splits and seeds; a share has Wilson's
  interval, signs are counted, the most of any run. Intervals are of {level:.0%}. Where a claim is several comparisons,
  they hold together (Bonferroni), and the one shown speaks most against the claim.
- **Reproduced**: every interval lies above the rule's bound, or within its margin. **Not reproduced**: one lies wholly
  below the least effect that the rule names, or beyond the margin. **Not decidable at this scale**: neither, or fewer
  than {runs} runs.
- **Control**: what the same measure gives where nothing is to be expected, or the opposite, or what is known anyway.
  Where the rule names it, an effect that does not lie wholly beyond it is not decidable.
- A proxy is a smaller network on fewer data for fewer steps, mostly on spoken digits instead of images: what is not
  reproduced here is not refuted at the paper's scale. Beside each is a file in full in `studies/specs`."""


@dataclass(frozen=True, slots=True)
class Done:
    """A study of the database, its trials with epochs and what was recorded."""

    spec: StudySpec
    record: StudyRecord
    trials: list[TrialRecord]

    def figures(self) -> dict[str, Figure]:
        """What its export draws of its settings and of what it recorded, by name."""
        drawn = {name: draw(self.record, self.trials) for name, draw in DRAWN.items()}
        return {name: figure for name, figure in drawn.items() if figure is not None}


def find(store: Store | None, study: str) -> Done | None:
    """The study in the database, None where it is not there or has not finished."""
    spec = load(SPECS / f"{study}.yaml")
    if store is None:
        return None
    try:
        record = store.study_by_id(spec.study_id)
    except StudyUnknown:
        return None
    if record.state is not StudyState.COMPLETED:
        return None
    return Done(spec, record, store.trials(record.id, with_epochs=True, with_series=True))


def open_store(database: Path) -> Store | None:
    """None where there is no database yet."""
    return Store(connect(f"sqlite:///{database.resolve()}")) if database.exists() else None


def run(study: str, database: Path, out: Path, data_dir: Path) -> None:
    """Run a study, or go on with it. Raises CalledProcessError."""
    file = SPECS / f"{study}.yaml"
    subprocess.run(
        ["tunebench", "run", str(file), "--out", str(out / load(file).study_id)],
        env=os.environ
        | {
            "TUNEBENCH_DATABASE_URL": f"sqlite:///{database.resolve()}",
            "TUNEBENCH_DATA_DIR": str(data_dir.resolve()),
        },
        check=True,
    )


def picture(figure: Figure) -> bytes:
    """A PNG of few colours."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_AN_INCH, metadata={"Software": None})
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def page(done: dict[str, Done], out: Path) -> str:
    """Markdown, whose figures are put in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, list[str]] = {}
    for study, found in done.items():
        for name, figure in found.figures().items():
            file = f"{study.replace('/', '-')}-{name}.png"
            (out / file).write_bytes(picture(figure))
            pictures.setdefault(study, []).append(f"![{study}, {name}](gallery/{file})")
    return "\n\n".join([HEAD.format(level=LEVEL, runs=FEWEST_RUNS), *_parts(done, pictures)]) + "\n"


def _parts(done: Mapping[str, Done], pictures: Mapping[str, list[str]]) -> Iterator[str]:
    judged = [(claim, *_judged(claim, done.get(claim.study))) for claim in CLAIMS]
    rows = [
        f"| {claim.place} | {claim.text} | {found if claim.study in done else 'not run'} |"
        for claim, found, *_ in judged
    ]
    yield "\n".join(["| where | claim | verdict |", "|---|---|---|", *rows])
    for study, found in done.items():
        yield f"## {study}"
        yield _trained(study, found)
        yield from pictures.get(study, [])
        yield from _claims(found.spec, [row for row in judged if row[0].study == study])
    if OPEN:
        yield "## What is not run here"
        rows = [f"| {o.place} | {f'`{o.study}.yaml`' if o.study else '–'} | {o.missing} |" for o in OPEN]
        yield "\n".join(["| where | study | |", "|---|---|---|", *rows])


def _trained(study: str, done: Done) -> str:
    spec = done.spec
    runs, per = count(spec.runs, "run"), count(spec.trials, "trial")
    seconds = sum(trial.train_seconds for trial in done.trials)
    return (
        f"`studies/specs/{study}.yaml` on {spec.task_label}: {len(spec.arms)} arms, {runs} of {per} each, "
        f"{len(done.trials)} trainings of {seconds / len(done.trials):.1f} s; study `{done.record.id}`."
    )


def _claims(spec: StudySpec, judged: Sequence[tuple[Claim, Verdict, Estimate, Estimate]]) -> Iterator[str]:
    for claim, found, e, control in judged:
        unit, factor = claim.estimator.unit(spec)
        yield f"**{claim.place}**: {claim.text} **{str(found).capitalize()}.**"
        rule = claim.rule.words(unit, factor) + "; above the control" * claim.over_control
        rows = [("ours", claim.estimator.words(spec), shown(e, unit, factor), rule)]
        if claim.control is not None:
            unit, factor = claim.control.unit(spec)
            rows.append(("control", claim.control.words(spec), shown(control, unit, factor), ""))
        yield "\n".join(
            ["| | what | estimate | rule |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
        )


def _judged(claim: Claim, done: Done | None) -> tuple[Verdict, Estimate, Estimate]:
    if done is None:
        return Verdict.NOT_DECIDABLE, NONE, NONE
    found = claim.estimator.estimates(done.spec, done.trials)
    control = claim.control.estimates(done.spec, done.trials) if claim.control else [NONE]
    ours, its, said = weakest(found, claim.rule), weakest(control, claim.rule), verdict(found, claim.rule)
    if claim.over_control and said is Verdict.REPRODUCED:
        beyond = ours.low is not None and its.high is not None and ours.low > its.high
        said = said if beyond else Verdict.NOT_DECIDABLE
    return said, ours, its


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="*", help="run only these, e.g. quist2023/figure4-proxy")
    parser.add_argument(
        "--data", type=Path, default=Settings.from_environment().data_dir, help="the data folder"
    )
    parser.add_argument("--out", type=Path, default=Path("results/gallery"))
    parser.add_argument("--write", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    database = arguments.out / "gallery.db"
    known = list(dict.fromkeys(claim.study for claim in CLAIMS))
    write = partial(_write, known, database)
    for study in known:
        if (
            arguments.write
            or (arguments.study and study not in arguments.study)
            or find(open_store(database), study)
        ):
            continue
        try:
            DATASETS[TASKS[load(SPECS / f"{study}.yaml").task].dataset].check_data(arguments.data)
        except DataError as error:
            print(f"{study} is left out: {error}", file=sys.stderr)
            continue
        run(study, database, arguments.out, arguments.data)
        write()
    write()


def _write(known: Sequence[str], database: Path) -> None:
    store = open_store(database)
    done = {study: found for study in known if (found := find(store, study))}
    PAGE.write_text(page(done, PAGE.parent / "gallery"))


if __name__ == "__main__":
    main()
