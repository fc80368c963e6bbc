"""Operations in the form of OpenAPI version 2 (Swagger), converted from version 3."""

from __future__ import annotations

from typing import Any

from apilayer.api.openapi.schemas import V2_REF, V3_REF

Node = dict[str, Any]


def _reference(content: Node) -> Node:
    """The schema of a body or an answer; all its media types have the same one."""
    first = next(iter(content.values()))
    return {"$ref": V2_REF + first["schema"]["$ref"].removeprefix(V3_REF)}


def _parameter(parameter: Node) -> Node:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _operation(operation: Node) -> Node:
    converted: Node = {
        key: value for key, value in operation.items() if key not in ("parameters", "requestBody", "responses")
    }
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    consumes = ["*/*"]
    body = operation.get("requestBody")
    if body is not None:
        consumes = list(body["content"])
        entry: Node = {"in": "body", "name": "body", "schema": _reference(body["content"])}
        if body.get("required"):
            entry["required"] = True
        parameters.insert(0, entry)
    converted["consumes"] = consumes
    if parameters:
        converted["parameters"] = parameters
    produces: set[str] = set()
    responses: Node = {}
    for code, answer in operation["responses"].items():
        shown: Node = {"description": answer["description"]}
        if "content" in answer:
            shown["schema"] = _reference(answer["content"])
            produces.update(answer["content"])
        responses[code] = shown
    converted["produces"] = sorted(produces)
    converted["responses"] = responses
    converted["schemes"] = ["https"]
    return converted


def swagger_paths(items: Node) -> Node:
    """Path items of version 3 as those of version 2."""
    return {
        path: {
            key: [_parameter(parameter) for parameter in value] if key == "parameters" else _operation(value)
            for key, value in item.items()
        }
        for path, item in items.items()
    }
