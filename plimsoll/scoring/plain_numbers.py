"""Writes the numbers of a text in plain characters: LaTeX, other scripts' digits, fractions, signs and blanks."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MINUS: Final = "−–—‒﹣－⁻₋"
_BLANKS: Final = "\u00a0\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_APOSTROPHES: Final = "’‘ʼ＇´"
_HIGH: Final = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_LOW: Final = "₀₁₂₃₄₅₆₇₈₉"
_SLASHES: Final = "⁄∕／"
_NOTHING: Final = "\u200b\u2060\ufeff"
_PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys(_MINUS, "-"),
        **dict.fromkeys(_BLANKS, " "),
        **dict.fromkeys(_APOSTROPHES, "'"),
        **dict.fromkeys(_SLASHES, "/"),
        **dict.fromkeys(_NOTHING, ""),
        "，": ",",
        "．": ".",
        "＝": "=",
        "٬": ",",
        "٫": ".",
        "％": "%",
    }
)
_STACKED: Final = re.compile(f"([{_HIGH}]+)[{_SLASHES}]([{_LOW}]+)")
_RAISED: Final = re.compile(f"(?<=\\d)(⁻?)([{_HIGH}]+)")
_FRACTION: Final = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_WRAPPED: Final = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}")
_BOXED: Final = re.compile(r"\\f?boxed\s*\{")
_THIN: Final = re.compile(r"\\[,!;:>]|\\ ")
_LEFT_OUT: Final = re.compile(r"\\(?:left|right|displaystyle|[()\[\]])|\^\s*\{?\s*\\circ\s*\}?")
_POWER: Final = re.compile(r"\^\s*\{\s*([+-]?\d+)\s*\}")
_MINUS_WORD: Final = re.compile(r"(?<![\d)\w] )\b(?:minus|negative)\s+(?=\d)", re.IGNORECASE)


def plain_numbers(text: str) -> str:
    """The text with its numbers in ASCII: digits, `-`, `.`, `,`, `/`, `^`, and ¤ for any currency; the rest stays."""
    return _plain_characters(_without_latex(text))


def _without_latex(text: str) -> str:
    if "\\" not in text and "{" not in text:
        return text
    text = text.replace("{,}", ",").replace("{.}", ".").replace("\\%", "%").replace("\\$", "$").replace("~", " ")
    text = text.replace("\\times", "×").replace("\\cdot", "·").replace("\\div", "÷")
    text = _WRAPPED.sub(r" \1 ", text)
    text = _LEFT_OUT.sub("", text)
    # Between digits it sets off thousands; elsewhere it is a blank.
    text = re.sub(r"(?<=\d)(?:\\[,!;:>]|\\ )+(?=\d)", "'", text)
    text = _THIN.sub(" ", text)
    text = _FRACTION.sub(_fraction, text)
    text = _POWER.sub(r"^\1", text)
    return re.sub(r"[{}]", " ", _BOXED.sub("#### ", text))


def _fraction(match: re.Match[str]) -> str:
    over, under = (re.sub(r"[,'_\s]", "", match[i] or match[i + 1] or "") for i in (1, 3))
    is_mixed = match.start() > 0 and match.string[match.start() - 1].isdigit()
    return f"{' ' if is_mixed else ''}{over}/{under}"


def _plain_characters(text: str) -> str:
    if text.isascii():
        return _MINUS_WORD.sub("-", text.replace("$", "¤"))
    text = _STACKED.sub(lambda match: f"{_digits(match[1])}/{_digits(match[2])}", text)
    text = _RAISED.sub(lambda match: f"^{'-' if match[1] else ''}{_digits(match[2])}", text)
    text = "".join(_plain(text[i - 1] if i else "", character) for i, character in enumerate(text))
    return _MINUS_WORD.sub("-", text.translate(_PLAIN))


def _digits(text: str) -> str:
    return "".join(str(unicodedata.digit(character)) for character in text)


def _plain(before: str, character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if unicodedata.category(character) == "Sc":
        return "¤"
    if unicodedata.decomposition(character).startswith("<fraction>"):
        whole = unicodedata.normalize("NFKC", character).replace("⁄", "/")
        if "/" in whole and whole[-1] != "/":
            return f" {whole}" if before.isdecimal() else whole
    return character
