"""The building blocks of studies: methods, tasks, searchers."""

from fastapi import APIRouter
from starlette.responses import Response

from service.api.routes import json
from service.schemas import Items, Method, Searcher, Task
from studies.design.json_schema import searcher_schema, space_schema
from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS
from studies.design.space import searched, to_json
from trainers.tasks import TASKS

router = APIRouter(prefix="/v1", tags=["catalog"])


@router.get("/methods", response_model=Items[Method])
async def list_methods() -> Response:
    """List the training methods and their search spaces."""
    methods = (
        Method(
            name=name,
            summary=method.summary,
            source=method.source,
            dimensions=len(searched(method.space)),
            defaults={key: to_json(dimension) for key, dimension in method.space.items()},
            space=space_schema(name),
        )
        for name, method in METHODS.items()
    )
    return json(Items[Method](items=tuple(methods)))


@router.get("/tasks", response_model=Items[Task])
async def list_tasks() -> Response:
    """List the tasks."""
    tasks = (
        Task(
            name=task.name,
            summary=task.summary,
            data=task.dataset,
            model=task.model,
            metric=task.metric,
            direction=task.direction,
            first_step=task.recipe.first_step.epochs if task.recipe.first_step else 0,
            epochs=task.recipe.epochs,
            width=task.width,
            image_size=task.image_size,
        )
        for task in TASKS.values()
    )
    return json(Items[Task](items=tuple(tasks)))


@router.get("/searchers", response_model=Items[Searcher])
async def list_searchers() -> Response:
    """List the searchers and their options in a study file."""
    searchers = (
        Searcher(name=name, summary=searcher.summary, space=searcher_schema(name))
        for name, searcher in SEARCHERS.items()
    )
    return json(Items[Searcher](items=tuple(searchers)))
