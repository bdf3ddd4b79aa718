"""Carries calls to providers: litellm's knowledge translates, our transport carries."""
