"""The OpenAPI document is valid, and says of each operation what a client needs to know."""

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from admin_api.common.description import operations
from scripts.api_document import read_document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(read_document())  # type: ignore[no-any-return]  # it is an object


def test_the_document_is_not_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_an_operation_says_too_little(document: dict[str, Any]) -> None:
    lacking = [
        f"{method} {path}: {what}"
        for path, method, operation in operations(document)
        for what, there in (
            ("no summary", operation.get("summary")),
            ("no tags", operation.get("tags")),
            ("no 400", "400" in operation["responses"]),
            ("no 401", path.startswith("/api/log") or not path.startswith("/api/") or "401" in operation["responses"]),
            ("no 404", "{" not in path or "404" in operation["responses"]),
        )
        if not there
    ]
    assert lacking == []


def test_an_example_is_missing_or_wrong(document: dict[str, Any]) -> None:
    seen, wrong = 0, []
    for path, method, operation in operations(document):
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [answer.get("content", {}) for status, answer in operation["responses"].items() if status[0] == "2"]
        for content in contents:
            for media_type, body in content.items():
                if media_type != "application/json":
                    continue
                assert "example" in body, f"{method} {path}"
                schema = {**body["schema"], "components": document["components"]}
                errors = jsonschema.Draft202012Validator(schema).iter_errors(body["example"])
                wrong += [f"{method} {path}: {error.message} at {list(error.absolute_path)}" for error in errors]
                seen += 1
    assert wrong == []
    assert seen > 100


NOT_PAGED = {
    "/me/sessions": "those of one person",
    "/live-calls": "asked of the engine, which bounds it",
    "/performance": "of as many months as are asked for, which is bounded",
    "/sip-accounts": "of one agent, who has a few",
    "/carrier-kinds": "of the program itself",
    "/spending": "of as many days or months as are asked for, which is bounded",
    "/webhooks": "a tenant has a few",
    "/orders/{order_id}/history": "an order goes through a few states",
    "/number-advice": "one look at a whole line",
    "/overdraft-changes": "made by hand, and the newest alone are shown",
    "/packages/{package_id}/versions": "made by hand",
}
"""Ends of the paths of lists that are answered whole, and why."""


def _lists(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """GETs whose answer holds ``items``."""
    found = []
    for path, method, operation in operations(document):
        schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
        while "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if method == "get" and ("items" in schema.get("properties", {}) or schema.get("type") == "array"):
            found.append((path, operation))
    return found


def test_a_list_is_paged_in_its_own_way(document: dict[str, Any]) -> None:
    lists = _lists(document)
    assert len(lists) > 40
    unlike = []
    for path, operation in lists:
        parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
        if path.endswith(tuple(NOT_PAGED)):
            continue
        if not {"limit", "cursor"} <= set(parameters):
            unlike.append(f"{path} is not paged")
        elif parameters["limit"]["schema"]["maximum"] != 500:
            unlike.append(f"{path} has a limit of its own")
        if "sort" in parameters and not parameters["sort"]["schema"].get("enum"):
            unlike.append(f"{path} does not say what it sorts by")
    assert not unlike, "\n".join(unlike)
