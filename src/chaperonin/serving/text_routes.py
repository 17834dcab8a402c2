"""Routes of texts: `/v1/zero-shot` and `/v1/search`."""

from collections.abc import Callable
from dataclasses import asdict

from fastapi import FastAPI, Request, Response

from chaperonin.serving.direct import Handler, add_verb
from chaperonin.serving.proteins import read_proteins
from chaperonin.serving.schemas import SearchReply, SearchRequest, ZeroShotReply, ZeroShotRequest
from chaperonin.serving.settings import Limits
from chaperonin.serving.text_verbs import notes, read_prompts, search, zero_shot
from chaperonin.serving.verbs import Verbs, reply

_DIGITS = 6
"""Decimals of cosines."""


def add_text_routes(app: FastAPI, limits: Limits, verbs_of: Callable[[Request], Verbs]) -> dict[str, Handler]:
    """Both of them; returns those that are reached directly."""
    direct: dict[str, Handler] = {}

    @add_verb(app, direct, "/v1/zero-shot", "zeroShot", ZeroShotReply)
    async def choose(body: ZeroShotRequest, request: Request) -> Response:
        """Of classes that are described in words, the one of each protein; the model was not trained for them."""
        verbs, proteins = verbs_of(request), read_proteins(body.sequences, limits)
        prompts = read_prompts(body.texts, limits)
        found = await zero_shot(verbs, proteins, prompts)
        results = []
        for one in proteins.good:
            prediction, cosines = found[one.index]
            rounded = {label: round(cosine, _DIGITS) for label, cosine in cosines.items()}
            results.append({**one.head(), **prediction.as_json(), "cosines": rounded})
        head = {"model": verbs.models.default.name, "results": results, "failures": proteins.failures}
        return reply({**head, "notes": notes(verbs, prompts)}, verbs.cost)

    @add_verb(app, direct, "/v1/search", "search", SearchReply)
    async def find(body: SearchRequest, request: Request) -> Response:
        """The proteins that a text describes best, or the texts that describe a protein best."""
        verbs, proteins = verbs_of(request), read_proteins(body.sequences, limits)
        prompts = read_prompts(body.texts, limits)
        found = await search(verbs, proteins, prompts, body.of, body.top)
        hits = [{**asdict(hit), "cosine": round(hit.cosine, _DIGITS)} for hit in found]
        head = {"model": verbs.models.default.name, "hits": hits, "failures": proteins.failures}
        return reply({**head, "notes": notes(verbs, prompts)}, verbs.cost)

    return direct
