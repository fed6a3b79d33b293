"""Shapes of JSON that several routes share; those of one subject stand beside its routes. Names are camelCase on the outside."""

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState
from hullwatch.services.texts.connection import connection_message


class Payload(BaseModel):
    """Base of everything that comes in or goes out."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True
    )


def _of_this_century(moment: datetime) -> datetime:
    """Refuse moments whose conversion to another zone could leave the range of dates."""
    if not 2000 <= moment.year <= 2100:
        raise ValueError("not between 2000 and 2100")
    return moment.astimezone(UTC)


def _day_of_this_century(day: date) -> date:
    if not 2000 <= day.year <= 2100:
        raise ValueError("not between 2000 and 2100")
    return day


Moment = Annotated[AwareDatetime, AfterValidator(_of_this_century)]
"""A moment from outside, with its offset."""
Day = Annotated[date, AfterValidator(_day_of_this_century)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id of ours in an address."""
Limit = Annotated[int, Field(ge=1, le=500)]


class ConnectionPayload(Payload):
    """The session of the user's Fyers account, as everybody is told of it."""

    state: LoginState
    reason: DisconnectReason | None = Field(description="Why it ended; null unless disconnected.")
    message: str = Field(description="What it means for the person, in a sentence; times in IST.")
    verified: bool = Field(
        description="False when Fyers could not be asked lately; the session is still used."
    )
    expires_at: datetime | None
    connected_at: datetime | None
    last_validated_at: datetime | None
    last_disconnect_time: datetime | None
    fyers_id: str | None
    incident_id: str | None

    @classmethod
    def of(cls, connection: Connection) -> "ConnectionPayload":
        """Return the payload of a connection."""
        return cls(
            state=connection.state,
            reason=connection.reason,
            message=connection_message(connection),
            verified=connection.is_verified,
            expires_at=connection.expires_at,
            connected_at=connection.connected_at,
            last_validated_at=connection.last_validated_at,
            last_disconnect_time=connection.last_disconnect_at,
            fyers_id=connection.fyers_id,
            incident_id=connection.incident_id,
        )


class Done(Payload):
    """It was done."""

    success: bool
    message: str
