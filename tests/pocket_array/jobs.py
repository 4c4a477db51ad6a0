"""Jobs: work that the array does after it has answered.

A job runs in a thread of its own (joined by `stop`), waits as long as it is told, works, and ends
as success or failure; it stays readable afterwards.
"""

from __future__ import annotations

import threading
import uuid
from typing import Callable, Optional

from .exchange import ApiError

QUEUED, RUNNING, SUCCESS, FAILURE = "queued", "running", "success", "failure"


class Job:
    """One job. `wait(seconds)` tells whether it has ended; `error` is set when it has failed."""

    def __init__(self, description: str, svm: Optional[dict], now: Callable[[], str]):
        self.uuid = str(uuid.uuid4())
        self.description, self.svm, self._now = description, svm, now
        self.state, self.error = QUEUED, None  # type: str, Optional[ApiError]
        self.start_time, self.end_time = now(), None  # type: str, Optional[str]
        self.lost = False
        self._ended = threading.Event()

    @property
    def href(self) -> str:
        return f"/api/cluster/jobs/{self.uuid}"

    def link(self) -> dict:
        """The body of a 202."""
        return {"job": {"uuid": self.uuid, "_links": {"self": {"href": self.href}}}}

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    def end(self, error: Optional[ApiError] = None) -> None:
        self.error, self.end_time = error, self._now()
        self.state = FAILURE if error else SUCCESS
        self._ended.set()

    def row(self) -> dict:
        """The whole record, JSON shaped; code is a number in the job and text in its error."""
        row = {
            "uuid": self.uuid,
            "description": self.description,
            "state": self.state,
            "start_time": self.start_time,
        }
        if self.svm:
            row["svm"] = self.svm
        if row["state"] in (SUCCESS, FAILURE):  # end() sets the state last
            row["end_time"] = self.end_time
        if row["state"] == SUCCESS:
            row.update(message="success", code=0)
        if row["state"] == FAILURE:
            row.update(
                message=self.error.message,
                code=int(self.error.code),
                error={"message": self.error.message, "code": self.error.code},
            )
        return row


class Jobs:
    """All jobs of one array."""

    def __init__(self, now: Callable[[], str], stopping: threading.Event):
        self._now, self._stopping = now, stopping
        self._jobs: dict = {}
        self._threads: set = set()
        self._lock = threading.Lock()

    def start(
        self,
        description: str,
        svm: Optional[dict],
        work: Callable[[], None],
        seconds: float = 0.0,
        fail: Optional[ApiError] = None,
        release: Optional[threading.Event] = None,
    ) -> Job:
        """Begin a job that takes `seconds` and then does `work`, or fails with `fail` instead.

        `release` ends its waiting early (the default is that only the array's stop does).
        """
        job = Job(description, svm, self._now)
        thread = threading.Thread(
            target=self._run,
            args=(job, work, seconds, fail, release or self._stopping),
            name=f"pocket-job-{job.uuid[:8]}",
        )
        with self._lock:
            self._jobs[job.uuid] = job
            self._threads.add(thread)
        thread.start()
        return job

    def _run(
        self,
        job: Job,
        work: Callable[[], None],
        seconds: float,
        fail: Optional[ApiError],
        release: threading.Event,
    ) -> None:
        try:
            if seconds:
                release.wait(min(seconds / 2, 0.05))
                job.state = RUNNING
                release.wait(max(seconds - 0.05, seconds / 2))
                if self._stopping.is_set():
                    raise ApiError(500, "458769", "The array stopped while the job was running.")
            job.state = RUNNING
            if fail is None:
                work()
            job.end(fail)
        except ApiError as error:
            job.end(error)
        except Exception as error:  # a fault of our own must not leave a job that never ends
            job.end(ApiError(500, "1", f"internal error: {type(error).__name__}: {error}"))
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def find(self, job_uuid: str) -> Optional[Job]:
        with self._lock:
            job = self._jobs.get(job_uuid)
        return None if job is None or job.lost else job

    def all(self) -> list:
        with self._lock:
            return [job for job in self._jobs.values() if not job.lost]

    def join(self) -> None:
        """Wait for the threads of all jobs; `stopping` must be set, or they take their time."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()
