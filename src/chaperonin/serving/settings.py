"""What the endpoint may be told: where it listens, who may use it, how much it takes on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaperonin.errors import UsageError
from chaperonin.inference.load import Precision

SAGEMAKER_MODEL = Path("/opt/ml/model")
"""Where SageMaker unpacks a model before it runs `serve`."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """What one request, one client and the whole endpoint may ask for. They stand in the schema and in `/info`."""

    body_bytes: int = 6_291_456
    """Bytes of a request, as SageMaker allows."""
    sequences: int = 256
    """Sequences of a request."""
    texts: int = 256
    """Texts of a request."""
    residues: int = 5_000
    """Residues of a sequence."""
    tokens: int = 65_536
    """Tokens that a request may cost: residues and two ends of every pass through the model."""
    values: int = 4_000_000
    """Numbers in a reply."""
    depth: int = 16
    """JSON values inside each other."""
    requests: int = 512
    """Requests at once."""
    queue_tokens: int = 131_072
    """Tokens that may wait for the model."""
    jobs: int = 32
    """Jobs that may wait or run."""
    kept_jobs: int = 200
    """Finished jobs whose files are kept; the oldest go first."""
    head_seconds: float = 10.0
    """Time that a client has to send the head of a request."""
    body_seconds: float = 20.0
    """Time that a client has to send the rest of its request."""
    queue_seconds: float = 30.0
    """Time that a request may wait for the model."""
    compute_seconds: float = 55.0
    """Time that a request may take in all; SageMaker gives up after 60 s."""
    drain_seconds: float = 20.0
    """Time to finish what was accepted after SIGTERM, then it gets 503; at most 4 s later the process has ended."""


@dataclass(frozen=True)
class ServeSettings:
    """How `serve` runs."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = 8080
    """Port to listen at; 0 takes a free one and prints it."""
    tokens_file: str | None = None
    """File with one token per line, as it is or as `sha256:HEX`."""
    token_env: str | None = None
    """Environment variable that holds a token."""
    adapters: str | None = None
    """Folder of model folders that are served over the same base."""
    jobs_dir: str | None = None
    """Folder for jobs and their state; by default `chaperonin/jobs` in the user's state folder."""
    precision: Precision = "auto"
    """Arithmetic: auto, fp32, bf16 or int8."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …"""
    batching: bool = True
    """Whether requests share passes through the model; without, each sequence has its own."""
    batch_tokens: int | None = None
    """Tokens per batch at most; by default what suits the machine."""
    max_wait_ms: float = 2.0
    """How long a busy model waits for company before it runs a small batch; an idle one never waits."""
    threads: int | None = None
    """Threads of one operation of the model; by default as PyTorch chooses."""
    platform: bool = False
    """Whether a platform stands in front (SageMaker's contract): `/invocations` and `/execution-parameters` then
    need no token, and everything else that needs one is closed unless tokens are given."""
    concurrent_transforms: int = 8
    """What `/execution-parameters` tells batch transform: requests at once."""
    batch_strategy: str = "MULTI_RECORD"
    """What `/execution-parameters` tells batch transform: records per request."""
    limits: Limits = field(default_factory=Limits)

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the endpoint."""
        return self.host in _LOOPBACK


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Settings that SageMaker's environment variables give, by their dotted names, as text."""
    found = {key: environment[name] for name, key in _VARIABLES.items() if environment.get(name)}
    if megabytes := environment.get("SAGEMAKER_MAX_PAYLOAD_IN_MB"):
        if not megabytes.isdigit():
            raise UsageError(f"{megabytes!r} is no number", where="SAGEMAKER_MAX_PAYLOAD_IN_MB")
        # 0 means no limit there; here a gigabyte is one.
        found["limits.body_bytes"] = str((int(megabytes) or 1024) << 20)
    return found


_VARIABLES = {
    "SAGEMAKER_BIND_TO_PORT": "port",
    "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "concurrent_transforms",
    "SAGEMAKER_BATCH_STRATEGY": "batch_strategy",
}


def jobs_folder(settings: ServeSettings) -> Path:
    """Where jobs live: the folder that was named, or one in the user's state folder (XDG)."""
    if settings.jobs_dir:
        return Path(settings.jobs_dir)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "chaperonin" / "jobs"
