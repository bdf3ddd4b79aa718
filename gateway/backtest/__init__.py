"""Backtests: what a policy would have cost and how good it would have been, on recordings or on the own log."""

from gateway.backtest.corpus import Corpus, CorpusError, build, fold_of, read_rows
from gateway.backtest.report import Report, backtest, evaluate

__all__ = ["Corpus", "CorpusError", "Report", "backtest", "build", "evaluate", "fold_of", "read_rows"]
