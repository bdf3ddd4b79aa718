"""An HTTP/1.1 client for calls to providers: httptools parses, asyncio carries, nothing of an answer is kept.

No redirects, no cookies, no retries but one: a kept connection that turns out to be dead is replaced, once.
"""
