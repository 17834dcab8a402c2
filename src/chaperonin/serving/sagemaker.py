"""SageMaker's contract, which Hugging Face's endpoints share: `/invocations` in four formats, `/execution-parameters`.

`{"inputs": …, "parameters": {…}}` is the body; JSON lines and CSV hold one sequence per line and get one line each, in
the same order; NumPy arrays come and go. A sequence that cannot be used gets an error in its place. `/ping` is with
the other probes.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request, Response
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter
from pydantic_core import to_json

from chaperonin.data.sources import csv_cell
from chaperonin.serving.bodies import read_json, validated
from chaperonin.serving.direct import Handler
from chaperonin.serving.errors import Refusal
from chaperonin.serving.gate import JSON
from chaperonin.serving.proteins import Proteins, read_proteins
from chaperonin.serving.schemas import UBIQUITIN, Body, ExecutionParameters, ModelName, Named, Sequences, Text
from chaperonin.serving.settings import ServeSettings
from chaperonin.serving.verbs import Verbs, numbers

LINES = ("application/jsonlines", "application/x-jsonlines", "application/x-ndjson")
CSV = "text/csv"
NPY = "application/x-npy"
_HEADERS = ("inputs", "sequence")
_LARGEST_HEADER = 1 << 16


class Parameters(Body):
    """What is wanted of the inputs."""

    task: Literal["predict", "embed", "contacts"] | None = None
    """By default predict where the model has a task, else embed."""
    level: Literal["protein", "residue"] = "protein"
    model: ModelName = None


class HuggingFaceBody(Body):
    """The body of Hugging Face's toolkit."""

    inputs: Annotated[Text | Named | Sequences, Field(examples=[UBIQUITIN, [UBIQUITIN]])]
    parameters: Parameters = Parameters()


class NativeBody(Body):
    """Our own names for the same."""

    sequences: Sequences
    parameters: Parameters = Parameters()


@dataclass(frozen=True)
class Asked:
    """Sequences in the order of the lines, and what is wanted of them."""

    sequences: Sequence[str | Named]
    parameters: Parameters
    header: bool = False
    """Whether a CSV began with a line of names: the answer then does too."""


@dataclass(frozen=True)
class Answers:
    """One entry per sequence: a JSON value, cells of a CSV line, and an array where there is one."""

    proteins: Proteins
    entries: list[dict[str, Any]]
    arrays: dict[int, NDArray[Any]]
    columns: list[str]


def add_routes(
    app: FastAPI, settings: ServeSettings, verbs_of: Callable[[Request], Verbs]
) -> dict[str, Handler]:
    """`/invocations` and `/execution-parameters`; returns those that are reached directly."""
    limits = settings.limits

    @app.post(
        "/invocations",
        operation_id="invocations",
        tags=["sagemaker"],
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": _request_content()}},
        responses={
            200: {"content": {JSON: {}, LINES[0]: {}, CSV: {}, NPY: {}}},
            406: {"description": "Not offered."},
        },
    )
    async def invocations(request: Request) -> Response:
        """Predictions, embeddings or contacts, in the format of Accept, which is by default that of Content-Type."""
        given = _kind(request.headers.get("content-type", JSON))
        wanted = _accepted(request.headers.get("accept", ""), given)
        asked = _READERS[given](await request.body())
        proteins = read_proteins(asked.sequences, limits)
        if given == JSON and wanted == JSON:
            proteins.require_one()
        verbs = verbs_of(request)
        answers = await _compute(verbs, proteins, asked.parameters)
        return Response(_WRITERS[wanted](answers, asked), headers=verbs.cost.headers(), media_type=wanted)

    @app.get(
        "/execution-parameters",
        operation_id="executionParameters",
        tags=["sagemaker"],
        response_model=ExecutionParameters,
    )
    async def execution_parameters() -> Response:
        """What batch transform should send."""
        body = ExecutionParameters(
            MaxConcurrentTransforms=settings.concurrent_transforms,
            BatchStrategy=settings.batch_strategy,
            MaxPayloadInMB=limits.body_bytes >> 20,
        )
        return Response(body.model_dump_json(), media_type=JSON)

    return {"/invocations": invocations}


async def _compute(verbs: Verbs, proteins: Proteins, parameters: Parameters) -> Answers:
    served = verbs.models.get(parameters.model)
    task = parameters.task or ("embed" if served.trained is None else "predict")
    entries: dict[int, dict[str, Any]] = {one["index"]: _failed(one) for one in proteins.failures}
    arrays: dict[int, NDArray[Any]] = {}
    columns = ["embedding"]
    if task == "predict":
        columns = ["label", "score"]
        predictions = await verbs.predict(proteins, parameters.model) if proteins.good else {}
        for index, prediction in predictions.items():
            found = prediction.as_json()
            entries[index] = {**found, "score": found.get("probability", found.get("value"))}
            arrays[index] = _array(found)
    elif task == "embed":
        if proteins.good:
            arrays = await verbs.embed(proteins, parameters.level, parameters.model)
        entries |= {index: {"embedding": numbers(own)} for index, own in arrays.items()}
    else:
        columns = ["contacts"]
        arrays = await verbs.contacts(proteins) if proteins.good else {}
        entries |= {index: {"contacts": numbers(own, 3)} for index, own in arrays.items()}
    ids = {one.index: one.id for one in proteins.good}
    ordered = [
        {"id": ids[index], **entries[index]} if index in ids else entries[index] for index in sorted(entries)
    ]
    return Answers(proteins, ordered, arrays, columns)


def _array(found: dict[str, Any]) -> NDArray[Any]:
    """A prediction as numbers: probabilities of the classes, per residue or pair where it is so; or the value."""
    for name in ("residues", "pairs"):
        if name in found:
            return np.array(found[name], dtype=np.float32)
    probabilities = found.get("probabilities")
    values = list(probabilities.values()) if probabilities else [found.get("value", np.nan)]
    return np.array(values, dtype=np.float32)


def _failed(failure: dict[str, Any]) -> dict[str, Any]:
    return {name: failure[name] for name in ("id", "error", "where", "advice")}


def _read_json(body: bytes) -> Asked:
    value = read_json(body, "the body")
    if isinstance(value, dict) and "sequences" in value:
        native = validated(_NATIVE, value)
        return Asked(native.sequences, native.parameters)
    read = validated(_HUGGING_FACE, value)
    inputs = read.inputs if isinstance(read.inputs, list) else [read.inputs]
    return Asked(inputs, read.parameters)


def _read_lines(body: bytes) -> Asked:
    """A JSON value per line: a string, `{"inputs": …}` with a string, or `{"sequence": …}`."""
    sequences: list[str | Named] = []
    parameters = Parameters()
    for number, line in enumerate(_text(body).splitlines(), start=1):
        if not line.strip():
            continue
        value = read_json(line, f"line {number}")
        if isinstance(value, dict) and "inputs" in value:
            read = validated(_HUGGING_FACE, value)
            if isinstance(read.inputs, list):
                raise Refusal(422, "validation", f"line {number}: one sequence per line, not a list.")
            sequences.append(read.inputs)
            parameters = read.parameters
        else:
            sequences.append(validated(_LINE, value))
    return Asked(_required(sequences), parameters)


def _read_csv(body: bytes) -> Asked:
    """A column `inputs` (or `sequence`, and `id`); without a line of names, the first cell of each line."""
    try:
        rows = [row for row in csv.reader(io.StringIO(_text(body), newline=""), strict=True) if row]
    except csv.Error as error:
        raise Refusal(400, "malformed", f"The body is no CSV ({error}).") from error
    names = [cell.strip() for cell in rows[0]] if rows else []
    column = next((names.index(name) for name in _HEADERS if name in names), None)
    if column is None:
        return Asked(_required([row[0] for row in rows]), Parameters())
    id_column = names.index("id") if "id" in names else None
    sequences: list[str | Named] = []
    for row in rows[1:]:
        text = row[column] if column < len(row) else ""
        id = row[id_column][:200] if id_column is not None and id_column < len(row) else None
        sequences.append(Named(sequence=text, id=id or None))
    return Asked(_required(sequences), Parameters(), header=True)


def _read_npy(body: bytes) -> Asked:
    """A one-dimensional array of text; pickled objects are refused, and so is a header that promises too much."""
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream, max_header_size=_LARGEST_HEADER)
    except (ValueError, EOFError, SyntaxError) as error:
        raise Refusal(400, "malformed", "The body is no array of NumPy's format.") from error
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if dtype.hasobject or dtype.kind not in "US":
        raise Refusal(422, "validation", f"The array holds {dtype}, not text.")
    if count * dtype.itemsize != len(body) - stream.tell() or count == 0:
        raise Refusal(400, "malformed", "The array is cut off, or empty.")
    try:
        values = np.frombuffer(body, dtype=dtype, count=count, offset=stream.tell()).tolist()
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
    except (ValueError, UnicodeDecodeError) as error:
        raise Refusal(422, "validation", "The array holds what is no text.") from error
    return Asked(_required(texts), Parameters())


def _write_json(answers: Answers, asked: Asked) -> bytes:
    return to_json(answers.entries)


def _write_lines(answers: Answers, asked: Asked) -> bytes:
    return b"".join(to_json(entry) + b"\n" for entry in answers.entries)


def _write_csv(answers: Answers, asked: Asked) -> bytes:
    """One line per sequence: id, result, error; a result of several numbers is JSON in its cell."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if asked.header:
        lines.writerow(["id", *answers.columns, "error"])
    for entry in answers.entries:
        cells = [_cell(entry.get(name)) for name in answers.columns]
        lines.writerow([csv_cell(entry["id"]), *cells, csv_cell(entry.get("error", ""))])
    return text.getvalue().encode("utf-8")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return csv_cell(value) if isinstance(value, str) else json.dumps(value)


def _write_npy(answers: Answers, asked: Asked) -> bytes:
    """One array over all sequences; a sequence that failed is NaN. Refusal (406) where they differ in shape."""
    shapes = {array.shape for array in answers.arrays.values()}
    if len(shapes) != 1:
        raise Refusal(
            406, "not_acceptable", "The results differ in shape: send one sequence at a time, or accept JSON."
        )
    nothing = np.full(shapes.pop(), np.nan, dtype=np.float32)
    rows = [answers.arrays.get(index, nothing) for index in range(len(answers.entries))]
    stream = io.BytesIO()
    np.save(stream, np.stack(rows).astype(np.float32), allow_pickle=False)
    return stream.getvalue()


_READERS: dict[str, Callable[[bytes], Asked]] = {JSON: _read_json, CSV: _read_csv, NPY: _read_npy}
_READERS |= dict.fromkeys(LINES, _read_lines)
_WRITERS: dict[str, Callable[[Answers, Asked], bytes]] = {JSON: _write_json, CSV: _write_csv, NPY: _write_npy}
_WRITERS |= dict.fromkeys(LINES, _write_lines)
_NATIVE = TypeAdapter(NativeBody)
_HUGGING_FACE = TypeAdapter(HuggingFaceBody)
_LINE: TypeAdapter[str | Named] = TypeAdapter(str | Named)


def _kind(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _accepted(header: str, given: str) -> str:
    """The first format of Accept that there is; that of the request where anything will do. Refusal (406)."""
    default = JSON if given == NPY else given
    kinds = [_kind(part) for part in header.split(",") if part.strip()]
    if not kinds:
        return default
    for kind in kinds:
        if kind in _WRITERS:
            return kind
        if kind in ("*/*", "application/*", "text/*"):
            return CSV if kind == "text/*" else default
    raise Refusal(406, "not_acceptable", f"There is {', '.join(_WRITERS)}, not {header[:100]}.")


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(400, "malformed", "The body is no UTF-8.") from error


def _required(sequences: list[Any]) -> list[Any]:
    if not sequences:
        raise Refusal(422, "input", "There is no sequence in the body.")
    return sequences


def _request_content() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {
        JSON: {"schema": {"$ref": "#/components/schemas/HuggingFaceBody"}},
        LINES[0]: {"schema": text, "example": f'{{"inputs": "{UBIQUITIN}"}}\n'},
        CSV: {"schema": text, "example": f"inputs\n{UBIQUITIN}\n"},
        NPY: {"schema": {"type": "string", "format": "binary"}},
    }
