"""Foreign text, such as a file's name, as it can be shown."""

import unicodedata

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return a text with what cannot be seen written as codes.

    Those are control characters, line ends, marks that change the direction of writing, and bytes
    that are no UTF-8 (which Python holds as lone surrogates): ``"\\\\n"``, ``"\\\\u202e"``,
    ``"\\\\xff"``. What is left can be encoded.
    """
    if text.isprintable():
        return text
    return "".join(map(_seen, text))


def _seen(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: the byte 0x80 to 0xff
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
