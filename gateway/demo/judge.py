"""How a demo model judges answers, or writes one from several drafts: by a rule anybody can check."""

from __future__ import annotations

import re
from typing import Final

import orjson

from gateway.demo.ask import Ask
from router_core.judging import JUDGE_SYSTEM, SYNTHESIS_SYSTEM

DOUBT: Final = "[possible mistake"
"""What a weak demo model writes behind an answer it is not sure of."""

_BLOCK: Final = re.compile(
    r"<<(?P<fence>\w+) (?:answer|draft) (?P<letter>[A-H])\n(?P<text>.*?)\n(?P=fence)>>", re.DOTALL
)


def judged(ask: Ask) -> str | None:
    """Return a verdict, or the best draft; None when the request is neither question.

    The best answer is one without doubt in it, the longer one of several such. Letters and places do not matter, and
    nothing that an answer says of itself does.
    """
    asked = f"{ask.system}\n{ask.prompt}"  # a translator may put the system's words before the user's
    verdict = JUDGE_SYSTEM in asked
    if not verdict and SYNTHESIS_SYSTEM not in asked:
        return None
    found = [(match["letter"], match["text"]) for match in _BLOCK.finditer(ask.prompt)]
    if not found:
        return None
    letter, text = max(found, key=lambda answer: (DOUBT not in answer[1], len(answer[1]), answer[1]))
    if not verdict:
        return text
    reason = "It is sure of itself and says the most." if DOUBT not in text else "All have doubts; it says the most."
    return orjson.dumps({"winner": letter, "reason": reason}).decode()
