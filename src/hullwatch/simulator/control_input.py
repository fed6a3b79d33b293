"""Reads the JSON bodies of the control calls."""

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel


class InvalidRequest(Exception):  # noqa: N818  failures are named as facts
    """A control call that cannot be carried out."""

    def __init__(self, status: int, reason: str, field_name: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.field_name = field_name


class ControlInput(BaseModel):
    """A body of a control call; null stands for an absent field."""

    model_config = ConfigDict(strict=True, frozen=True, alias_generator=to_camel, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {n: v for n, v in data.items() if v is not None} if isinstance(data, dict) else data


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_printable)]
Input = TypeVar("Input", bound=ControlInput)


def read_input(model: type[Input], body: bytes) -> Input:
    """Read a body; no body is an empty object.

    Raises:
        InvalidRequest: It is no JSON, or a field cannot be used.
    """
    try:
        return model.model_validate_json(body if body.strip() else b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise InvalidRequest(400, "the body is not JSON") from error
        field = str(first["loc"][0]) if first["loc"] else None
        raise InvalidRequest(422, f"{field or 'the body'}: {first['msg']}", field) from error
