"""Time the analysis of a study: `python tests/benchmarks/analysis.py [--runs N] [--trials N] [--rounds N]`.

Makes up a finished study of two methods: 20 runs of 25 trials are the 1,000 trials of Figure 8. For each thing that the
service answers with, prints the time of the first call in this process, then the median and the slowest of the rounds;
and what importing each module adds to a fresh process.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from synthetic import figure8_like

IMPORT = """
import sys, time
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
import numpy, studies.design.spec
for module in sys.argv[1:]:
    before, begun = resident_mb(), time.perf_counter()
    __import__(module)
    print(f"  {module:20s} {time.perf_counter() - begun:6.2f} s {resident_mb() - before:7.1f} MB")
"""


def measure(runs: int, trials: int, rounds: int) -> None:
    from studies.analysis.comparison import compare
    from studies.analysis.curves import centre, of_study
    from studies.design.spec import stored
    from studies.results.data_tables import FORMS, TABLES, table
    from studies.results.export import IMAGES, archive, image

    study, records = figure8_like(runs=runs, trials=trials)
    found: dict[str, Any] = {}
    contenders: dict[str, Callable[[], object]] = {
        "curves": lambda: [centre(curves) for curves in of_study(stored(study), records).values()],
        "compare": lambda: compare(study, records),
    }
    for kind in IMAGES:
        contenders[f"figure8.{kind}"] = lambda kind=kind: image(study, records, kind)
    for name in TABLES:
        for form in FORMS:
            contenders[f"{name}.{form}"] = lambda name=name, form=form: table(study, records, name, form)
    contenders["archive"] = lambda: archive(study, records, found["compare"])
    print(f"{len(records)} trials, milliseconds: first call, then median and slowest of {rounds}")
    for name, call in contenders.items():
        milliseconds = []
        for _ in range(rounds + 1):
            begun = time.perf_counter()
            found[name] = call()
            milliseconds.append((time.perf_counter() - begun) * 1e3)
        first, *warm = milliseconds
        print(f"  {name:16s} {first:8.1f} {statistics.median(warm):8.1f} {max(warm):8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    measure(options.runs, options.trials, options.rounds)
    print("what importing adds, after numpy and studies.design.spec")
    modules = [
        "studies.analysis.curves",
        "studies.analysis.comparison",
        "studies.results.data_tables",
        "studies.results.export",
    ]
    subprocess.run([sys.executable, "-c", IMPORT, *modules], check=True)
