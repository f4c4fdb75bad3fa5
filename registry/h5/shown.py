"""Text of a stranger's file as people may see it: one line, short, no terminal codes."""

from __future__ import annotations

LONGEST = 120


def shown(text: object, longest: int = LONGEST) -> str:
    r"""The text with what cannot be printed escaped (``\x1b``), cut to ``longest``."""
    clear = "".join(one if one.isprintable() else escaped(one) for one in str(text)[: longest + 1])
    return clear if len(clear) <= longest else f"{clear[: longest - 1]}…"


def escaped(one: str) -> str:
    """A control character, a line's end or a half of a character, by its number."""
    return one.encode("unicode_escape", "surrogatepass").decode("ascii")
