"""The OpenAPI document of the control calls, made from their table and their pydantic models."""

import re
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from hullwatch import __version__
from hullwatch.simulator.control.call import ControlCall
from hullwatch.simulator.control.input import ControlOutput
from hullwatch.simulator.control.table import CALLS

_JSON = "application/json"


class Problem(ControlOutput):
    """Why a call was refused, with the name of the wrong field where there is one."""

    error: str
    field: str | None


@cache
def document() -> bytes:
    """Return the document as JSON."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
    for call in CALLS:
        models += [(call.answer, "serialization")]
        models += [(call.body, "validation")] if call.body is not None else []
    references, schemas = models_json_schema(
        list(dict.fromkeys(models)), by_alias=True, ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        body = None if call.body is None else references[call.body, "validation"]
        answer, problem = references[call.answer, "serialization"], references[Problem, "serialization"]
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, body, answer, problem)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Control calls of the Fyers simulator", "version": __version__},
            "paths": paths,
            "components": {"schemas": schemas["$defs"]},
        }
    )


def _operation(call: ControlCall, body: Any, answer: Any, problem: Any) -> dict[str, Any]:
    words = re.findall(r"\w+", call.path.removeprefix("/simulator/"))
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", call.path)
    ]
    parameters += [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in call.query.items()
    ]
    operation: dict[str, Any] = {
        "operationId": "_".join([call.method.lower(), *words]),
        "summary": call.summary,
        "responses": {
            "200": {"description": "Done.", "content": {_JSON: {"schema": answer}}},
            "4XX": {"description": "Nothing was changed.", "content": {_JSON: {"schema": problem}}},
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        examples = {f"example{number}": {"value": value} for number, value in enumerate(call.examples, 1)}
        operation["requestBody"] = {
            "required": {} not in call.examples,
            "content": {_JSON: {"schema": body, "examples": examples}},
        }
    return operation
