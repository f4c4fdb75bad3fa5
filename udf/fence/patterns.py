"""Patterns of LIKE and of regular expressions that could keep a core busy for ever.

Java's regular expressions try one way after the other. ``(a+)+b`` has 2ⁿ ways to read n times
``a``, and nothing can stop it, not even the end of its Spark task. So a pattern is read here, and
refused where a repetition holds a choice of its own, or where many repetitions in a row
could share the same characters. What is left takes polynomial time at worst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kerasql.registry.errors import InvalidInput

LONGEST = 1_000
MOST_IN_A_ROW = 3
OTHER = 128  # stands for every character outside ASCII
ANY = frozenset(range(OTHER + 1))
CLASSES = {
    "d": frozenset(map(ord, "0123456789")),
    "s": frozenset(map(ord, " \t\n\x0b\f\r")),
    "w": frozenset(n for n in range(OTHER) if chr(n).isalnum() or n == ord("_")),
    "h": frozenset(map(ord, " \t")) | {OTHER},
    "v": frozenset(map(ord, "\n\x0b\f\r")) | {OTHER},
}
CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
QUANTIFIER = re.compile(r"[?*+]|\{(\d+)(,(\d*))?\}")
GROUP = re.compile(r"\?(?:([imsuUd-]*):|<([A-Za-z][A-Za-z0-9]*)>|(<?[=!]|>))")
FLAGS = re.compile(r"\?[imsuUd-]*\)")


@dataclass(frozen=True)
class Part:
    """Something that matches: which characters, whether it must, whether more than once."""

    characters: frozenset[int]
    must: bool = True
    repeats: bool = False
    inner: tuple[Part, ...] = ()


def check_regex(pattern: str) -> None:
    """Raise InvalidInput for a regular expression that may take for ever, or cannot be judged."""
    if len(pattern) > LONGEST:
        raise too_long(pattern)
    _check_row(_Regex(pattern).all(), pattern)


def check_like(pattern: str, escape: str = "\\") -> None:
    """Raise InvalidInput for a pattern of LIKE that may take for ever."""
    if len(pattern) > LONGEST:
        raise too_long(pattern)
    parts, escaped = [], False
    for character in pattern:
        if escaped or character not in (escape, "%", "_"):
            parts.append(Part(_same(character)))
            escaped = False
        elif character == escape:
            escaped = True
        else:
            parts.append(Part(ANY, must=character == "_", repeats=character == "%"))
    _check_row(tuple(parts), pattern)


def too_long(pattern: str) -> InvalidInput:
    """The sentence for a pattern that nobody could read either."""
    return InvalidInput(f"a pattern may have {LONGEST:,} characters; this one has {len(pattern):,}")


def _check_row(parts: tuple[Part, ...], pattern: str) -> None:
    """Refuse more than three repetitions in a row that can all match the same character."""
    for character in ANY:
        row = 0
        for part in parts:
            if part.repeats and character in part.characters:
                row += 1
            elif part.must and character not in part.characters:
                row = 0
            if row > MOST_IN_A_ROW:
                raise InvalidInput(
                    f"the pattern {pattern!r} has {row} repetitions in a row that match the same "
                    "characters, which could take for ever; put fixed text between them"
                )


def _same(character: str) -> frozenset[int]:
    return frozenset(ord(c) if ord(c) < OTHER else OTHER for c in character.swapcase() + character)


class _Regex:
    """A reader of Java's regular expressions; sets of characters may come out too large."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def all(self) -> tuple[Part, ...]:
        branches = self.branches(0)
        if self.at < len(self.pattern):
            raise self.unread()
        return _alternatives(branches)

    def unread(self) -> InvalidInput:
        return InvalidInput(
            f"the pattern {self.pattern!r} cannot be judged at character {self.at + 1}; "
            "write a simpler one"
        )

    def peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def branches(self, depth: int) -> list[tuple[Part, ...]]:
        if depth > 20:
            raise self.unread()
        found, parts = [], list[Part]()
        while self.at < len(self.pattern) and not self.peek(")"):
            if self.peek("|"):
                self.at += 1
                found.append(tuple(parts))
                parts = []
            else:
                parts += self.quantified(depth)
        return [*found, tuple(parts)]

    def quantified(self, depth: int) -> tuple[Part, ...]:
        atoms, branches = self.atom(depth)
        match = QUANTIFIER.match(self.pattern, self.at)
        if not match:
            return atoms
        self.at = match.end()
        if self.peek("?") or self.peek("+"):
            self.at += 1
        if QUANTIFIER.match(self.pattern, self.at):
            raise self.unread()
        least = int(match[1]) if match[1] else 1 if match[0] == "+" else 0
        once = match[0] == "?" or match[0] in ("{0}", "{1}", "{0,1}", "{1,1}")
        if once:
            return tuple(Part(p.characters, p.must and least > 0, p.repeats) for p in atoms)
        if branches is not None:
            self.check_loop(branches)
        characters = frozenset().union(*(part.characters for part in atoms))
        fixed = match[1] is not None and match[2] is None and len(atoms) < 2
        return (Part(characters, must=least > 0, repeats=not fixed),)

    def check_loop(self, branches: list[tuple[Part, ...]]) -> None:
        """A repeated group may be read in one way only."""
        if len(branches) == 1 and _has_separator(branches[0]):
            return
        plain = all(part.must and not part.repeats for branch in branches for part in branch)
        first = [branch[0].characters for branch in branches if branch]
        apart = sum(map(len, first)) == len(frozenset().union(*first))
        if not (plain and apart and len(first) == len(branches)):
            raise InvalidInput(
                f"the pattern {self.pattern!r} repeats a group that can match the same text in "
                "several ways, which could take for ever; write it without a repetition inside a "
                "repetition"
            )

    def atom(self, depth: int) -> tuple[tuple[Part, ...], list[tuple[Part, ...]] | None]:
        """What stands here; for a group its branches too."""
        character = self.pattern[self.at]
        self.at += 1
        if character == "(":
            return self.group(depth)
        if character == "[":
            return (Part(self.characters(depth)),), None
        if character == "\\":
            return self.escape(), None
        if character in "^$":
            return (), None
        if character in "*+?{":
            self.at -= 1
            raise self.unread()
        return (Part(ANY if character == "." else _same(character)),), None

    def group(self, depth: int) -> tuple[tuple[Part, ...], list[tuple[Part, ...]] | None]:
        if flags := FLAGS.match(self.pattern, self.at):
            self.at = flags.end()
            return (), None
        looks = False
        if self.peek("?"):
            match = GROUP.match(self.pattern, self.at)
            if not match:
                raise self.unread()
            looks = bool(match[3])
            self.at = match.end()
        branches = self.branches(depth + 1)
        if not self.peek(")"):
            raise self.unread()
        self.at += 1
        if looks:
            _check_row(_alternatives(branches), self.pattern)
            return (), None
        return _alternatives(branches), branches

    def escape(self) -> tuple[Part, ...]:
        if self.at >= len(self.pattern):
            raise self.unread()
        character = self.pattern[self.at]
        self.at += 1
        if character == "Q":
            end = self.pattern.find("\\E", self.at)
            text = self.pattern[self.at : end if end >= 0 else None]
            self.at = end + 2 if end >= 0 else len(self.pattern)
            return tuple(Part(_same(one)) for one in text)
        if character in "bBAGzZ":
            return ()
        if character.isdigit() or character == "k":  # what a group has matched
            return (Part(ANY, must=False, repeats=True),)
        return (Part(self.escaped(character)),)

    def escaped(self, character: str) -> frozenset[int]:
        """The characters of an escape that stands for one."""
        if character.lower() in CLASSES:
            known = CLASSES[character.lower()] | ({OTHER} if character in "dsw" else set())
            return known if character.islower() else (ANY - known) | {OTHER}
        if character in CONTROLS:
            return _same(CONTROLS[character])
        if character in "pPxucNXR":
            # \p{L}, \x41, A …: all that follows is read as one of any characters.
            rest = re.compile(r"\{[^}]*\}|[0-9A-Fa-f]{4}|[0-9A-Fa-f]{2}|.", re.DOTALL)
            if character not in "XR" and (match := rest.match(self.pattern, self.at)):
                self.at = match.end()
            return ANY
        if character.isalpha():
            self.at -= 1
            raise self.unread()
        return _same(character)

    def characters(self, depth: int) -> frozenset[int]:
        """A class in brackets; where it is not simple, any character."""
        if depth > 20:
            raise self.unread()
        negated = self.peek("^")
        self.at += negated
        found, simple, first = set[int](), True, True
        while first or not self.peek("]"):
            first = False
            if self.at >= len(self.pattern):
                raise self.unread()
            character = self.pattern[self.at]
            self.at += 1
            if character == "[":
                found |= self.characters(depth + 1)
                simple = False
            elif character == "&" and self.peek("&"):
                simple = False
            elif character == "\\":
                if self.at >= len(self.pattern):
                    raise self.unread()
                self.at += 1
                if self.pattern[self.at - 1] == "Q":
                    raise self.unread()
                found |= self.escaped(self.pattern[self.at - 1])
            elif self.peek("-") and self.pattern[self.at : self.at + 2] != "-]":
                end = self.pattern[self.at + 1 : self.at + 2]
                if end in ("", "[", "\\") or ord(end) < ord(character):
                    raise self.unread()
                self.at += 2
                for code in range(ord(character), min(ord(end), OTHER) + 1):
                    found |= _same(chr(code))
                found |= {OTHER} if ord(end) >= OTHER else set()
            else:
                found |= _same(character)
        self.at += 1
        if not simple:
            return ANY
        # Case folding made the set larger, which is wrong for what is left over.
        letters = frozenset(n for n in range(OTHER) if chr(n).isalpha())
        return (ANY - found) | letters | {OTHER} if negated else frozenset(found)


def _alternatives(branches: list[tuple[Part, ...]]) -> tuple[Part, ...]:
    """One branch as it is; of several, none must match."""
    if len(branches) == 1:
        return branches[0]
    return tuple(
        Part(part.characters, must=False, repeats=part.repeats)
        for branch in branches
        for part in branch
    )


def _has_separator(parts: tuple[Part, ...]) -> bool:
    """Whether something that must match shares no character with the rest: ``(,[0-9]+)``."""
    return any(
        part.must
        and not part.repeats
        and not any(part.characters & other.characters for other in parts if other is not part)
        for part in parts
    ) and not any(len(one.characters) == 0 for one in parts)
