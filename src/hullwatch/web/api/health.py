"""Routes for monitoring the server itself: alive, ready, metrics. No login, and no data of users."""

from typing import Literal

from fastapi import APIRouter, Response

from hullwatch.runtime.jobs import JobState
from hullwatch.services.operations.admin import count_states
from hullwatch.web.dependencies import CurrentConfig, CurrentServices
from hullwatch.web.errors import status_problem
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Payload

router = APIRouter(tags=["health"])


class Alive(Payload):
    """The process answers."""

    status: Literal["ok"]


class DependencyPayload(Payload):
    """A dependency of the server, such as the database."""

    name: str
    is_ready: bool
    detail: str
    is_essential: bool


class JobHealth(Payload):
    """A supervised job."""

    name: str
    state: JobState
    is_healthy: bool
    is_essential: bool


class Ready(Payload):
    """Whether all essential dependencies and jobs work."""

    status: Literal["ready", "not_ready"]
    dependencies: list[DependencyPayload]
    jobs: list[JobHealth]


@router.get("/healthz")
async def alive() -> Alive:
    """Return `ok` while the process answers."""
    return Alive(status="ok")


@router.get(
    "/readyz",
    responses={503: {"model": Ready, "description": "An essential dependency or job does not work."}},
)
async def ready(response: Response, services: CurrentServices) -> Ready:
    """Return whether the server is ready, with each dependency and job."""
    found = await services.server_health.check()
    jobs = services.supervisor.jobs()
    is_ready = all(one.is_ready for one in found if one.is_essential) and all(
        job.is_healthy for job in jobs if job.is_essential
    )
    response.status_code = 200 if is_ready else 503
    return Ready(
        status="ready" if is_ready else "not_ready",
        dependencies=[DependencyPayload.of(one) for one in found],
        jobs=[JobHealth.of(job) for job in jobs],
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(404)},
)
async def metrics(services: CurrentServices, config: CurrentConfig) -> Response:
    """Return the metrics in the text format of Prometheus."""
    if not config.serves_metrics:
        return status_problem(404)
    services.metrics.session_states(count_states(services.connections.connections()))
    for job in services.supervisor.jobs():
        if job.last_success_at is not None:
            services.metrics.job_success(job.name, job.last_success_at)
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
