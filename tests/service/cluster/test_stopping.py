"""A study that stops when it is decided, run by the command. First a worker is killed, then everything.

Its results are compared with those that one process trains without Ray or a database.
"""

import json

import pytest
from killable import Study, kill_worker, wait
from twins import alone, numbers

from studies.analysis.comparison import compare
from studies.analysis.decision import up_to_decision
from studies.design.spec import stored

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

GOOD = {"name": "good", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}
SLOW = {"learning_rate": 1e-3, "initial_magnitude": 1.0, "gamma": 0.1, "weight_decay": 1e-5, "clipping": True}
BAD = {"name": "bad", "method": "latent-sgd", "space": SLOW | {"scaling": True}}  # its weights hardly flip
SPEC = {
    "name": "twin",
    "task": "spoken-digits",
    "proxy": {"width": 64, "epochs": 2},
    "arms": [GOOD, BAD],
    "runs": 20,
    "trials": 1,
    "confirm": {"seeds": 1},
    "stop_when": "decided",
}


def decided(record, trials, confirmations):
    """Return the records that count, and the decision from them."""
    _, used, fresh = up_to_decision(stored(record), trials, confirmations)
    metrics = sorted((c.arm, c.run, c.trial, c.number, c.seed, c.test_metric) for c in fresh)
    return numbers(used), metrics, compare(record, trials, confirmations=confirmations).decision


def test_it_stops_after_the_same_runs_as_one_that_nothing_has_killed(tmp_path, spoken_digits, here):
    cut = Study(tmp_path)
    (cut.folder / "spec.json").write_text(json.dumps(SPEC))
    driver = cut.start(at_a_time=2)
    wait(lambda: cut.count() >= 1)
    kill_worker(driver)  # and while another one starts
    wait(lambda: cut.count() >= 8)
    driver.kill()
    driver.wait()
    code, _, log = here("resume", "twin")
    assert code == 0, log
    record, trials = cut.store.study_by_id(cut.id()), cut.store.trials(cut.id(), with_epochs=True)
    stopped = decided(record, trials, cut.store.confirmations(cut.id()))
    assert stopped == decided(record, *alone(stored(record), record.provenance, spoken_digits))
    found = stopped[2]
    assert (found.verdict, found.endpoint) == ("different", "confirmed")
    assert 7 <= found.after < found.planned == 20
    assert cut.count() < 40
