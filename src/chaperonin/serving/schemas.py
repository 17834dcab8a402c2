"""Bodies of requests and answers, with examples. Limits that can be set stand in the schema as they are set."""

import copy
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chaperonin.serving.settings import Limits

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
INSULIN = "GIVEQCCTSICSLYQLENYCN"

_LIMIT = "x-limit"


def _limited(name: str, **more: Any) -> dict[str, Any]:
    return {_LIMIT: name, **more}


Text = Annotated[
    str,
    Field(
        max_length=1 << 30,  # replaced in the schema; here it makes pydantic refuse text that is no Unicode
        description="One-letter residues; spaces, digits, lower case and one trailing * are accepted.",
        json_schema_extra=_limited("residues", examples=[UBIQUITIN]),
    ),
]
_PROMPT = Field(min_length=1, max_length=2_000, description="The model reads its first 128 word pieces.")
LONGEST_LABEL = 200
"""Characters of what an answer calls a text."""
Id = Annotated[str, Field(max_length=200, examples=["P0CG47"])]
ModelName = Annotated[
    str | None,
    Field(max_length=200, description="A name of /v1/models; by default the model that is served."),
]


class Body(BaseModel):
    """A request: unknown fields are refused, because a typing error would go unseen."""

    model_config = ConfigDict(extra="forbid")


class Named(Body):
    """A sequence and its name."""

    sequence: Text
    id: Id | None = None


Sequences = Annotated[
    list[Text | Named],
    Field(
        min_length=1,
        json_schema_extra=_limited(
            "sequences", examples=[[UBIQUITIN, {"id": "insulin-A", "sequence": INSULIN}]]
        ),
    ),
]


class EmbedRequest(Body):
    """Vectors of proteins or of their residues."""

    sequences: Sequences
    level: Literal["protein", "residue"] = "protein"
    model: ModelName = None


class PredictRequest(Body):
    """What a trained model says of proteins."""

    sequences: Sequences
    model: ModelName = None


class ContactsRequest(Body):
    """Which residues touch."""

    sequences: Sequences


class ScoreRequest(Body):
    """Effects of substitutions."""

    sequence: Annotated[Text, Field(description="The wild type.")]
    id: Id | None = None
    variants: Annotated[
        list[Annotated[str, Field(max_length=4000)]] | None,
        Field(
            min_length=1,
            max_length=20_000,
            examples=[["A28P", "A28P:D32N"]],
            description="Counted from 1; several joined by a colon. Without: every single substitution.",
        ),
    ] = None
    protocol: Literal["masked-marginal", "wt-marginal"] = "masked-marginal"


class Described(Body):
    """A text and its name."""

    text: Annotated[str, _PROMPT]
    label: Annotated[str | None, Field(max_length=LONGEST_LABEL, examples=["nucleus"])] = None


Texts = Annotated[
    list[Annotated[str, _PROMPT] | Described],
    Field(
        min_length=1,
        description="A text of up to 200 characters is its own label, where it has no other.",
        json_schema_extra=_limited(
            "texts",
            examples=[
                [
                    "a protein located in the mitochondrion",
                    {"label": "nucleus", "text": "a protein located in the nucleus"},
                ]
            ],
        ),
    ),
]


class ZeroShotRequest(Body):
    """Classes described in words."""

    sequences: Sequences
    texts: Texts


class SearchRequest(Body):
    """What belongs to a text, or to a protein."""

    sequences: Sequences
    texts: Texts
    of: Annotated[
        Literal["text", "protein"],
        Field(description="The best proteins of each text, or the other way round."),
    ] = "text"
    top: Annotated[int, Field(ge=1, le=10_000, description="Hits of each.")] = 10


class LoadRequest(Body):
    """A model to serve besides the others."""

    folder: Annotated[
        str, Field(max_length=200, description="A folder inside --adapters.", examples=["membrane"])
    ]


class JobRequest(Body):
    """A computation that takes longer than a request may."""

    verb: Literal["embed", "predict", "score", "contacts"]
    fasta: Annotated[str | None, Field(max_length=1 << 30, examples=[f">ubiquitin\n{UBIQUITIN}\n"])] = None
    sequences: Annotated[list[Text | Named] | None, Field(min_length=1)] = None
    model: ModelName = None
    settings: Annotated[
        dict[Annotated[str, Field(max_length=50)], str | bool | int],
        Field(max_length=10, examples=[{"level": "protein"}]),
    ] = {}


class Failure(BaseModel):
    """A sequence that has no result."""

    index: int
    id: str
    error: str
    where: str
    advice: str


class Embedding(BaseModel):
    """A vector, or one per residue."""

    id: str
    length: int
    embedding: list[float] | list[list[float]]
    notes: list[str]


class EmbedReply(BaseModel):
    """Vectors in the order of the request."""

    model: str
    results: list[Embedding]
    failures: list[Failure]


class Predicted(BaseModel):
    """What is predicted; fields that the model's task has not are absent."""

    id: str
    length: int
    notes: list[str]
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    value: float | None = None
    interval: float | None = None
    in_domain: bool | None = None
    distance: float | None = None
    residues: list[Any] | None = None
    pairs: list[list[float]] | None = None


class PredictReply(BaseModel):
    """Predictions in the order of the request."""

    model: str
    results: list[Predicted]
    failures: list[Failure]


class Chosen(Predicted):
    """The class whose text agrees most; probabilities by the model's own temperature, not calibrated."""

    cosines: dict[str, float]


class ZeroShotReply(BaseModel):
    """Classes in the order of the request."""

    model: str
    results: list[Chosen]
    failures: list[Failure]
    notes: list[str]


class Found(BaseModel):
    """One of the best answers to a query."""

    query: str
    rank: int
    id: str
    cosine: float


class SearchReply(BaseModel):
    """Hits, best first, query by query."""

    model: str
    hits: list[Found]
    failures: list[Failure]
    notes: list[str]


class ContactMap(BaseModel):
    """Probability that residues touch, `[length, length]`; null where no window saw both."""

    id: str
    length: int
    contacts: list[list[float | None]]
    notes: list[str]


class ContactsReply(BaseModel):
    """Maps in the order of the request."""

    model: str
    results: list[ContactMap]
    failures: list[Failure]


class VariantScore(BaseModel):
    """log p(new residues) - log p(wild-type residues)."""

    mutant: str
    score: float


class ScoreReply(BaseModel):
    """Scores in the order of the request."""

    model: str
    id: str
    scores: list[VariantScore]
    failures: list[Failure]


class Task(BaseModel):
    """What a model predicts."""

    level: str
    kind: str
    classes: list[str]


class ServedModel(BaseModel):
    """A model that requests may name."""

    name: str
    task: Task | None
    is_default: bool


class ModelsReply(BaseModel):
    """What is served."""

    base: dict[str, Any]
    models: list[ServedModel]
    folders: Annotated[list[str], Field(description="Folders inside --adapters that may be loaded.")]


class JobStatus(BaseModel):
    """How far a job is."""

    id: str
    verb: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int
    failed: int
    total: int
    error: str | None
    created: str
    finished: str | None


class JobsReply(BaseModel):
    """Your jobs, newest first."""

    jobs: list[JobStatus]


class JobFile(BaseModel):
    """A file that a job left."""

    name: str
    bytes: int
    media_type: str


class FilesReply(BaseModel):
    """Files of a job."""

    files: list[JobFile]


class ErrorBody(BaseModel):
    """The body of every 4xx and 5xx."""

    error: str
    error_type: str
    request_id: str
    details: list[dict[str, Any]]


class Probe(BaseModel):
    """State of the endpoint."""

    status: str


class Info(BaseModel):
    """What runs here, and what it takes."""

    name: str
    version: str
    model: dict[str, Any]
    limits: dict[str, float]
    batching: bool


class ExecutionParameters(BaseModel):
    """What SageMaker's batch transform should send."""

    MaxConcurrentTransforms: int
    BatchStrategy: str
    MaxPayloadInMB: int


def with_limits(schema: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The OpenAPI document with the limits that are set."""
    named = {
        "residues": ("maxLength", 2 * limits.residues),
        "sequences": ("maxItems", limits.sequences),
        "texts": ("maxItems", limits.texts),
    }
    schema = copy.deepcopy(schema)
    waiting: list[Any] = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if _LIMIT in value:
                key, limit = named[value.pop(_LIMIT)]
                value[key] = limit
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return schema
