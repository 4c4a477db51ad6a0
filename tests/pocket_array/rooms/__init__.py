"""One room per kind of resource. A room gives handlers: Call -> Answer, listed in routes.py."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from ..exchange import Answer, ApiError, Request, unexpected
from ..jobs import Job
from ..logins import User
from ..query import return_timeout
from ..state import State


class Call(NamedTuple):
    """What a handler gets. `keys`: the parts of the path; `start_job`: (description, svm, work) -> Job."""

    request: Request
    keys: dict
    user: User
    state: State
    jobs: Any
    start_job: Callable[..., Job]
    location: str

    def sees(self, svm: Optional[Any]) -> bool:
        """Whether the user may see what belongs to this SVM."""
        return self.user.svm is None or (svm is not None and svm.name == self.user.svm)


def body_of(call: Call, allowed: set) -> dict:
    """The body of a POST or PATCH: an object that has nothing but what is allowed."""
    body = call.request.body
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise ApiError(400, "262182", "The body must be a JSON object.")
    for name in body:
        if name not in allowed:
            raise unexpected(name)
    return body


def job_answer(call: Call, job: Job, done: int, location: str = "") -> Answer:
    """What is told of a job: `done` if it ended within return_timeout, 202 if not, or its error."""
    headers = (("Location", location),) if location else ()
    if not job.wait(return_timeout(call.request)):
        return Answer(202, job.link(), headers)
    if return_timeout(call.request) == 0:
        return Answer(202, job.link(), headers)
    if job.error:
        raise job.error
    return Answer(done, job.link(), headers)
