from __future__ import annotations

import pytest

from router_core.language import language_hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Write the code for this", "en"),
        ("Schreibe bitte ein Gedicht für mich", "de"),
        ("escribe una función para la web", "es"),
        ("напиши функцию", "ru"),
        ("напиши ще їй про це: її, її", "uk"),
        ("写一个函数吧", "zh"),
        ("関数を書いてください", "ja"),
        ("함수를 작성해", "ko"),
        ("اكتب دالة", "ar"),
        ("फ़ंक्शन लिखो", "hi"),
        ("xyzzy 42", ""),
        ("", ""),
        ("é", ""),
    ],
)
def test_language_hint(text, code):
    assert language_hint(text) == code
