"""The building blocks of studies: methods, tasks, searchers."""

from service.commands.options import AsJson
from service.commands.terminal import print_rows


def methods(as_json: AsJson = False) -> None:
    """List the training methods and their search spaces."""
    from studies.design.methods import METHODS
    from studies.design.space import searched, to_json

    rows = [
        {
            "method": name,
            "dimensions": len(searched(method.space)),
            "space": {key: to_json(dimension) for key, dimension in method.space.items()},
            "summary": method.summary,
            "source": method.source,
        }
        for name, method in METHODS.items()
    ]
    print_rows(rows, as_json)


def tasks(as_json: AsJson = False) -> None:
    """List the tasks."""
    from trainers.tasks import TASKS

    rows = [
        {
            "task": task.name,
            "data": task.dataset,
            "model": task.model,
            "metric": f"{task.metric} ({task.direction})",
            "first_step": task.recipe.first_step.epochs if task.recipe.first_step else 0,
            "epochs": task.recipe.epochs,
            "width": task.width,
            "image size": task.image_size,
            "summary": task.summary,
        }
        for task in TASKS.values()
    ]
    print_rows(rows, as_json)


def searchers(as_json: AsJson = False) -> None:
    """List the searchers."""
    from studies.design.searchers import SEARCHERS

    rows = [{"searcher": name, "summary": searcher.summary} for name, searcher in SEARCHERS.items()]
    print_rows(rows, as_json)
