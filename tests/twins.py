"""What two studies of the same spec have in common."""

from dataclasses import asdict, replace


def numbers(trials):
    """All that must not depend on when, where and how often a study was run: everything but times and attempts."""

    def kept(record, *dropped):
        return tuple((name, value) for name, value in asdict(record).items() if name not in dropped)

    return sorted(
        (
            *kept(
                replace(t, epochs=()),
                "suggest_seconds",
                "train_seconds",
                "attempts",
                "started_at",
                "finished_at",
            ),
            *(kept(epoch, "train_seconds", "evaluate_seconds") for epoch in t.epochs),
        )
        for t in trials
    )
