"""Make text safe to print. Names, keys and messages from users, models and files may contain control characters.

An escape sequence in a class name could clear a terminal or rewrite what it shows, a line break could forge a line of a
log, and a character that changes the direction of text could make a name look like another one.
"""

import json
import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
LINES = "\n\t"
"""What to keep in text that has several lines, such as a traceback."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Characters with which a formula begins in spreadsheets."""


def printable(text: str, keep: str = "") -> str:
    """Return the text with every character replaced that is not printable, except those of `keep`.

    Replaced are control characters (also line breaks and tabs), characters that change the direction of text or cannot
    be seen, and bytes that could not be decoded. Spaces of every width are kept.
    """
    if text.isprintable():
        return text
    return "".join(character if character in keep or _is_printable(character) else REPLACEMENT for character in text)


def spreadsheet_cell(text: str, keep: str = "") -> str:
    """Return a text as it is written to CSV files: never a formula, and without control characters but `keep`.

    Spreadsheets open the files. A text that would be a formula begins with `'`
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    return ("'" if text.startswith(FORMULA_STARTS) else "") + printable(text, keep)


def printable_json(text: str) -> str:
    """Return JSON of the same value in which every character that is not printable is escaped.

    Serializers escape the control characters of ASCII only.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(
        character if character == "\n" or _is_printable(character) else json.dumps(character)[1:-1]
        for character in text
    )


def _is_printable(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"
