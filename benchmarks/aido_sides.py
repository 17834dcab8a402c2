"""Both sides of the AIDO.Protein measurements: ours through the package, theirs in the shape of the published module.

Theirs is a padded batch, a linear layer per expert, and a loop that looks up with `torch.where` which tokens an expert
has. Each function builds what is timed: `build(**arguments)` returns a function without arguments. Both sides draw the
same weights.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Sizes = dict[str, int]
Routing = Literal["learned", "even", "skewed"]
LEARNING_RATE = 1e-4


def make_weights(sizes: Sizes) -> Iterator[tuple[str, "Tensor"]]:
    """Name of ours → random tensor, one at a time, the same for the same sizes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: own.shape for name, own in empty(sizes).named_parameters()}
    for name, shape in shapes.items():
        is_norm = name.endswith("norm.weight")
        spread = 0.1 if is_norm or name.endswith("bias") else (3 / shape[-1]) ** 0.5
        tensor = torch.empty(shape).uniform_(-spread, spread, generator=generator)
        yield name, tensor.add_(1) if is_norm else tensor


def empty(sizes: Sizes) -> Any:
    """A model with fresh weights, or without any on the meta device."""
    from chaperonin.models.aido import AIDO, AIDOConfig

    return AIDO(AIDOConfig(**sizes))


def our_model(sizes: Sizes, routing: Routing = "learned") -> Any:
    """A plain model; `routing` may replace the router by one that spreads tokens evenly or sends all to two experts."""
    import torch

    with torch.device("meta"):
        model = empty(sizes)
    model.load_state_dict(dict(make_weights(sizes)), assign=True)
    if routing != "learned":
        for layer in model.layers:
            layer.feed_forward.router = _fixed_router(sizes["experts"], routing)
    return model.eval()


def _fixed_router(experts: int, routing: Routing) -> Any:
    import torch

    class Fixed(torch.nn.Module):
        def forward(self, x: "Tensor") -> "Tensor":
            scores = torch.linspace(1, 0, experts).repeat(len(x), 1)
            if routing == "skewed":
                return scores
            rows = torch.arange(len(x))[:, None]
            return scores.gather(1, (torch.arange(experts) + rows) % experts)

    return Fixed()


def run_ours(
    sizes: Sizes, lengths: Sequence[int], precision: str = "fp32", routing: Routing = "learned"
) -> Callable[[], "Tensor"]:
    """Representation of every token, packed, as `embed` computes it."""
    import torch

    from chaperonin.adapt.pack import pack_linears
    from chaperonin.adapt.quantize import quantize_for_training
    from chaperonin.kernels.segments import Segments

    model = our_model(sizes, routing).requires_grad_(False)
    model = quantize_for_training(model) if precision == "int8" else pack_linears(model)
    stream, segments = torch.cat(make_tokens(lengths)), Segments(lengths)

    def run() -> "Tensor":
        with torch.inference_mode():
            return model(stream, segments)

    return run


def make_tokens(lengths: Sequence[int]) -> list["Tensor"]:
    """Random residues, then the end."""
    import torch

    from chaperonin.protein.alphabet import AIDO_ALPHABET

    generator = torch.Generator().manual_seed(1)
    sequences = [torch.randint(1, 21, (length,), generator=generator) for length in lengths]
    for own in sequences:
        own[-1] = AIDO_ALPHABET.eos
    return sequences


def run_theirs(sizes: Sizes, lengths: Sequence[int], batch: int) -> Callable[[], "Tensor"]:
    """The same, so many proteins at a time in the order in which they come, each filled up to the longest of them."""
    import torch

    model = Published.of(sizes)
    sequences = make_tokens(lengths)

    def run() -> "Tensor":
        found = []
        with torch.inference_mode():
            for start in range(0, len(sequences), batch):
                own = sequences[start : start + batch]
                hidden = model.forward(*fill_up(own), recompute=False)
                found += [row[: len(tokens)] for row, tokens in zip(hidden, own, strict=True)]
        return torch.cat(found)

    return run


def fill_up(sequences: Sequence["Tensor"]) -> tuple["Tensor", "Tensor"]:
    """Tokens and what is real of them."""
    from torch.nn.utils.rnn import pad_sequence

    tokens = pad_sequence(list(sequences), batch_first=True)
    return tokens, tokens != 0


def train_ours(sizes: Sizes, lengths: Sequence[int]) -> Callable[[], list[float]]:
    """One step: packed, layers computed again in the backward pass, plain gradient descent."""
    import torch

    from chaperonin.kernels.segments import Segments
    from chaperonin.parallel.recompute import recompute

    model = recompute(our_model(sizes).train())
    stream, segments = torch.cat(make_tokens(lengths)), Segments(lengths)
    return _step(lambda: model.lm_head(model(stream, segments)), stream, list(model.parameters()))


def train_theirs(sizes: Sizes, lengths: Sequence[int]) -> Callable[[], list[float]]:
    """The same step, padded, with the loop."""
    model = Published.of(sizes)
    tokens, real = fill_up(make_tokens(lengths))
    for tensor in model.named.values():
        tensor.requires_grad_()

    def logits() -> Any:
        return (
            model.forward(tokens, real, recompute=True)[real] @ model.named["masked_language.output.weight"].T
        )

    return _step(logits, tokens[real], list(model.named.values()))


def _step(
    logits: Callable[[], "Tensor"], targets: "Tensor", parameters: list[Any]
) -> Callable[[], list[float]]:
    import torch

    def run() -> list[float]:
        loss = torch.nn.functional.cross_entropy(logits(), targets)
        loss.backward()
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:  # an expert that no token went to has none
                    parameter -= LEARNING_RATE * parameter.grad
                parameter.grad = None
        return [loss.item()]

    return run


@dataclass
class Published:
    """A mixture of experts as fm4bio computes it, on our tensors taken apart."""

    sizes: Sizes
    named: dict[str, "Tensor"]

    @classmethod
    def of(cls, sizes: Sizes) -> "Published":
        """With the random weights of these sizes, those of each expert by themselves."""
        named = {}
        for name, tensor in make_weights(sizes):
            if ".experts." in name:
                named |= {f"{name}.{expert}": own.clone() for expert, own in enumerate(tensor)}
            else:
                named[name] = tensor
        return cls(sizes, named)

    def linear(self, x: "Tensor", name: str, expert: int | None = None) -> "Tensor":
        """A linear layer."""
        import torch

        part = "" if expert is None else f".{expert}"
        return torch.nn.functional.linear(
            x, self.named[f"{name}.weight{part}"], self.named[f"{name}.bias{part}"]
        )

    def norm(self, x: "Tensor", name: str) -> "Tensor":
        """RMSNorm, step by step."""
        import torch

        x = x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)
        return self.named[f"{name}.weight"] * x

    def forward(self, tokens: "Tensor", real: "Tensor", recompute: bool) -> "Tensor":
        """Representation `[batch, longest, width]`."""
        from torch.utils.checkpoint import checkpoint

        x = self.named["embedding.word.weight"][tokens]
        for number in range(self.sizes["depth"]):
            if recompute:
                x = checkpoint(self.layer, x, real, number, use_reentrant=False)
            else:
                x = self.layer(x, real, number)
        return self.norm(x, "norm")

    def layer(self, x: "Tensor", real: "Tensor", number: int) -> "Tensor":
        """Attention, then the experts."""
        import torch

        name = f"layers.{number}"
        normed = self.norm(x, f"{name}.attention_norm")
        parts = [
            self.linear(normed, f"{name}.attention.project.{part}") for part in ("query", "key", "value")
        ]
        query, key, value = (part.unflatten(-1, (self.sizes["heads"], -1)).transpose(1, 2) for part in parts)
        query, key = turn(query), turn(key)
        mask = None if len(x) == 1 or bool(real.all()) else (real[:, None, None] & real[:, None, :, None])
        added = (
            None if mask is None else torch.zeros(mask.shape).masked_fill_(~mask, torch.finfo(x.dtype).min)
        )
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=added)
        x = x + self.linear(attended.transpose(1, 2).flatten(2), f"{name}.attention.out")
        normed = self.norm(x, f"{name}.feed_forward_norm")
        return x + self.experts(normed.flatten(0, 1), f"{name}.feed_forward").view_as(x)

    def experts(self, x: "Tensor", name: str) -> "Tensor":
        """The loop."""
        import torch
        from torch.nn.functional import linear, silu, softmax

        scores, chosen = torch.topk(
            linear(x, self.named[f"{name}.router.weight"]), self.sizes["experts_per_token"]
        )
        weights = softmax(scores, dim=1, dtype=torch.float)
        result = torch.zeros_like(x)
        for expert in range(self.sizes["experts"]):
            rows, places = torch.where(chosen == expert)
            if not len(rows):
                continue
            first, second = self.linear(x[rows], f"{name}.experts.up", expert).chunk(2, dim=-1)
            own = self.linear(first * silu(second), f"{name}.experts.down", expert)
            result[rows] += weights[rows, places, None] * own
        return result


def turn(x: "Tensor") -> "Tensor":
    """Rotary positions, the angles of the whole width as they are published."""
    import torch

    width = x.shape[-1]
    frequencies = 1.0 / (10000 ** (torch.arange(0, width, 2, dtype=torch.float32) / width))
    angles = torch.outer(torch.arange(x.shape[-2], dtype=torch.float32), frequencies).repeat(1, 2)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()
