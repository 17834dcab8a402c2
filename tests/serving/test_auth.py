"""Nobody gets in without a token, on any route but the probes."""

import hashlib
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Route

from chaperonin.errors import UsageError
from chaperonin.serving.auth import PLATFORM_ROUTES, PROBES, Guard, digest_of, read_guard
from chaperonin.serving.settings import ServeSettings

TOKEN, OTHER = "a-token-of-many-letters", "another-token-of-letters"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Every method and path that the application knows, with something in each place."""
    found = []
    for route in client.app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, APIRoute | Route), route
        path = route.path.replace("{id}", "0" * 32).replace("{name}", "x")
        found += [(method, path) for method in sorted(route.methods or ())]
    assert len(found) > 20
    return found


def test_every_route_but_the_probes_asks_for_a_token(make) -> None:
    client = make(secrets=(TOKEN, OTHER))
    for method, path in [*routes(client), ("GET", "/nothing/here"), ("BREW", "/v1/embed"), ("OPTIONS", "/")]:
        for headers in (
            {},
            bearer("a-token-of-many-lettert"),
            bearer(""),
            {"authorization": f"Basic {TOKEN}"},
        ):
            answer = client.request(method, path, headers=headers)
            if path in PROBES:
                assert answer.status_code in (200, 405), (method, path)
                continue
            assert answer.status_code == 401, (method, path)
            if path == "/" and method == "GET":
                assert "<form" in answer.text
            elif method != "HEAD":
                assert answer.json()["error_type"] == "unauthorized"


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_each_token_opens_every_route(make, token: str) -> None:
    client = make(secrets=(TOKEN, OTHER))
    for method, path in routes(client):
        assert client.request(method, path, headers=bearer(token)).status_code != 401, (method, path)


def test_the_page_takes_a_token_once_and_keeps_a_cookie(make) -> None:
    client = make(secrets=(TOKEN,))
    wrong = client.get("/", params={"token": "no-such-token-is-known"})
    assert wrong.status_code == 401 and "not known" in wrong.text and "set-cookie" not in wrong.headers
    answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert client.get("/v1/models").status_code == 200


def test_behind_a_platform_only_its_routes_are_open(make) -> None:
    client = make(platform=True)
    for method, path in routes(client):
        answer = client.request(method, path)
        is_open = path in PROBES | PLATFORM_ROUTES
        assert (answer.status_code != 401) == is_open, (method, path)


def test_tokens_are_compared_whole_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    guard = Guard([digest_of(TOKEN, ""), digest_of(OTHER, "")])
    assert guard.name_of(TOKEN) and guard.name_of(OTHER) and guard.name_of("x") is None
    assert len(compared) == 6
    assert guard.name_of(TOKEN) != guard.name_of(OTHER)


def test_tokens_come_from_a_file_or_the_environment_and_may_be_hashed(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    digest = hashlib.sha256(OTHER.encode()).hexdigest()
    file.write_text(f"# of the lab\n{TOKEN}\n\nsha256:{digest}\n")
    guard = read_guard(ServeSettings(tokens_file=str(file)), {})
    assert guard.name_of(TOKEN) and guard.name_of(OTHER) and not guard.name_of(f"sha256:{digest}")
    guard = read_guard(ServeSettings(token_env="SECRET"), {"SECRET": TOKEN})
    assert guard.name_of(TOKEN) and not guard.open


@pytest.mark.parametrize(
    ("settings", "environment", "says"),
    [
        (ServeSettings(host="0.0.0.0"), {}, "open to the network"),
        (ServeSettings(host="192.168.1.4"), {}, "open to the network"),
        (ServeSettings(token_env="SECRET"), {}, "not set"),
        (ServeSettings(token_env="SECRET"), {"SECRET": "short"}, "16 characters"),
        (ServeSettings(token_env="SECRET"), {"SECRET": "with a blank in the middle"}, "letters"),
        (ServeSettings(tokens_file="/no/such/file"), {}, "cannot be read"),
        (ServeSettings(tokens_file="/dev/null"), {}, "no token"),
    ],
)
def test_doors_that_would_stand_open_are_refused(settings, environment, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_guard(settings, environment)
    assert read_guard(ServeSettings(), {}).open
