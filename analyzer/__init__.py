"""Segments in, advice out. Lives here: reading segments, profiles, what documents read, naming, rules, prices, savings.

May not: write anywhere, know OpAMP, HTTP or a Collector's YAML, import a sibling room. `reader` and `profiler` alone import DuckDB.
"""

from analyzer.advice_report import advice_json
from analyzer.engine import Advice, Read, Unable, advise
from analyzer.naming import candidates
from analyzer.outlook import Outlook, outlook
from analyzer.parsers import PromqlWorker
from analyzer.pricing import FREE, parse_price_book, price
from analyzer.profiler import bucket_seconds, history, profile, tap_losses, volume
from analyzer.reader import open_tap
from analyzer.reading import unexecuted
from analyzer.references.inventory import Input
from analyzer.report import usage_json
from analyzer.savings import Loss, judge
from analyzer.totals import totals
from analyzer.usage import read_usage

__all__ = [
    "FREE",
    "Advice",
    "Input",
    "Loss",
    "Outlook",
    "PromqlWorker",
    "Read",
    "Unable",
    "advice_json",
    "advise",
    "bucket_seconds",
    "candidates",
    "history",
    "judge",
    "open_tap",
    "outlook",
    "parse_price_book",
    "price",
    "profile",
    "read_usage",
    "tap_losses",
    "totals",
    "unexecuted",
    "usage_json",
    "volume",
]
