"""Whole numbers from 1 to 999 in words: several English tokens, one German compound with units before tens."""

_ENGLISH = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_ENGLISH_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GERMAN = [
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
]
_GERMAN_TENS = ["-", "-", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]


def english(number: int) -> list[str]:
    """Tokens of a number: 235 -> two hundred and thirty-five."""
    _check(number)
    hundreds, rest = divmod(number, 100)
    words = [_ENGLISH[hundreds], "hundred"] if hundreds else []
    if not rest:
        return words
    if hundreds:
        words.append("and")
    tens, units = divmod(rest, 10)
    if rest < 20:
        words.append(_ENGLISH[rest])
    else:
        words.append(f"{_ENGLISH_TENS[tens]}-{_ENGLISH[units]}" if units else _ENGLISH_TENS[tens])
    return words


def german(number: int) -> str:
    """The word of a number: 235 -> zweihundertfünfunddreißig."""
    _check(number)
    hundreds, rest = divmod(number, 100)
    word = f"{_unit(hundreds)}hundert" if hundreds else ""
    if not rest:
        return word
    tens, units = divmod(rest, 10)
    if rest < 20:
        return word + _GERMAN[rest]
    return word + (f"{_unit(units)}und{_GERMAN_TENS[tens]}" if units else _GERMAN_TENS[tens])


def _unit(number: int) -> str:
    return "ein" if number == 1 else _GERMAN[number]


def _check(number: int) -> None:
    if not 1 <= number <= 999:
        raise ValueError(f"{number} is out of range: numbers run from 1 to 999")
