"""A wish that a running study stops."""


class Stop:
    """Given to `run_study` and kept by whoever may want it to stop. Any thread may ask; nothing takes it back."""

    def __init__(self) -> None:
        self.draining = False
        self.aborting = False

    def drain(self) -> None:
        """No further trial starts; those in flight finish and are recorded."""
        self.draining = True

    def abort(self) -> None:
        """Trials in flight are given up; nothing of them is recorded."""
        self.draining = self.aborting = True
