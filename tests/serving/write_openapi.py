"""Writes docs/openapi.json anew: python -m tests.serving.write_openapi."""

import json
import tempfile
from pathlib import Path

from chaperonin.inference.load import BUNDLED
from chaperonin.serving.app import build_app, build_parts
from chaperonin.serving.auth import Guard
from chaperonin.serving.models import load_models
from chaperonin.serving.settings import ServeSettings

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        settings = ServeSettings(jobs_dir=folder)
        app = build_app(build_parts(settings, load_models(BUNDLED, settings), Guard()))
        page = Path(__file__).parents[2] / "docs" / "openapi.json"
        page.write_text(json.dumps(app.openapi(), indent=1) + "\n", encoding="utf-8")
