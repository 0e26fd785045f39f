"""The ratchet of sizes turns one way."""

from __future__ import annotations

import ast

import pytest

from tools import tidy

TOO_LONG = "src/a.py", (700, 600)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        ({}, ["split it"]),
        ({"src/a.py": {"lines": 700, "reason": "generated"}}, []),
        ({"src/a.py": {"lines": 690, "reason": "generated"}}, ["grew"]),
        ({"src/a.py": {"lines": 710, "reason": "generated"}}, ["shrank"]),
        ({"src/a.py": {"lines": 700}}, ["no reason"]),
        ({"src/a.py": {"lines": 700, "reason": "x"}, "src/b.py": {"lines": 1, "reason": "x"}}, ["no longer"]),
    ],
)
def test_a_size_may_only_shrink(allowed: dict[str, dict[str, object]], words: list[str]) -> None:
    faults = list(tidy.size_faults(dict([TOO_LONG]), allowed))
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))


def test_long_functions_are_found() -> None:
    text = "def f():\n" + "    pass\n" * 80
    assert list(tidy.sizes("src/a.py", text, ast.parse(text))) == [("src/a.py:f", 81, 70)]


def test_a_file_says_what_it_is() -> None:
    text = "x = 1\n"
    assert len(list(tidy.head_faults("src/helpers.py", text, ast.parse(text)))) == 3
    assert list(tidy.head_faults("tests/unit/test_x.py", text, ast.parse(text))) == []
