# SPDX-License-Identifier: Apache-2.0
"""The text of hub tokens: 256 random bits, with a check sum that tells a typing mistake from an unknown token."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import Final

PREFIX: Final = "mdg_"
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARACTERS: Final = 43  # 62 ** 43 is just above 2 ** 256
_SUM_CHARACTERS: Final = 6  # 62 ** 6 is above 2 ** 32
_FORM: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_SECRET_CHARACTERS + _SUM_CHARACTERS}}}", re.ASCII)


def new_token() -> str:
    """Return a new token, such as mdg_ followed by 49 letters and digits."""
    text = PREFIX + _in_digits(secrets.randbits(256), _SECRET_CHARACTERS)
    return text + _sum(text)


def is_well_typed(token: str) -> bool:
    """Tell whether a text has the form of a token and its check sum fits; a stranger's token passes too."""
    return _FORM.fullmatch(token) is not None and _sum(token[:-_SUM_CHARACTERS]) == token[-_SUM_CHARACTERS:]


def hash_of(secret: str) -> str:
    """Return what is kept of a secret: its SHA-256 as hexadecimal text.

    A slow hash protects passwords, which can be guessed. Nobody guesses 256 random bits, and this one is computed while
    a request waits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _sum(text: str) -> str:
    return _in_digits(zlib.crc32(text.encode()), _SUM_CHARACTERS)


def _in_digits(number: int, characters: int) -> str:
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
