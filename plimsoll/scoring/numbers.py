"""Reads the number that a text states: `42`, `$1,200.50`, `The answer is 7 apples`, `5 + 2 = 7`, `1 1/2`,
`$\\frac{3}{4}$`.

Models that were asked for a number reason aloud, name the unit, write the whole sum or set it in LaTeX. The rule here
is the usual one of such evaluations: what is announced as the answer counts, else the last number of the text. Golds
and answers are read by the same function, after LaTeX, other scripts' digits, fractions, signs and blanks were written
in plain characters.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Final

_GROUPS: Final = r"""
    \d{1,3} (?P<between>[,'_ ]) \d{3} (?: (?P=between) \d{3} )* (?![\d/]) | \d{1,2} (?:,\d{2})+ ,\d{3} (?!\d)
"""
"""1,200 and 1 200 and 1'200 and 1_200; 12,34,567 as in India."""
_NUMBER: Final = re.compile(
    rf"""
    (?P<minus>(?<![\w.)])-)?          # `10-3` subtracts, and so has no -3
    (?:¤[ ]?(?P<after>-)?)?
    (?: (?P<over>\d+(?:\.\d+)?)/(?P<under>\d+(?:\.\d+)?)              # 3/4
      | (?P<dotted>\d{{1,3}}(?:\.\d{{3}})+),(?P<cents>\d+)(?![\d,])      # 1.200,50
      | (?P<dots>\d{{1,3}}(?:\.\d{{3}}){{2,}})(?![\d.]\d)                  # 1.200.000
      | (?P<whole>{_GROUPS}|\d+)                                      # 1,200 or 1200 ...
        (?: [ ](?P<top>\d+)/(?P<bottom>\d+) | (?P<decimals>\.\d+) )?  # ... with 1/2 after a blank, or .50
      | (?<!\.)(?P<bare>\.\d+) )                                      # .5, but of ...5 the 5
    (?: (?:[eE] | [ ]?[x×*·][ ]?10\^) (?P<exponent>[+-]?\d+) | \^(?P<power>[+-]?\d+) )?
    """,
    re.VERBOSE | re.ASCII,
)
_ANNOUNCED: Final = re.compile(r"####|=|\banswer(?:\s+is\b|\s*:)", re.IGNORECASE)
_OPERATOR: Final = re.compile(r"[ ]*[-+*/x×·÷][ ]*")
_TOLERANCE: Final = Fraction(1, 10**4)
"""Enough for a third that is written 0.3333, and too little for any two answers of a problem in whole numbers."""
_LONGEST: Final = 4000
"""Characters searched from the end: no sensible answer has more, and Python refuses longer numbers."""
_HIGHEST_POWER: Final = 400
"""The largest exponent: a number beyond it is no sensible answer, and would fill the memory."""
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


def number_in(text: str) -> Fraction | None:
    """The number that a text states; None where there is none.

    The first number after the last of `####`, `=`, `\\boxed{`, `answer is` and `answer:` where there is one, else the
    last number of all; of `7 = 5 + 2` it is the 7. Thousands may be set off; currency and percent signs are ignored;
    `3/4`, `1 1/2`, `½`, `1e3`, `1.5 x 10^3` and LaTeX are read, with digits of any script.
    """
    text = plain_numbers(text[-_LONGEST:])
    announced = list(_ANNOUNCED.finditer(text))
    if announced and (match := _NUMBER.search(text, announced[-1].end())):
        before = _result_before(text, announced[-1], match)
        return _value(before or match)
    numbers = list(_NUMBER.finditer(text))
    return _value(numbers[-1]) if numbers else None


def _result_before(text: str, sign: re.Match[str], first: re.Match[str]) -> re.Match[str] | None:
    """The number before the sign in `7 = 5 + 2`: where a sum stands behind it and a lone number before it."""
    operator = _OPERATOR.match(text, first.end())
    if sign[0] != "=" or operator is None or _NUMBER.match(text, operator.end()) is None:
        return None
    before = list(_NUMBER.finditer(text, 0, sign.start()))
    if not before or text[before[-1].end() : sign.start()].strip():
        return None
    is_lone = len(before) == 1 or _OPERATOR.fullmatch(text, before[-2].end(), before[-1].start()) is None
    return before[-1] if is_lone else None


def same_number(answer: str, gold: str) -> bool:
    """True where both texts come to the same number, to 0.0001."""
    said, wanted = number_in(answer), number_in(gold)
    return said is not None and wanted is not None and abs(said - wanted) <= _TOLERANCE


def _value(match: re.Match[str]) -> Fraction | None:
    value = _magnitude(match)
    exponent, power = (int(match[name] or 0) for name in ("exponent", "power"))
    if value is None or max(abs(exponent), abs(power)) > _HIGHEST_POWER:
        return None
    if match["power"] is not None:
        value = _raised(value, power)
    if value is None:
        return None
    value *= Fraction(10) ** exponent
    return -value if match["minus"] or match["after"] else value


def _raised(value: Fraction, power: int) -> Fraction | None:
    is_small = max(value.numerator.bit_length(), value.denominator.bit_length()) * abs(power) < 10_000
    return value**power if is_small and (value or power >= 0) else None


def _magnitude(match: re.Match[str]) -> Fraction | None:
    if match["over"] is not None:
        under = Fraction(match["under"])
        return Fraction(match["over"]) / under if under else None
    if match["dotted"] is not None:
        return Fraction(f"{match['dotted'].replace('.', '')}.{match['cents']}")
    if match["dots"] is not None:
        return Fraction(match["dots"].replace(".", ""))
    whole = re.sub(r"[,'_ ]", "", match["whole"] or "0")
    value = Fraction(f"{whole}{match['decimals'] or match['bare'] or ''}")
    if match["top"] is None:
        return value
    bottom = int(match["bottom"])
    return value + Fraction(int(match["top"]), bottom) if bottom else None


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
