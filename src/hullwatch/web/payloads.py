"""The base class of all JSON bodies, and the bodies that several routes share. JSON names are camelCase."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.services.texts.connection import connection_message


class Payload(BaseModel):
    """Base of all bodies of requests and answers."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True
    )

    @classmethod
    def of(cls, value: Any, /, **explicit: Any) -> Self:
        """Return a payload with the fields that `value` has under the same names; `explicit` gives all others."""
        copied = {name: getattr(value, name) for name in cls.model_fields if name not in explicit}
        return cls.model_validate(copied | explicit, from_attributes=True)


def _of_this_century(moment: datetime) -> datetime:
    """Refuse moments that a change of the time zone could move out of the range of dates."""
    if not 2000 <= moment.year <= 2100:
        raise ValueError("not between 2000 and 2100")
    return moment.astimezone(UTC)


def _day_of_this_century(day: date) -> date:
    if not 2000 <= day.year <= 2100:
        raise ValueError("not between 2000 and 2100")
    return day


def _symbol_text(value: object) -> object:
    return value.text if isinstance(value, Symbol) else value


def _resolution_code(value: object) -> object:
    return value.code if isinstance(value, Resolution) else value


Moment = Annotated[AwareDatetime, AfterValidator(_of_this_century)]
"""A moment in a request, with its UTC offset."""
Day = Annotated[date, AfterValidator(_day_of_this_century)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id of hullwatch in a path."""
Limit = Annotated[int, Field(ge=1, le=500)]
SymbolText = Annotated[str, BeforeValidator(_symbol_text)]
"""A symbol in an answer, such as ``NSE:SBIN-EQ``."""
ResolutionText = Annotated[str, BeforeValidator(_resolution_code)]
"""A resolution in an answer, such as ``5`` or ``1D``."""


class ConnectionPayload(Payload):
    """The user's Fyers session."""

    state: LoginState
    reason: DisconnectReason | None = Field(
        description="Why the session was disconnected; null in every other state."
    )
    message: str = Field(description="The state in a sentence for the user; times in IST.")
    verified: bool = Field(
        description="False when Fyers has not confirmed the session lately; it is used all the same."
    )
    expires_at: datetime | None
    connected_at: datetime | None
    last_validated_at: datetime | None
    last_disconnect_time: datetime | None
    fyers_id: str | None
    incident_id: str | None

    @classmethod
    def of(cls, connection: Connection, /, **explicit: Any) -> Self:
        """Return the payload of a connection."""
        message = connection_message(connection)
        return super().of(connection, message=message, **renamed_fields(connection), **explicit)


def renamed_fields(connection: Connection) -> dict[str, Any]:
    """Return the fields of a connection whose names in the API differ from those in the code."""
    return {"verified": connection.is_verified, "last_disconnect_time": connection.last_disconnect_at}


class Done(Payload):
    """The request was carried out."""

    success: bool
    message: str
