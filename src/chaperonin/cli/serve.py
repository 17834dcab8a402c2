"""Answer requests over HTTP: embeddings, predictions, contacts, effects of variants, jobs, and a page at /."""

from pathlib import Path


def run(
    model: str | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    tokens_file: Path | None = None,
    token_env: str | None = None,
    adapters: Path | None = None,
    config: Path | None = None,
    set: list[str] | None = None,
) -> int:
    """Serve MODEL until it is told to stop (SIGTERM, Ctrl-C): then it finishes what it has accepted.

    Parameters
    ----------
    model
        Model folder, hub name, or the bundled model. Without one: /opt/ml/model where it exists, as SageMaker wants,
        else the bundled model.
    host
        Address to listen at. Any but this machine's own needs tokens.
    port
        Port to listen at.
    tokens_file
        File with one token per line, as it is or as sha256:HEX.
    token_env
        Environment variable that holds a token.
    adapters
        Folder of model folders to serve over the same base.
    config
        YAML file with any of the settings.
    set
        One setting as key=value (limits.tokens=100000); may be repeated.
    """
    import os

    # For every number of rows that it ever saw, a product on the CPU keeps a kernel, a thousand of them, and the memory
    # of a server would grow for an hour. Both are read when PyTorch is first used.
    for cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "256")

    from chaperonin.config import resolve
    from chaperonin.inference.load import BUNDLED
    from chaperonin.serving.server import serve
    from chaperonin.serving.settings import SAGEMAKER_MODEL, ServeSettings, from_environment

    platform = model is None and SAGEMAKER_MODEL.is_dir()
    name = model or (str(SAGEMAKER_MODEL) if platform else BUNDLED)
    given = {"host": host, "port": port, "token_env": token_env}
    given["tokens_file"] = None if tokens_file is None else str(tokens_file)
    given["adapters"] = None if adapters is None else str(adapters)
    if platform:
        given = {**given, "host": host or "0.0.0.0", "platform": True}
    usual = [f"{key}={value}" for key, value in from_environment(os.environ).items()]
    settings = resolve(ServeSettings, file=config, overrides=[*usual, *(set or ())], options=given)
    return serve(name, settings, os.environ)
