"""The choice of idle workers to end."""

from studies.running.idle_workers import IdleWorkers


def idle(waiting: int, *slots: str) -> IdleWorkers:
    """Return the idle workers of these slots, freed in this order, with this many runs waiting."""
    workers = IdleWorkers(lambda: waiting, may_keep_one=True)
    for slot in slots:
        assert workers.cache_object(slot, f"worker of {slot}")
    return workers


def test_those_that_became_free_last_are_kept_one_for_each_run_that_waits() -> None:
    assert list(idle(2, "c", "a", "b").flush_cached_objects()) == ["worker of c"]
    assert list(idle(3, "c", "a", "b").flush_cached_objects()) == []
    workers = idle(0, "c", "a", "b")
    assert [*workers.flush_cached_objects()] == [f"worker of {slot}" for slot in "cab"]
    assert workers.num_cached_objects == 0
    again = idle(1, "a", "b")
    assert again.pop_cached_object("a") == "worker of a"
    assert again.cache_object("a", "worker of a")
    assert list(again.flush_cached_objects()) == ["worker of b"]


def test_one_whose_slot_has_been_given_a_trial_is_kept_beside_them() -> None:
    workers = idle(1, "a", "b", "c")
    workers.increase_max("a")
    assert list(workers.flush_cached_objects()) == ["worker of b"]
    assert workers.has_cached_object("a")
    workers.pop_cached_object("a")
    workers.decrease_max("a")
    assert (workers.has_cached_object("a"), workers.pop_cached_object("a")) == (False, None)


def test_in_the_end_all_are_ended() -> None:
    workers = idle(2, "a", "b")
    workers.increase_max("a")
    assert list(workers.flush_cached_objects(force_all=True)) == ["worker of a", "worker of b"]
