"""The workers of a study that have no training at the moment."""

from collections.abc import Callable, Iterator
from typing import Any

from ray.tune.utils.object_cache import _ObjectCache


class IdleWorkers(_ObjectCache):  # type: ignore[misc]
    """A cache that keeps as many workers as there are runs waiting for one, the latest freed; Tune ends the others.

    Tune's own cache keeps a worker only if a trial waits for it at that moment, or one in all while none waits for
    another slot. A run's next trial is handed out only after the last has ended, so every other trial had to start a
    worker: that takes seconds, and a minute with a compiled network. A key is the request of a slot, which has one
    worker.
    """

    def __init__(self, waiting: Callable[[], int], *, may_keep_one: bool) -> None:
        super().__init__(may_keep_one)
        self._waiting = waiting
        self._idle: dict[Any, Any] = {}  # by key, in the order in which they became free

    @property
    def num_cached_objects(self) -> int:
        return len(self._idle)

    def has_cached_object(self, key: Any) -> bool:
        return key in self._idle

    def cache_object(self, key: Any, obj: Any) -> bool:
        self._idle[key] = obj
        return True

    def pop_cached_object(self, key: Any) -> Any:
        return self._idle.pop(key, None)

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        """Yield the workers to end; with `force_all` yield all, because no trial is to come."""
        free = [key for key in self._idle if force_all or self._max_num_objects[key] <= 0]
        for key in free[: max(0, len(free) - (0 if force_all else self._waiting()))]:
            yield self._idle.pop(key)
