"""One process runs a study, and leaves it in a state that says what became of it."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update
from writers import elsewhere, spec, trial

from service.database.engine import writing
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import studies
from service.errors import LeaseHeld, LeaseLost, StoreError
from studies.records import StudyState


def expire(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(studies).values(lease_expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def test_a_claimed_study_is_running(store: Store, lease: Lease) -> None:
    study = store.study(lease.study)
    assert study.state is StudyState.RUNNING
    assert study.started_at is not None
    assert abs(datetime.now(UTC) - study.started_at) < timedelta(seconds=30)
    assert lease.fence == 1


@pytest.mark.parametrize("owner", [Owner.current(), elsewhere()])
def test_a_held_study_says_who_has_it(store: Store, owner: Owner) -> None:
    study = store.create_study(spec(), {}).id
    store.claim(study, owner, 60)
    with pytest.raises(
        LeaseHeld, match=rf"{study} is run by process {owner.pid} on {owner.host} since 20.* after"
    ):
        store.claim(study, Owner.current(), 60)


def test_an_expired_lease_is_taken_over_and_its_holder_writes_nothing_more(
    store: Store, engine: Engine
) -> None:
    study = store.create_study(spec(), {}).id
    stale = store.claim(study, elsewhere(), 60)
    store.record(stale, trial(study))
    expire(engine)
    started = store.study(study).started_at
    fresh = store.claim(study, Owner.current(), 60)
    assert fresh.fence == stale.fence + 1
    assert store.study(study).started_at == started
    with pytest.raises(LeaseLost, match=f"process {Owner.current().pid} on .* has taken the study over"):
        store.record(stale, trial(study, number=2))
    with pytest.raises(LeaseLost):
        store.renew(stale)
    with pytest.raises(LeaseLost):
        store.finish(stale, StudyState.FAILED, "stale")
    assert store.trials(study, with_epochs=True) == [trial(study)]
    assert store.study(study).state is StudyState.RUNNING
    store.record(fresh, trial(study, number=2))


def test_an_expired_lease_that_nobody_took_still_holds(store: Store, lease: Lease, engine: Engine) -> None:
    expire(engine)
    store.record(lease, trial(lease.study))
    with pytest.raises(LeaseHeld):
        store.claim(lease.study, elsewhere(), 60)  # the record renewed it


def test_renewing_keeps_a_lease(store: Store, lease: Lease, engine: Engine) -> None:
    expire(engine)
    store.renew(lease)
    with pytest.raises(LeaseHeld):
        store.claim(lease.study, elsewhere(), 60)


def test_a_trial_of_another_study_is_refused(store: Store, lease: Lease) -> None:
    other = store.create_study(spec("other"), {}).id
    with pytest.raises(ValueError, match="cannot be written under the lease of"):
        store.record(lease, trial(other))


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_lease_needs_a_length(store: Store, seconds: float) -> None:
    with pytest.raises(ValueError, match="lease_seconds must be above 0, got"):
        store.claim(store.create_study(spec(), {}).id, Owner.current(), seconds)


def test_claiming_an_unknown_study_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no study 'none'"):
        store.claim("none", Owner.current(), 60)


def test_an_unfinished_study_can_be_claimed_again(store: Store, lease: Lease) -> None:
    for state, error in [
        (StudyState.PAUSED, None),
        (StudyState.FAILED, "no disk space"),
        (StudyState.QUEUED, None),
    ]:
        store.finish(lease, state, error)
        study = store.study(lease.study)
        assert (study.state, study.error) == (state, error)
        assert (study.finished_at is not None) == (state is StudyState.FAILED)
        with pytest.raises(LeaseLost, match="the lease was given back"):
            store.record(lease, trial(lease.study))
        again = store.claim(lease.study, Owner.current(), 60)
        assert again.fence == lease.fence + 1
        lease = again
        study = store.study(lease.study)
        assert (study.state, study.error, study.finished_at) == (StudyState.RUNNING, None, None)


def test_only_a_study_with_all_its_trials_is_completed(store: Store, lease: Lease) -> None:
    for method in ("gradient-filter", "latent-sgd"):
        for run in (1, 2):
            for number in (1, 2, 3):
                with pytest.raises(StoreError, match=r"has \d+ of 12 trials"):
                    store.finish(lease, StudyState.COMPLETED)
                store.record(lease, trial(lease.study, method, run, number))
    store.finish(lease, StudyState.COMPLETED)
    study = store.study(lease.study)
    assert study.state is StudyState.COMPLETED
    assert study.finished_at is not None
    with pytest.raises(StoreError, match="is completed; there is nothing left to run"):
        store.claim(lease.study, Owner.current(), 60)


def test_a_study_cannot_be_given_back_running(store: Store, lease: Lease) -> None:
    with pytest.raises(ValueError, match="cannot be left running"):
        store.finish(lease, StudyState.RUNNING)
