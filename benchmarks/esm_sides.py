"""Both sides of the ESM measurements: ours through the package's own functions, theirs through transformers.

Each function builds what is timed: `build(**arguments)` returns a function without arguments. Every import stands
inside, so that a process holds only its own side.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = dict[str, int]
"""`width`, `depth` and `heads` of a random model."""

Vectors = NDArray[np.float32]


def write_random_model(folder: Path, shape: Shape, seed: int = 0) -> None:
    """Save an ESM-2 of this shape with random weights, norms and biases too, where both sides can load it."""
    import torch

    from chaperonin.models.esm.model import ESM, ESMConfig
    from chaperonin.models.esm.weights import LAYOUT
    from chaperonin.weights.pretrained import save_folder

    config = ESMConfig(shape["width"], shape["depth"], shape["heads"], 4 * shape["width"])
    model = ESM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                # Random attention is almost flat: only a steep contact head makes a map of it.
                spread = 5.0 if name == "contact.regression.weight" else 0.02
                parameter.copy_(torch.randn(parameter.shape, generator=generator).mul_(spread).add_(centre))
    save_folder(LAYOUT, model, folder)


def embed_ours(folder: str, precision: str, sequences: list[str]) -> Callable[[], Vectors]:
    """Mean vectors of sequences, as `chaperonin embed` computes them: packed batches by its own token budget."""
    from chaperonin.inference.embed import represent
    from chaperonin.inference.load import load
    from chaperonin.inference.memory import batch_tokens

    model = load(folder, precision=precision, device="cpu")  # type: ignore[arg-type]
    budget = batch_tokens(model, None)
    return lambda: np.stack([own.mean(axis=0) for own in represent(model, sequences, budget)])


def embed_theirs(folder: str, sequences: list[str], batch: int) -> Callable[[], Vectors]:
    """The same vectors by transformers: padded batches in the order of the file."""
    import torch

    model, tokenizer = _transformers(folder, "EsmModel", add_pooling_layer=False)

    def run() -> Vectors:
        means = []
        for start in range(0, len(sequences), batch):
            inputs = tokenizer(sequences[start : start + batch], return_tensors="pt", padding=True)
            with torch.inference_mode():
                hidden = model(**inputs).last_hidden_state
            for row, mask in zip(hidden, inputs["attention_mask"], strict=True):
                means.append(row[1 : int(mask.sum()) - 1].mean(dim=0).numpy())
        return np.stack(means)

    return run


def embed_openvino(folder: str, sequences: list[str], batch: int) -> Callable[[], Vectors]:
    """The same vectors by OpenVINO on transformers' model, fp32, for sequences of one length."""
    import openvino  # type: ignore[import-not-found]
    import torch

    model, tokenizer = _transformers(folder, "EsmModel", add_pooling_layer=False)
    example = tokenizer(sequences[:batch], return_tensors="pt", padding=True)
    example = {name: example[name] for name in ("input_ids", "attention_mask")}
    model.config.return_dict = False
    converted = openvino.convert_model(model, example_input=example)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(converted, "CPU", settings)

    def run() -> Vectors:
        means = []
        for start in range(0, len(sequences), batch):
            inputs = tokenizer(sequences[start : start + batch], return_tensors="np", padding=True)
            hidden = compiled({name: inputs[name] for name in example})[0]
            means.append(hidden[:, 1:-1].mean(axis=1))
        return np.concatenate(means)

    return run


def matrix_products(shape: Shape, rows: int, seconds: float = 1.0) -> Callable[[], float]:
    """Highest rate in GFLOP/s at which this machine multiplies the encoder's shapes: the bound of everything."""
    import time

    import torch

    from chaperonin.kernels.linear import linear, onednn

    width = shape["width"]
    cases = [(torch.randn(rows, i), torch.randn(o, i)) for i, o in ((width, 4 * width), (4 * width, width))]
    packed = [onednn.prepare(weight) for _, weight in cases]

    def run() -> float:
        best = 0.0
        stop = time.perf_counter() + seconds
        with torch.inference_mode():
            while time.perf_counter() < stop:
                for (x, plain), laid_out in zip(cases, packed, strict=True):
                    for weight in (plain, laid_out):
                        begun = time.perf_counter()
                        linear(x, weight)
                        spent = time.perf_counter() - begun
                        best = max(best, 2 * rows * plain.numel() / spent / 1e9)
        return best

    return run


def tokens_ours(sequences: list[str]) -> Callable[[], list[list[int]]]:
    """Ids of sequences by the package's alphabet."""
    from chaperonin.protein.alphabet import ESM_ALPHABET

    return lambda: [ESM_ALPHABET.encode(sequence) for sequence in sequences]  # type: ignore[misc]


def tokens_theirs(sequences: list[str]) -> Callable[[], list[list[int]]]:
    """Ids of sequences by transformers' EsmTokenizer."""
    tokenizer = _tokenizer()
    return lambda: tokenizer(sequences)["input_ids"]


def contacts_ours(folder: str, sequence: str) -> Callable[[], Vectors]:
    """Contact map of one sequence."""
    import torch

    from chaperonin.inference.load import load
    from chaperonin.kernels.segments import Segments

    model = load(folder, precision="fp32", device="cpu")
    tokens = torch.from_numpy(model.alphabet.encode(sequence))

    def run() -> Vectors:
        with torch.inference_mode():
            return model.contacts(tokens, Segments([len(tokens)]))[0].numpy()

    return run


def contacts_theirs(folder: str, sequence: str) -> Callable[[], Vectors]:
    """Contact map of one sequence by transformers, which needs its eager attention for that."""
    import torch

    model, tokenizer = _transformers(folder, "EsmForMaskedLM", attn_implementation="eager")
    inputs = tokenizer([sequence], return_tensors="pt")

    def run() -> Vectors:
        with torch.inference_mode():
            return model.predict_contacts(inputs["input_ids"], inputs["attention_mask"])[0].numpy()

    return run


def _transformers(folder: str, kind: str, **options: Any) -> tuple[Any, Any]:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = getattr(transformers, kind).from_pretrained(folder, **options).eval()
    return model, _tokenizer()


def _tokenizer() -> Any:
    """transformers' tokenizer with ESM-2's vocabulary, made from our alphabet: nothing is downloaded."""
    import tempfile

    from transformers import EsmTokenizer

    from chaperonin.protein.alphabet import ESM_ALPHABET

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(ESM_ALPHABET.tokens), encoding="utf-8")
        return EsmTokenizer(str(path))
