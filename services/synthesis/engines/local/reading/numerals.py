"""Read digits aloud, in English and Spanish."""

import re
from typing import Final

from num2words import num2words

# Longer runs of digits are telephone numbers and codes, read one by one.
_MOST_DIGITS: Final = 12
_YEAR: Final = re.compile(r"1[1-9]\d\d|20\d\d")
_MONEY: Final = {
    "$": {"en": ("dollar", "dollars", "cents"), "es": ("dólar", "dólares", "centavos")},
    "£": {"en": ("pound", "pounds", "pence"), "es": ("libra", "libras", "peniques")},
    "€": {"en": ("euro", "euros", "cents"), "es": ("euro", "euros", "céntimos")},
    "¥": {"en": ("yen", "yen", "sen"), "es": ("yen", "yenes", "sen")},
}
_TIME: Final = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])")
_AMOUNT: Final = re.compile(r"([$£€¥])\s?(\d[\d.,]*\d|\d)|(?<![\d.,])(\d[\d.,]*\d|\d)\s?([£€¥])")
_ORDINAL: Final = {
    "en": re.compile(r"\b(\d{1,6})(?:st|nd|rd|th)\b", re.IGNORECASE),
    "es": re.compile(r"\b(\d{1,3})(?:\.?º|\.?ª|er\b|ra\b|ro\b|do\b|da\b|to\b|ta\b)"),
}
_DECADE: Final = re.compile(r"(?<!\d)'?(\d\d|1[1-9]\d\d|20\d\d)'?s\b")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_POINT: Final = {"en": "point", "es": "coma"}
_MINUS: Final = {"en": "minus", "es": "menos"}


def with_numbers_in_words(text: str, language: str) -> str:
    """The same text without a digit in it."""
    text = _TIME.sub(lambda found: _time(found[1], found[2], language), text)
    text = _AMOUNT.sub(lambda found: _amount(found, language), text)
    text = _ORDINAL[language].sub(lambda found: _ordinal(found[0], int(found[1]), language), text)
    if language == "en":
        text = _DECADE.sub(lambda found: _decade(found[1]), text)
    text = re.sub(r"(?<![\w-])-(?=\d)", f"{_MINUS[language]} ", text)
    # A space on both sides: "4K" is two words.
    spaced = _NUMBER.sub(lambda found: f" {_number(found[0], language)} ", text)
    return re.sub(r" +([,.;:!?])", r"\1", spaced)


def _number(digits: str, language: str) -> str:
    whole, decimals = _parts(digits, language)
    if decimals is None and (len(whole) > _MOST_DIGITS or (len(whole) > 1 and whole[0] == "0")):
        return _one_by_one(whole, language)
    if decimals is None:
        year = language == "en" and digits.isdigit() and _YEAR.fullmatch(whole)
        return _words(int(whole), language, "year" if year else "cardinal")
    spoken_decimals = (
        _words(int(decimals), language)
        if language == "es" and len(decimals) == 2 and decimals[0] != "0"
        else _one_by_one(decimals, language)
    )
    return f"{_words(int(whole), language)} {_POINT[language]} {spoken_decimals}"


def _parts(digits: str, language: str) -> tuple[str, str | None]:
    """Whole part and decimals; groups of three after a separator are thousands."""
    thousands, decimal = (",", ".") if language == "en" else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:\{thousands}\d{{3}})+(?:\{decimal}\d+)?", digits):
        digits = digits.replace(thousands, "")
    separators = [mark for mark in digits if not mark.isdigit()]
    if len(separators) == 1:
        whole, _, decimals = digits.replace(",", ".").partition(".")
        return whole, decimals
    return "".join(mark for mark in digits if mark.isdigit()), None


def _one_by_one(digits: str, language: str) -> str:
    return " ".join(_words(int(digit), language) for digit in digits)


def _words(value: int, language: str, form: str = "cardinal") -> str:
    words = str(num2words(value, lang=language, to=form))
    return re.sub(r"[,-]", " ", words) if language == "en" else words


def _ordinal(written: str, value: int, language: str) -> str:
    words = _words(value, language, "ordinal")
    if language == "es":
        if written.endswith(("ª", "ra", "da", "ta")):
            return re.sub(r"o\b", "a", words)
        if written.endswith("er") and words.endswith(("primero", "tercero")):
            return words[:-1]
    return words


def _decade(digits: str) -> str:
    words = _words(int(digits), "en", "year")
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _amount(found: re.Match[str], language: str) -> str:
    symbol, digits = found[1] or found[4], found[2] or found[3]
    one, many, small = _MONEY[symbol][language]
    whole, decimals = _parts(digits, language)
    if decimals is not None and len(decimals) != 2:
        return f"{_number(digits, language)} {many}"
    spoken = f"{_words(int(whole), language)} {one if int(whole) == 1 else many}"
    if language == "es":
        spoken = re.sub(r"\buno (?=dólar|euro|yen)", "un ", spoken)
        spoken = re.sub(r"\buno (?=libra)", "una ", spoken)
    if decimals is None or int(decimals) == 0:
        return spoken
    return f"{spoken} {'and' if language == 'en' else 'con'} {_words(int(decimals), language)} {small}"


def _time(hours: str, minutes: str, language: str) -> str:
    hour = _words(int(hours), language)
    if language == "es":
        hour = "una" if int(hours) == 1 else hour
        return hour if minutes == "00" else f"{hour} y {_words(int(minutes), 'es')}"
    if minutes == "00":
        return f"{hour} o'clock" if 0 < int(hours) <= 12 else f"{hour} hundred"
    return f"{hour} {'oh ' if minutes[0] == '0' else ''}{_words(int(minutes), 'en')}"
