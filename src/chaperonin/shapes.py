"""Tensor shapes in signatures: jaxtyping where it is installed (tests check them), a plain Tensor otherwise."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _AnyShape:
            """`Float[Tensor, "rows width"]` means Tensor to whoever does not check shapes."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = _AnyShape

__all__ = ["Bool", "Float", "Int"]
