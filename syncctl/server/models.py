"""Models that have a field for each algorithm."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, create_model

from syncctl.core.model import Algorithm

Model = TypeVar("Model", bound=BaseModel)


def for_each_algorithm(annotation: Any, default: Any = ...) -> Callable[[type[Model]], type[Model]]:
    """Give a model a field for each algorithm, named like the algorithm, after those that it has."""

    def decorate(model: type[Model]) -> type[Model]:
        fields: dict[str, Any] = {algorithm.value: (annotation, default) for algorithm in Algorithm}
        return create_model(
            model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields
        )

    return decorate
