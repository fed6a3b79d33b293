"""Reads the JSON bodies of the control calls, and describes their answers."""

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

LATEST = 7_258_118_400.0
"""2200-01-01 UTC: no simulated moment lies beyond it."""


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


class ControlOutput(BaseModel):
    """An answer of a control call."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Done(ControlOutput):
    """The call was carried out."""

    success: bool = True


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


def _iso(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2026-11-25T09:15:00+05:30")  # noqa: TRY004  pydantic reports it
    return value


def _in_range(moment: AwareDatetime) -> AwareDatetime:
    if not 0 <= moment.timestamp() < LATEST:
        raise ValueError("must be between 1970 and 2200")
    return moment


Text = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_printable)]
Moment = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_in_range), Field(strict=False)]
IsoTime = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A simulated moment in an answer, with the offset of India."""
Input = TypeVar("Input", bound=BaseModel)


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
        field = _field_of(first, has_kinds=issubclass(model, RootModel))
        raise InvalidRequest(422, f"{field or 'the body'}: {first['msg']}", field) from error


def _field_of(error: Any, *, has_kinds: bool) -> str | None:
    """Return the name of the wrong field; in a body with kinds, the kind comes before it."""
    if error["type"].startswith("union_tag"):
        return "kind"
    names = error["loc"][1 if has_kinds else 0 :]
    return str(names[0]) if names else None
