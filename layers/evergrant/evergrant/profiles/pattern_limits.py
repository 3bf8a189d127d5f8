"""Limits of the regular expressions in a profile: none takes long, for any text of a bounded length. Pure.

Python's expressions search by backtracking: a repeat within a repeat may try exponentially many ways to match a text.
"""

from __future__ import annotations

import re
import re._constants as codes  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

#: Longer than any shipped pattern, and than any value that one is for.
MAX_PATTERN_CHARACTERS, MAX_VALUE_CHARACTERS = 500, 255
#: Each repeat without a limit multiplies the ways to match a text.
MAX_REPEATS = 4
#: A repeat of at most so many times counts as one that is limited.
_FEW = 8
_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)
_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}
_COMPLEX = (codes.ASSERT, codes.ASSERT_NOT, codes.GROUPREF, codes.GROUPREF_EXISTS)


def find_pattern_problem(pattern: str) -> str | None:
    """Find why a pattern is refused; None where it may be used."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"a pattern has at most {MAX_PATTERN_CHARACTERS} characters"
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(pattern)
            tree = parser.parse(pattern)
    except (re.error, FutureWarning, DeprecationWarning, OverflowError, RecursionError) as error:
        return str(error)
    if any(op in _COMPLEX for op, _ in _walk(tree)):
        return "look-around and references to groups are not allowed"
    repeats = [argument for op, argument in _walk(tree) if op in _REPEATS and _is_long(argument)]
    if len(repeats) > MAX_REPEATS:
        return f"it has more than {MAX_REPEATS} repeats such as * and +"
    if any(_is_ambiguous(argument) for op, argument in _walk(tree) if op in _REPEATS and argument[1] > 1):
        return (
            "a repeated group that holds another repeat, or a choice, must begin or end with a character that they "
            "cannot match, as in (\\.[a-z]+)*"
        )
    return None


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every operation of a parsed pattern."""
    for op, argument in tree:
        yield op, argument
        for part in _list_parts(op, argument):
            yield from _walk(part)


def _list_parts(op: Any, argument: Any) -> list[Any]:
    if op in (*_REPEATS, codes.POSSESSIVE_REPEAT):
        return [argument[2]]
    if op is codes.SUBPATTERN:
        return [argument[3]]
    if op is codes.BRANCH:
        return list(argument[1])
    return [argument] if op is codes.ATOMIC_GROUP else []


def _is_long(repeat: Any) -> bool:
    least, most, _ = repeat
    return bool(most > _FEW and most != least)


def _is_ambiguous(repeat: Any) -> bool:
    """Whether the body of a repeat can match one text in several ways.

    It cannot with one choice inside at most (a repeat, or alternatives of plain characters), which a character that it
    does not match sets apart.
    """
    body = _unwrap(repeat[2])
    inner = [argument[2] for op, argument in _walk(body) if op in _REPEATS and argument[0] != argument[1]]
    choices = [argument[1] for op, argument in _walk(body) if op is codes.BRANCH]
    if not inner and not choices:
        return False
    if len(inner) + len(choices) > 1 or not all(map(_are_distinct, choices)):
        return True
    parts = [*inner, *(branch for branches in choices for branch in branches)]
    ends = [argument for op, argument in (body[0], body[len(body) - 1]) if op is codes.LITERAL]
    return all(any(_may_match(part, chr(end)) for part in parts) for end in ends)


def _are_distinct(branches: Sequence[Any]) -> bool:
    """Whether the branches of a choice are plain characters, and no two the same."""
    if not all(op is codes.LITERAL for branch in branches for op, _ in branch):
        return False
    texts = [tuple(character for _, character in branch) for branch in branches]
    return len(set(texts)) == len(texts)


def _unwrap(body: Any) -> Any:
    """Return what is inside a group that is all there is."""
    while len(body) == 1 and body[0][0] is codes.SUBPATTERN:
        body = body[0][1][3]
    return body


def _may_match(body: Any, character: str) -> bool:
    """Whether some part of a body matches a character."""
    return any(_matches(op, argument, character) for op, argument in _walk(body))


def _matches(op: Any, argument: Any, character: str) -> bool:
    if op is codes.LITERAL:
        return bool(argument == ord(character))
    if op is codes.NOT_LITERAL:
        return bool(argument != ord(character))
    if op is codes.IN:
        negated = any(item is codes.NEGATE for item, _ in argument)
        within = any(_is_in(item, value, character) for item, value in argument)
        return within is not negated
    return op is codes.ANY


def _is_in(item: Any, value: Any, character: str) -> bool:
    if item is codes.LITERAL:
        return bool(value == ord(character))
    if item is codes.RANGE:
        return bool(value[0] <= ord(character) <= value[1])
    return item is codes.CATEGORY and re.match(_CATEGORIES[value], character) is not None
