"""What the database itself ensures: constraints, the view, indexes."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, insert, select, update
from sqlalchemy.exc import IntegrityError
from writers import spec, stored, trial

from service.database.engine import reading, writing
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import studies, trials
from service.database.trial_order import TrialOrder
from studies.records import StudyState, TrialState


@pytest.mark.parametrize(
    "changes", [{}, {"trial": 2, "study": "none"}, {"trial": 0}], ids=["twice", "orphan", "zeroth"]
)
def test_the_database_itself_refuses_rows_that_cannot_be(
    store: Store, lease: Lease, engine: Engine, changes: dict[str, Any]
) -> None:
    store.record(lease, trial(lease.study))
    with reading(engine) as connection:
        row = dict(connection.execute(select(trials)).mappings().one())
    del row["id"]
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(trials).values(row | changes))
    assert stored(engine, trials) == 1


@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_view_is_the_best_so_far_of_every_run(
    store: Store, engine: Engine, direction: str, data: st.DataObject
) -> None:
    study = store.create_study(spec(seed=len(store.studies())), {})
    with writing(engine) as connection:
        connection.execute(update(studies).where(studies.c.id == study.id).values(direction=direction))
    lease = store.claim(study.id, Owner.current(), 60)
    other = store.claim(
        store.create_study(spec("other", seed=study.spec["seed"]), {}).id, Owner.current(), 60
    )
    worst = -math.inf if direction == "maximize" else math.inf
    expected = {}
    for key in [("gradient-filter", 1), ("gradient-filter", 2), ("latent-sgd", 1)]:
        objectives = data.draw(
            st.lists(st.none() | st.just(worst) | st.floats(-9, 9), min_size=1, max_size=5)
        )
        best: float | None = None
        curve = []
        for number, objective in enumerate(objectives, start=1):
            state = TrialState.FAILED if objective is None else TrialState.COMPLETED
            for one in (lease, other):
                shifted = objective if one is lease or objective is None else objective + 100
                store.record(one, trial(one.study, *key, number, state=state, objective=shifted, epochs=()))
            if objective is not None:
                better = best is None or (objective > best if direction == "maximize" else objective < best)
                best = objective if better else best
            curve.append(best)
        expected[key] = tuple(curve)
    assert store.best_so_far(study.id) == expected


def test_reads_search_indexes(store: Store, engine: Engine, lease: Lease) -> None:
    store.record(lease, trial(lease.study))
    run: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *args: run.append((args[2], args[3])))
    store.study(lease.study)
    store.trials(lease.study, "latent-sgd", with_epochs=True)
    store.trials(lease.study, with_epochs=True)
    store.best_so_far(lease.study)
    store.record(lease, trial(lease.study, number=2))
    study = store.study_by_id(lease.study)
    store.studies(limit=50)
    store.studies(
        states=[StudyState.RUNNING, StudyState.QUEUED], before=(study.created_at, study.id), limit=50
    )
    store.studies(task="spoken-digits", limit=50)
    store.studies(label="paper", limit=50)
    store.events(lease.study, 3)
    store.last_events([lease.study])
    store.requested(lease)
    store.seconds_per_trial("spoken-digits")
    store.record(lease, trial(lease.study, number=3, address="a"))
    store.at(["a"])
    store.machines("spoken-digits")
    store.incumbents(lease.study, maximize=True)
    store.trial(lease.study, "latent-sgd", 1, 1)
    store.trials_page(lease.study, limit=100)
    store.trials_page(lease.study, order=TrialOrder("objective", descending=True), limit=100)
    queries = [(query, values) for query, values in run if query.startswith("SELECT") and "FROM" in query]
    assert len(queries) > 20
    sqlite = engine.dialect.name == "sqlite"
    with writing(engine) as connection:  # a transaction, for SET LOCAL
        if not sqlite:  # PostgreSQL reads a small table whole, with or without an index
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for query, values in queries:
            explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + query, values))
            plan = plan.replace("SCAN studies USING INDEX", "WALK along")
            whole = ("SCAN studies", "SCAN trials", "SCAN epochs", "SCAN t", "SCAN s\n", "Seq Scan")
            assert not any(word in plan for word in whole), f"{query}\n{plan}"
            assert any(word in plan for word in ("SEARCH", "Index", "WALK along")), (
                f"{query}\n{plan}"
            )  # a list follows the index's order
