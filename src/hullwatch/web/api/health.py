"""For whoever runs the server: alive, ready, and numbers. No login, and nothing about users."""

from typing import Literal

from fastapi import APIRouter, Response

from hullwatch.runtime.jobs import JobState
from hullwatch.services.operations.admin import count_states
from hullwatch.web.dependencies import ConfigNeeded, ServicesNeeded
from hullwatch.web.errors import status_problem
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Payload

router = APIRouter(tags=["health"])


class Alive(Payload):
    """The process answers."""

    status: Literal["ok"]


class DependencyPayload(Payload):
    """One thing the server depends on."""

    name: str
    is_ready: bool
    detail: str
    is_essential: bool


class JobHealth(Payload):
    """One supervised job."""

    name: str
    state: JobState
    is_healthy: bool
    is_essential: bool


class Ready(Payload):
    """Whether everything that is needed is there."""

    status: Literal["ready", "not_ready"]
    dependencies: list[DependencyPayload]
    jobs: list[JobHealth]


@router.get("/healthz")
async def alive() -> Alive:
    """Say that the process answers."""
    return Alive(status="ok")


@router.get("/readyz", responses={503: {"model": Ready, "description": "Something needed is missing."}})
async def ready(response: Response, services: ServicesNeeded) -> Ready:
    """Say whether dependencies and jobs are well."""
    found = await services.server_health.check()
    dependencies = [
        DependencyPayload(
            name=one.name, is_ready=one.is_ready, detail=one.detail, is_essential=one.is_essential
        )
        for one in found
    ]
    jobs = [
        JobHealth(name=job.name, state=job.state, is_healthy=job.is_healthy, is_essential=job.is_essential)
        for job in services.supervisor.jobs()
    ]
    has_all = all(one.is_ready for one in found if one.is_essential)
    is_ready = has_all and all(job.is_healthy for job in jobs if job.is_essential)
    response.status_code = 200 if is_ready else 503
    return Ready(status="ready" if is_ready else "not_ready", dependencies=dependencies, jobs=jobs)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(404)},
)
async def metrics(services: ServicesNeeded, config: ConfigNeeded) -> Response:
    """Return the numbers in Prometheus' text format."""
    if not config.serves_metrics:
        return status_problem(404)
    services.metrics.session_states(count_states(services.connections.connections()))
    for job in services.supervisor.jobs():
        if job.last_success_at is not None:
            services.metrics.job_success(job.name, job.last_success_at)
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
