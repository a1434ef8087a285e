"""Decides with Python's limits, a line of standard input each: a strategy, a limit, a period, and the times
and costs of hits.

Prints whether each hit passes. Times are of the line alone, not of the machine.
"""

import json
import sys
import time

import limits
from limits.storage import memory


class NoTimer:
    """Takes the place of the timer that frees memory in the background, at times that no line tells."""

    def __init__(self, *_):
        pass

    def start(self):
        pass

    def is_alive(self):
        return True


memory.threading.Timer = NoTimer
strategies = {
    "fixed": limits.strategies.FixedWindowRateLimiter,
    "moving": limits.strategies.MovingWindowRateLimiter,
    "sliding": limits.strategies.SlidingWindowCounterRateLimiter,
}
for line in sys.stdin:
    run = json.loads(line)
    limiter = strategies[run["strategy"]](memory.MemoryStorage())
    item = limits.RateLimitItemPerSecond(run["limit"], run["period"])
    answers = []
    for at, cost in run["hits"]:
        time.time = lambda: at
        answers.append(limiter.hit(item, "client", cost=cost))
    print(json.dumps(answers))
