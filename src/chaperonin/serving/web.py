"""The page at `/`: files that were built before, served by name."""

from pathlib import Path

from fastapi import FastAPI, Response

from chaperonin.serving.errors import Refusal

BUILT = Path(__file__).parent / "page" / "built"
INDEX = "index.html"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".fasta": "text/plain; charset=utf-8",
}


def add_routes(app: FastAPI, built: Path = BUILT) -> None:
    """`/` and `/page/NAME`; a name is looked up among the files that are there, never made into a path."""
    files = {path.name: path for path in built.glob("*") if path.suffix in _TYPES} if built.is_dir() else {}

    def serve(name: str) -> Response:
        if name not in files:
            raise Refusal(404, "not_found", "There is no such file of the page.")
        return Response(files[name].read_bytes(), media_type=_TYPES[files[name].suffix])

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        """The page."""
        return serve(INDEX)

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        """A file of the page."""
        return serve(name)
