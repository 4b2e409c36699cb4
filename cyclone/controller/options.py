"""What the configuration decides for a controller's brain. PURE."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Durations in seconds; 0 is no limit, or for ever.

    ``spare_workers`` are started besides ``worker_count``, and get work only in the place of one that is gone.
    """

    worker_count: int
    spare_workers: int = 0
    task_time_limit_s: float = 0.0
    setup_limit_s: float = 0.0
    kill_grace_s: float = 5.0
    worker_max_tasks: int = 0
    retry_wait_s: float = 1.0
    retries_max: int = 0
    stop_timeout_s: float = 30.0
