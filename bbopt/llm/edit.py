"""Small random edits of any text: what proposes where there is no language model.

They know nothing of what the text means, so most make it worse; a search that keeps what is
better still climbs, slowly.
"""

from __future__ import annotations

import re

import numpy as np

from bbopt import checks

GAPS = {"line": "\n", "sentence": r"(?<=[.!?])\s+", "word": r"\s+"}
"""What stands between the pieces of a text."""

FACTORS = (0.1, 0.5, 0.8, 0.9, 1.1, 1.25, 2.0, 10.0)
"""What a number is multiplied by; a whole one moves by at least 1."""

TRIES = 16

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?(?!\w|\.\d)")


def edit_text(
    text: str,
    rng: np.random.Generator,
    max_chars: int | None = None,
    language: str = "text",
) -> str:
    """The text after one small edit.

    A line, a sentence or a word is deleted, repeated elsewhere, swapped with the next or moved,
    or a number is changed. In a language other than "text", only whole lines and numbers are
    touched: words and sentences have no meaning of their own there.

    Parameters
    ----------
    text : str
        What to edit; an empty text stays as it is.
    rng : numpy.random.Generator
        What the edit is drawn from.
    max_chars : int, optional
        How long the result may be, >= 1; a longer text is cut first.
    language : str
        As :class:`bbopt.Text` has it.

    Returns
    -------
    str
        Not empty, and not the text that was given.

    Raises
    ------
    UsageError
        If ``max_chars`` is no integer >= 1.

    Examples
    --------
    >>> edit_text("Answer briefly. Be kind.", np.random.default_rng(1))
    'Be kind. Answer briefly.'
    """
    if max_chars is not None:
        max_chars = checks.integer("max_chars", max_chars, 1)
    cut = text[:max_chars]
    if not text:
        return text
    units = ["line"] if language != "text" else list(GAPS)
    kinds = [unit for unit in units if re.search(GAPS[unit], cut)]
    kinds += ["number"] * (bool(_NUMBER.search(cut)) * max(1, len(kinds)))
    for _ in range(TRIES if kinds else 0):
        kind = kinds[rng.integers(len(kinds))]
        edited = _change_number(cut, rng) if kind == "number" else _change_order(cut, kind, rng)
        if edited.strip() and edited != text and (max_chars is None or len(edited) <= max_chars):
            return edited
    return _last_resort(cut, text)


def _change_order(text: str, unit: str, rng: np.random.Generator) -> str:
    """Delete, repeat, swap or move one piece; the gaps stay where they are."""
    parts = re.split(f"({GAPS[unit]})", text)
    pieces, gaps = parts[::2], parts[1::2]
    i, j = (int(k) for k in rng.integers(len(pieces), size=2))
    edit = rng.integers(4)
    if edit == 0:
        del pieces[i], gaps[min(i, len(gaps) - 1)]
    elif edit == 1:
        pieces.insert(j, pieces[i])
        gaps.insert(min(j, len(gaps) - 1), gaps[min(i, len(gaps) - 1)])
    elif edit == 2:
        i = min(i, len(pieces) - 2)
        pieces[i], pieces[i + 1] = pieces[i + 1], pieces[i]
    else:
        pieces.insert(j, pieces.pop(i))
    return "".join(piece + gap for piece, gap in zip(pieces, [*gaps, ""], strict=True))


def _change_number(text: str, rng: np.random.Generator) -> str:
    """Multiply one number."""
    numbers = list(_NUMBER.finditer(text))
    found = numbers[rng.integers(len(numbers))]
    factor, digits = FACTORS[rng.integers(len(FACTORS))], found.group()
    if digits.isdigit() and len(digits) <= 15:
        old = int(digits)
        new = round(old * factor)
        changed = str(new if new != old else max(0, old + (1 if factor > 1 else -1)))
    else:
        changed = f"{float(digits) * factor:.6g}"
    return text[: found.start()] + changed + text[found.end() :]


def _last_resort(cut: str, text: str) -> str:
    """Another text where no edit of a piece gave one."""
    others = (cut, cut[:-1], cut[:-1] + "x", cut[:-1] + "y")
    return next(other for other in others if other.strip() and other != text)
