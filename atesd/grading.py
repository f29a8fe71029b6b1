"""Are two mathematical answers equal? math-verify decides, in child processes that are killed when they take too long.

math-verify's own limit is a signal, which a long computation in C outruns (``\\boxed{1000000000!}``), and no thread can
stop it. So every answer is compared in a pool of children (pebble) with a limit on seconds and on memory.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from concurrent.futures import TimeoutError
from functools import cache
from typing import TYPE_CHECKING

from atesd.verify import Grade, Pair, same_answer

if TYPE_CHECKING:
    from pebble import ProcessFuture, ProcessPool

SECONDS = 5.0  # OPSD's limit per answer
WORKERS = 2  # ours
MEMORY = 4 << 30  # bytes of address space per child. ours
# No contest answer is longer; a longer one is compared as text, so that a rambling box costs no seconds. ours
LONGEST = 500


def grades(pairs: Sequence[Pair]) -> list[Grade]:
    """Grade answers: right where the text is the same or math-verify finds the two equal.

    >>> [grade.value for grade in grades([(r"\\frac{1}{2}", "0.5"), ("3", "4"), (None, "4")])]
    ['right', 'wrong', 'no_answer']
    """
    asked = {pair: _pool().schedule(_equal, args=pair, timeout=SECONDS) for pair in dict.fromkeys(pairs) if _hard(pair)}
    known = {pair: _outcome(future) for pair, future in asked.items()}
    return [known[pair] if pair in known else _by_text(pair) for pair in pairs]


def _by_text(pair: Pair) -> Grade:
    if pair[0] is None:
        return Grade.no_answer
    return Grade.right if same_answer(*pair) else Grade.wrong


def _hard(pair: Pair) -> bool:
    """Return whether text alone cannot tell."""
    given, expected = pair
    return given is not None and not same_answer(given, expected) and len(given) + len(expected) <= LONGEST


def _outcome(future: ProcessFuture[bool]) -> Grade:
    from pebble import ProcessExpired

    try:
        return Grade.right if future.result() else Grade.wrong
    except TimeoutError:
        return Grade.timed_out
    except (ProcessExpired, MemoryError, RecursionError):
        return Grade.crashed


@cache
def _pool() -> ProcessPool:
    """Return this process's children, started at first use and stopped when it ends."""
    import multiprocessing

    from pebble import ProcessPool

    # Spawned, not forked: a fork would copy an engine's threads and locks half.
    pool = ProcessPool(WORKERS, initializer=_prepare, context=multiprocessing.get_context("spawn"))
    atexit.register(_stop, pool)
    return pool


def _stop(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _prepare() -> None:
    """Limit this child and load math-verify, so that its first answer has its full time."""
    import resource
    import signal

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler in Python would wait for the computation to end
    _equal("1", r"\frac{2}{2}")


def _equal(given: str, expected: str) -> bool:
    """Compare two answers as LaTeX mathematics; runs in a child."""
    import logging

    from math_verify import parse, verify

    logging.disable()  # it reports every answer it cannot read
    # Its own limits are off: the child's are the ones that hold.
    gold, answer = (parse(f"${text}$", parsing_timeout=None) for text in (expected, given))
    return bool(verify(gold, answer, timeout_seconds=None))
