"""Lines of the audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What changed, for which user, and who or what caused it; holds no secret."""

    at: datetime
    user_id: str | None
    kind: str
    """Dotted and past tense: ``connection.expired``, ``monitoring.blind``, ``user.role_changed``."""
    actor: str
    """``hullwatch``, ``fyers``, or the id of the user who did it."""
    from_state: str | None = None
    to_state: str | None = None
    reason: str | None = None
    generation: int | None = None
    incident_id: str | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
