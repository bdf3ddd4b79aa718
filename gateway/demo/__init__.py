"""Demo providers: real loopback HTTP servers on three vendors' wires, with knobs for faults.

They stand in for OpenAI, Anthropic and Gemini when no key is set, and they are what the tests and benches call.
Nothing in here thinks: an answer is a deterministic text made from the prompt.
"""
