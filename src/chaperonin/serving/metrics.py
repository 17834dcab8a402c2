"""What Prometheus reads at /metrics."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from chaperonin.kernels.host_memory import resident_bytes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters of one endpoint, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "chaperonin"}
        self._requests = Counter("requests", "Requests answered", ["method", "route", "status"], **own)
        self._rejected = Counter("rejected", "Requests refused, by reason", ["reason"], **own)
        self._tokens = Counter("tokens", "Tokens computed for requests", **own)
        self._batch_items = Histogram("batch_items", "Sequences per batch", buckets=_SIZES, **own)
        self._batch_tokens = Histogram("batch_tokens", "Tokens per batch", buckets=_TOKENS, **own)
        self._batch_seconds = Histogram("batch_seconds", "Time of a batch", buckets=_SECONDS, **own)
        self._total = Histogram(
            "request_duration_seconds", "Whole time of a request", buckets=_SECONDS, **own
        )
        self._queued = Histogram("request_queue_seconds", "Wait for the model", buckets=_SECONDS, **own)
        self._inference = Histogram("request_inference_seconds", "Time in the model", buckets=_SECONDS, **own)
        self._waiting = Gauge("queue_tokens", "Tokens that wait for the model", **own)
        self._jobs = Gauge("jobs_unfinished", "Jobs that wait or run", **own)
        memory = Gauge("resident_memory_bytes", "Memory of this process", **own)
        memory.set_function(resident_bytes)

    def watch(self, queue_tokens: Callable[[], float], jobs: Callable[[], float]) -> None:
        """Read these when somebody looks."""
        self._waiting.set_function(queue_tokens)
        self._jobs.set_function(jobs)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._total.observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count one refusal."""
        self._rejected.labels(reason).inc()

    def computed(self, queue_seconds: float, inference_seconds: float) -> None:
        """Count the model's part of one request."""
        self._queued.observe(queue_seconds)
        self._inference.observe(inference_seconds)

    def batch(self, items: int, tokens: int, seconds: float) -> None:
        """Count one batch."""
        self._tokens.inc(tokens)
        self._batch_items.observe(items)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
