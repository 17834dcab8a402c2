"""What every protein language model is to whoever uses one."""

from typing import Any

from torch import Tensor, nn

from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.protein.alphabet import Alphabet
from chaperonin.shapes import Float, Int


class LanguageModel(nn.Module):
    """Tokens of a packed stream to one vector per token, with a language head and perhaps a contact head."""

    alphabet: Alphabet
    config: Any
    """Its sizes: width, depth, heads, inner_width, positions."""
    embedding: Any
    """Its part `word` is the table of the tokens."""
    layers: nn.ModuleList
    masked_language: nn.Module | None
    contact: Any
    """None where there is no such head, as for the language head."""
    one_pass_at_a_time = False
    """Whether the passes of several threads would disturb each other."""

    def lm_head(self, hidden: Float[Tensor, "rows width"]) -> Float[Tensor, "rows vocabulary"]:
        """Logits of all tokens for any rows of the representation."""
        if self.masked_language is None:
            raise WeightsError("this checkpoint has no masked-language head", advice="Use one that has it.")
        return self.masked_language(hidden, self.embedding.word.weight)

    def contacts(
        self, tokens: Int[Tensor, " tokens"], segments: Segments
    ) -> list[Float[Tensor, "length length"]]:
        """Probability that residues i and j touch (Cβ within 8 Å), per sequence."""
        raise WeightsError("this model has no contact head", advice="Use an ESM, or fold the protein.")
