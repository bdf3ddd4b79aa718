"""Some minutes of mixed traffic while providers break at random: nothing wrong may be passed off as an answer.

``python -m bench.chaos`` starts a gateway and three demo providers and prints what held; ``--help`` says the rest.
"""
