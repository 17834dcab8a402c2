"""Bodies of requests: from JSON to the model that says what they may hold, or a Refusal that says what is wrong."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chaperonin.serving.errors import Refusal, invalid


def read_json(text: str | bytes, where: str) -> Any:
    """A JSON value; Refusal (400) for what is none."""
    try:
        return json.loads(text)
    except ValueError as error:  # also text that is no UTF-8, and numbers of too many digits
        raise Refusal(400, "malformed", f"{where} is no JSON ({str(error)[:200]}).") from error


def validated(model: TypeAdapter[Any], value: Any, within: Sequence[str] = ()) -> Any:
    """What the model makes of a value; Refusal (422) that says where it is wrong."""
    try:
        return model.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise invalid([{**one, "loc": (*within, *one["loc"])} for one in found]) from error
