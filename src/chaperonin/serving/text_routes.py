"""Routes of texts: `/v1/zero-shot` and `/v1/search`."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from chaperonin.serving.direct import Handler, add_verb
from chaperonin.serving.proteins import Proteins, read_proteins
from chaperonin.serving.schemas import SearchReply, SearchRequest, ZeroShotReply, ZeroShotRequest
from chaperonin.serving.settings import Limits
from chaperonin.serving.text_verbs import Texts, read_texts, search, zero_shot
from chaperonin.serving.verbs import Verbs, reply


def add_text_routes(app: FastAPI, limits: Limits, verbs_of: Callable[[Request], Verbs]) -> dict[str, Handler]:
    """Both of them; returns those that are reached directly."""
    direct: dict[str, Handler] = {}

    def answer(verbs: Verbs, proteins: Proteins, texts: Texts, **found: Any) -> Response:
        # The protein tower as it is answers, whatever the default model has learned over it.
        head = {"model": verbs.models.base_name, **found}
        return reply({**head, "failures": proteins.failures, "notes": texts.notes}, verbs.cost)

    @add_verb(app, direct, "/v1/zero-shot", "zeroShot", ZeroShotReply)
    async def choose(body: ZeroShotRequest, request: Request) -> Response:
        """Of classes that are described in words, the one of each protein; the model was not trained for them."""
        verbs, proteins = verbs_of(request), read_proteins(body.sequences, limits)
        texts = await read_texts(verbs, body.texts)
        return answer(verbs, proteins, texts, results=await zero_shot(verbs, proteins, texts))

    @add_verb(app, direct, "/v1/search", "search", SearchReply)
    async def find(body: SearchRequest, request: Request) -> Response:
        """The proteins that a text describes best, or the texts that describe a protein best."""
        verbs, proteins = verbs_of(request), read_proteins(body.sequences, limits)
        texts = await read_texts(verbs, body.texts)
        return answer(verbs, proteins, texts, hits=await search(verbs, proteins, texts, body.of, body.top))

    return direct
