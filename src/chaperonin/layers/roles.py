"""What each linear layer of a language model's encoder is for, by the names that people give to LoRA."""

ROLES: dict[str, tuple[str, ...]] = {
    "q": ("attention.project.query",),
    "k": ("attention.project.key",),
    "v": ("attention.project.value",),
    "out": ("attention.out",),
    "ffn": ("feed_forward.up", "feed_forward.down"),
    "experts": ("feed_forward.experts.up", "feed_forward.experts.down"),
    "router": ("feed_forward.router",),
}
"""Role → modules of every encoder layer, named from the layer on."""
