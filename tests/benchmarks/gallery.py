"""The papers' figures and tables scaled down, run and judged: `python tests/benchmarks/gallery.py [STUDY ...]`.

Runs the studies that `claims.py` names, one after the other, in a database of its own, so that after any interruption
the same command resumes; finished studies are not started again. After each study it writes `docs/gallery.md` with its
figures, from the database alone: every claim with what was estimated, its interval, its rule and the resulting verdict.
Only the numbers of samples of data that are not the published ones come from the data folder. A study whose data set is
missing is left out and named. A teacher that is missing is trained once, scaled down as its study is, and kept in
`--out`. `--write` runs nothing.
"""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from claims import CLAIMS, OPEN, SHOWN, Claim
from matplotlib.figure import Figure
from PIL import Image
from scaled_teachers import data_with_teachers
from verdicts import (
    FEWEST_RUNS,
    LEVEL,
    Done,
    Estimator,
    Rule,
    Verdict,
    judged,
    nearest,
    shown,
    verdict,
    weakest,
)

import studies
from service.database.engine import connect
from service.database.store import Store
from service.errors import StudyUnknown
from service.settings import Settings
from studies.analysis.estimate import Estimate
from studies.design.spec import load
from studies.records import StudyState
from studies.results import traces
from studies.results.figures import figure8
from studies.results.grids import over_grid, side_by_side
from studies.results.wording import count, listed
from trainers.data import DATASETS
from trainers.errors import DataError
from trainers.tasks import TASKS

SPECS = Path(studies.__file__).parent / "specs"
PAGE = Path(__file__).parents[2] / "docs" / "gallery.md"
DOTS_AN_INCH, FINER = 110, 3
DRAWN = {"grid": over_grid, "arms": side_by_side, **traces.FIGURES}
COLOURS = 48  # of a figure's palette, which makes a file a tenth of the size

HEAD = """# Gallery

`make gallery` writes this page: claims of [the papers](papers.md), and the results of studies that test them, small
enough for two CPU cores, on real data. Every number and verdict is computed from the studies' database by the rules
below; none is typed. On another kind of processor sums have other last bits, and trainings other signs: numbers differ
there, and a close verdict may.{data}

- **Ours** is our estimate: Hodges and Lehmann's, over runs paired by split and seed. A share has Wilson's interval, a
  mean number of trials a bootstrap interval; of signs that differ, the most in any run is counted. Intervals are at
  {level:.0%}. If a claim has several comparisons, their intervals hold together (Bonferroni), and the comparison that
  speaks most against the claim is shown.
- **Reproduced**: every interval lies above the rule's bound, or within its margin. **Not reproduced**: an interval lies
  wholly below the least effect that the rule names, or beyond the margin. **Not decidable at this scale**: all other
  cases, and fewer than {runs} runs.
- **Control**: the same measure where no effect or the opposite effect is expected, or where the effect is known. If the
  rule says "above the control", the claim is decidable only if its effect lies wholly beyond the control's. A measure
  that shows nothing would also reproduce a claim of no effect, or of none for the better or worse. So if the rule says
  "seen in the control", the control is a known effect, and the claim is decidable only if the control lies beyond what
  the rule allows.
- **Given**: what must hold for the networks before the claim is tested; if it does not hold, the claim is not
  decidable.
- A proxy is a smaller network on less data for fewer steps, mostly on spoken digits instead of images. A claim that is
  not reproduced here is not refuted at the paper's scale. The full study is beside each proxy in `studies/specs`."""


def figures(done: Done) -> dict[str, Figure]:
    """Draw what a study's export draws, by name: how arms were tuned, its settings and what it recorded."""
    tuned = figure8(done.record, done.trials, done.confirmations) if done.confirmations else None
    drawn = {"figure8": tuned} | {name: draw(done.record, done.trials) for name, draw in DRAWN.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def find(store: Store | None, study: str) -> Done | None:
    """Return the study from the database; None if it is missing or has not finished."""
    spec = load(SPECS / f"{study}.yaml")
    if store is None:
        return None
    try:
        record = store.study_by_id(spec.study_id)
    except StudyUnknown:
        return None
    if record.state is not StudyState.COMPLETED:
        return None
    trials = store.trials(record.id, with_epochs=True, with_series=True)
    return Done(spec, record, trials, store.confirmations(record.id))


def open_store(database: Path) -> Store | None:
    """Open the database; return None if it does not exist yet."""
    return Store(connect(f"sqlite:///{database.resolve()}")) if database.exists() else None


def run(study: str, database: Path, out: Path, data_dir: Path) -> None:
    """Run a study, or resume it, with the teachers that it needs. Raises CalledProcessError."""
    file = SPECS / f"{study}.yaml"
    spec = load(file)
    folder = data_with_teachers(data_dir, out, spec)
    subprocess.run(
        ["tunebench", "run", str(file), "--out", str(out / spec.study_id)],
        env=os.environ
        | {
            "TUNEBENCH_DATABASE_URL": f"sqlite:///{database.resolve()}",
            "TUNEBENCH_DATA_DIR": str(folder.resolve()),
        },
        check=True,
    )


def picture(figure: Figure) -> bytes:
    """Return a PNG of few colours, drawn large and then reduced: at the final size text would not fit."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=FINER * DOTS_AN_INCH, metadata={"Software": None})
    image = Image.open(buffer).convert("RGB").reduce(FINER)
    image.quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def page(done: dict[str, Done], out: Path, data_dir: Path) -> str:
    """Return the page in Markdown and put its figures in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, list[str]] = {}
    for study, found in done.items():
        for name, figure in figures(found).items():
            file = f"{study.replace('/', '-')}-{name}.png"
            (out / file).write_bytes(picture(figure))
            pictures.setdefault(study, []).append(f"![{study}, {name}](gallery/{file})")
    head = HEAD.format(level=LEVEL, runs=FEWEST_RUNS, data=_data(done, data_dir))
    return "\n\n".join([head, *_parts(done, pictures)]) + "\n"


def _data(done: Mapping[str, Done], data_dir: Path) -> str:
    """Name the data sets whose samples were not the published ones, with the numbers of samples if known."""
    others: dict[str, str] = {}
    for found in done.values():
        data = found.record.provenance.get("data", {})
        if data.get("published") is False and data["set"] not in others:
            others[data["set"]] = _samples(data["set"], data["sha256"], data_dir)
    if not others:
        return ""
    known = listed([f"`{name}`{samples}" for name, samples in others.items()])
    return f" Not from the published files: {known}."


def _samples(name: str, sha256: str, data_dir: Path) -> str:
    """Return ` (45,000 samples to train on, ...)` if the data folder has the data that was trained on; else ""."""
    try:
        if DATASETS[name].origin(data_dir)["sha256"] != sha256:
            return ""
        splits = DATASETS[name].splits(data_dir, 0)
    except DataError:
        return ""
    train, validation, test = (len(part.targets) for part in (splits.train, splits.validation, splits.test))
    return f" ({train:,} samples to train on, {validation:,} for validation, {test:,} for test)"


def _parts(done: Mapping[str, Done], pictures: Mapping[str, list[str]]) -> Iterator[str]:
    verdicts = [(claim, _judged(claim, done.get(claim.study))) for claim in CLAIMS]
    rows = [
        f"| {claim.place} | {claim.text} | {found if claim.study in done else 'not run'} |"
        for claim, found in verdicts
    ]
    rows += [f"| {s.place} | {s.text} | {'shown' if s.study in done else 'not run'} |" for s in SHOWN]
    yield "\n".join(["| where | claim | verdict |", "|---|---|---|", *rows])
    for study, found in done.items():
        yield f"## {study}"
        yield _trained(study, found)
        yield from pictures.get(study, [])
        yield from (f"**{s.place}**: {s.text}" for s in SHOWN if s.study == study)
        yield from _claims(found, [row for row in verdicts if row[0].study == study])
    if OPEN:
        yield "## Not run here, and why"
        rows = [f"| {o.place} | {f'`{o.study}.yaml`' if o.study else '–'} | {o.missing} |" for o in OPEN]
        yield "\n".join(["| where | study | |", "|---|---|---|", *rows])


def _trained(study: str, done: Done) -> str:
    spec = done.spec
    arms, runs, per = count(len(spec.arms), "arm"), count(spec.runs, "run"), count(spec.trials, "trial")
    return (
        f"`studies/specs/{study}.yaml` on {spec.task_label}: {arms}, {runs} with {per} in each, "
        f"{len(done.trials)} trainings; study `{done.record.id}`."
    )


def _claims(done: Done, verdicts: Sequence[tuple[Claim, Verdict]]) -> Iterator[str]:
    for claim, found in verdicts:
        yield f"**{claim.place}**: {claim.text} **{str(found).capitalize()}.**"
        ours = weakest(_estimates(claim.estimator, done), claim.rule)
        rows = [_row("ours", claim.estimator, ours, done, claim.rule, _conditions(claim))]
        if claim.control is not None:
            decides = nearest if claim.over_control or claim.rule.blind else weakest
            its = decides(_estimates(claim.control, done), claim.rule)
            rows.append(_row("control", claim.control, its, done))
        if claim.given is not None:
            estimator, rule = claim.given
            rows.append(_row("given", estimator, weakest(_estimates(estimator, done), rule), done, rule))
        yield "\n".join(["| | what | estimate | rule |", "|---|---|---|---|", *rows])


def _row(name: str, of: Estimator, e: Estimate, done: Done, rule: Rule | None = None, also: str = "") -> str:
    unit, factor = of.unit(done.spec)
    words = rule.words(unit, factor) + also if rule else ""
    return f"| {name} | {of.words(done.spec)} | {shown(e, unit, factor)} | {words} |"


def _estimates(estimator: Estimator | None, done: Done) -> list[Estimate]:
    return estimator.estimates(done) if estimator else []


def _conditions(claim: Claim) -> str:
    return "; above the control" * claim.over_control + "; seen in the control" * claim.rule.blind


def _judged(claim: Claim, done: Done | None) -> Verdict:
    if done is None:
        return Verdict.NOT_DECIDABLE
    given = True
    if claim.given is not None:
        estimator, rule = claim.given
        given = verdict(_estimates(estimator, done), rule) is Verdict.REPRODUCED
    found, control = _estimates(claim.estimator, done), _estimates(claim.control, done)
    return judged(found, claim.rule, control=control, over_control=claim.over_control, given=given)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="*", help="run only these studies, e.g. quist2023/figure4-proxy")
    parser.add_argument(
        "--data", type=Path, default=Settings.from_environment().data_dir, help="the data folder"
    )
    parser.add_argument("--out", type=Path, default=Path("results/gallery"))
    parser.add_argument("--write", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    database = arguments.out / "gallery.db"
    known = list(dict.fromkeys(each.study for each in (*CLAIMS, *SHOWN)))
    write = partial(_write, known, database, arguments.data)
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


def _write(known: Sequence[str], database: Path, data_dir: Path) -> None:
    store = open_store(database)
    done = {study: found for study in known if (found := find(store, study))}
    PAGE.write_text(page(done, PAGE.parent / "gallery", data_dir))


if __name__ == "__main__":
    main()
