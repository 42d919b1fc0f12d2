"""The metrics of a study that Ray exports, as Prometheus reads them."""

import re
import time
import urllib.request

import pytest
import ray
from apart import without_dashboard
from synthetic import study_of, trial_of, trials_of

from studies.design.spec import from_json
from studies.running.gauges import Gauges

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def metrics():
    """Return all of the cluster's tunebench metrics: (name, study, method) -> value."""
    ray.shutdown()
    often = {"metrics_report_interval_ms": 200}
    with pytest.MonkeyPatch.context() as patch:
        without_dashboard(patch.setattr)
        ray.init("local", num_cpus=1, log_to_driver=False, _system_config=often)
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def read():
        found = {}
        for line in urllib.request.urlopen(url).read().decode().splitlines():
            if match := re.fullmatch(r"ray_tunebench_(\w+)\{(.*)\} (\S+)", line):
                tags = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
                found[match[1], tags["study"], tags["arm"]] = float(match[3])
        return found

    yield read
    ray.shutdown()


def reads(metrics, expected):
    give_up = time.monotonic() + 30
    while not expected.items() <= metrics().items() and time.monotonic() < give_up:
        time.sleep(0.2)
    return expected.items() <= metrics().items()


@pytest.mark.timeout(120)
def test_ray_exports_how_far_each_method_is(metrics):
    study = study_of(runs=2, trials=3)
    spec = from_json(study.spec)
    history = trials_of(study, {"gradient-filter": [[0.7, None], [0.6]], "latent-sgd": [[], []]})
    gauges = Gauges(spec, study.id, history)
    start = {
        ("trials_done", study.id, "gradient-filter"): 3,
        ("trials_failed", study.id, "gradient-filter"): 1,
        ("trials_running", study.id, "gradient-filter"): 0,
        ("best_objective", study.id, "gradient-filter"): 0.7,
        ("trials_done", study.id, "latent-sgd"): 0,
        ("trials_running", study.id, "latent-sgd"): 0,
    }
    assert reads(metrics, start)
    assert ("best_objective", study.id, "latent-sgd") not in metrics()
    gauges.running("gradient-filter", +1)
    gauges.running("latent-sgd", +1)
    gauges.finished(trial_of(spec, "gradient-filter", 2, 2, 0.8))
    gauges.running("gradient-filter", -1)
    gauges.finished(trial_of(spec, "gradient-filter", 1, 3, 0.5))
    later = {
        ("trials_done", study.id, "gradient-filter"): 5,
        ("best_objective", study.id, "gradient-filter"): 0.8,
        ("trials_running", study.id, "latent-sgd"): 1,
    }
    assert reads(metrics, start | later)
