"""Who may use the endpoint: tokens, compared in constant time, for every route but the probes."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, RedirectResponse, Response

from chaperonin.errors import UsageError
from chaperonin.serving.errors import SECURITY_HEADERS, Refusal
from chaperonin.serving.settings import ServeSettings

PROBES = frozenset({"/ping", "/health", "/ready", "/v1/health/live", "/v1/health/ready"})
"""Routes that answer anybody."""
PLATFORM_ROUTES = frozenset({"/invocations", "/execution-parameters"})
"""Routes that a platform in front has already protected."""
COOKIE = "chaperonin_token"
SHORTEST = 16
"""Characters of a token at least: shorter ones can be guessed."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Guard:
    """The tokens, as hashes only."""

    def __init__(self, digests: Iterable[bytes] = (), platform: bool = False) -> None:
        self._digests = tuple(digests)
        self._platform = platform

    @property
    def open(self) -> bool:
        """Whether everybody who reaches the endpoint may use it."""
        return not self._digests and not self._platform

    def client_of(self, path: str, headers: Mapping[bytes, bytes], address: str) -> str:
        """Name of the client, by which fairness goes and jobs are kept apart; Refusal (401) for a stranger."""
        if self.open or path in PROBES or (self._platform and path in PLATFORM_ROUTES):
            return address
        name = self.name_of(_bearer(headers)) or self.name_of(_cookie(headers))
        if name is None:
            raise Refusal(
                401,
                "unauthorized",
                "This endpoint needs a token: send the header `Authorization: Bearer TOKEN`.",
                headers={"www-authenticate": 'Bearer realm="chaperonin"'},
            )
        return name

    def name_of(self, token: str) -> str | None:
        """A short name for a token that is known, else None. All tokens are compared, whichever it is."""
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = [hmac.compare_digest(given, digest) for digest in self._digests]
        return given.hex()[:12] if any(known) else None

    def enter_page(self, query: bytes) -> Response:
        """Answer to a stranger who asks for the page: a cookie for `?token=…` that is known, else a form."""
        token = parse_qs(query.decode("latin-1")).get("token", [""])[0]
        if self.name_of(token) is None:
            wrong = "<p>This token is not known here.</p>" if token else ""
            return HTMLResponse(_FORM.format(wrong=wrong), 401, SECURITY_HEADERS)
        response = RedirectResponse("/", 303, SECURITY_HEADERS)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", path="/")
        return response


def read_guard(settings: ServeSettings, environment: Mapping[str, str]) -> Guard:
    """The tokens that the settings name. UsageError for a bad one, and for an open door to the network."""
    digests = []
    if settings.tokens_file:
        digests += list(_read_file(Path(settings.tokens_file)))
    if settings.token_env:
        token = environment.get(settings.token_env, "").strip()
        if not token:
            raise UsageError("is empty or not set", where=settings.token_env, advice="Put the token into it.")
        digests.append(digest_of(token, where=settings.token_env))
    if not digests and not settings.local and not settings.platform:
        raise UsageError(
            "the endpoint would be open to the network, and there are no tokens",
            where=f"--host {settings.host}",
            advice="Give tokens by --tokens-file or --token-env, or listen at 127.0.0.1.",
        )
    return Guard(digests, settings.platform)


def digest_of(text: str, where: str) -> bytes:
    """Hash of a token that is given as it is or as `sha256:HEX`; UsageError for one that will not do."""
    if hashed := _DIGEST.fullmatch(text):
        return bytes.fromhex(hashed[1])
    if len(text) < SHORTEST or not _TOKEN.fullmatch(text):
        raise UsageError(
            f"a token has at least {SHORTEST} characters, all of them letters, digits or one of . _ ~ + / = -",
            where=where,
            advice="Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
        )
    return hashlib.sha256(text.encode()).digest()


def _read_file(path: Path) -> Iterable[bytes]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read ({error})", where=str(path)) from error
    tokens = {number: line.strip() for number, line in enumerate(lines, start=1)}
    found = [
        digest_of(line, where=f"{path}:{number}")
        for number, line in tokens.items()
        if line and not line.startswith("#")
    ]
    if not found:
        raise UsageError("holds no token", where=str(path), advice="Write one per line.")
    return found


def _bearer(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: Mapping[bytes, bytes]) -> str:
    try:
        morsel = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>chaperonin</title></head>
<body><h1>chaperonin</h1><p>This page needs a token.</p>{wrong}
<form action="/" method="get"><label>Token <input name="token" type="password" autocomplete="off" required></label>
<button>Enter</button></form></body></html>
"""
