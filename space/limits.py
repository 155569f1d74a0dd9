"""How much one visitor, and all of them together, may ask for. No Gradio here."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from idgen.errors import InputError
from space.settings import Settings

MINUTE = 60.0
UNUSED = 10 * MINUTE
"""Seconds until an upload that no request has used is deleted, and in which uploads are counted."""

_MAX_VISITORS = 10_000
_MEGA = 1_000_000


class Limits:
    """Counts requests within the last minute. Safe to use from many threads.

    Args:
        settings: the limits.
        clock: seconds, never going back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic):
        self.settings = settings
        self._rate = _Rate(settings.requests_per_minute, settings.requests_per_minute_in_all, MINUTE, clock)

    def check(self, visitor: str, images: int = 0, requests: int = 1) -> None:
        """Admit a request and count it, or refuse it. What is refused does not count.

        Args:
            visitor: who asks, see `visitor_of`.
            images: how many pictures the visitor asked for; 0 for what always makes the same number, as nobody could
                ask for fewer.
            requests: as how many it counts, all of them or none; at most as many as a minute has.

        Raises:
            InputError: too many pictures, or too many requests within the last minute.
        """
        most = self.settings.images_per_request
        if images > most:
            raise InputError(f"{images:,} pictures are more than the {most:,} of one request: ask for fewer at a time.")
        each, everybody = self.settings.requests_per_minute, self.settings.requests_per_minute_in_all
        requests = min(requests, each or requests, everybody or requests)
        full = self._rate.add(visitor, requests)
        if full is None:
            return
        who, may, most = (
            ("Visitors", "this app takes", everybody) if full.everybody else ("You", "one visitor may", each)
        )
        limit = f"as many as {may}" if requests == 1 else f"this counts as {requests:,} more, and {may} {most:,} in all"
        raise InputError(f"{who} made {full.total:,} requests within a minute, {limit}: try again in {full.wait}.")


class Uploads:
    """Counts bytes of uploads within the last ten minutes, after which what no request used is deleted.

    Args:
        settings: the limits.
        clock: seconds, never going back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic):
        self._each = settings.megabytes_per_ten_minutes
        self._everybody = settings.megabytes_per_ten_minutes_in_all
        self._rate = _Rate(self._each * _MEGA, self._everybody * _MEGA, UNUSED, clock)

    def check(self, visitor: str, size: int) -> None:
        """Admit `size` bytes and count them, or refuse them. What is refused does not count.

        Raises:
            InputError: too many bytes within the last ten minutes.
        """
        full = self._rate.add(visitor, size)
        if full is not None:
            who, most = ("Visitors", self._everybody) if full.everybody else ("You", self._each)
            raise InputError(
                f"{who} may upload {most:,} MB within ten minutes, and this would be more: try again in {full.wait}, "
                "or with smaller photos."
            )


@dataclass(frozen=True)
class _Full:
    """`total` was admitted, by one visitor or by `everybody`, and more can be in so many `seconds`."""

    total: int
    everybody: bool
    seconds: float

    @property
    def wait(self) -> str:
        whole = max(1, math.ceil(self.seconds))
        return "1 second" if whole == 1 else f"{whole:,} seconds"


class _Window:
    """Amounts, and when they came."""

    def __init__(self) -> None:
        self.came: deque[tuple[float, int]] = deque()
        self.total = 0

    def forget(self, until: float) -> None:
        while self.came and self.came[0][0] <= until:
            self.total -= self.came.popleft()[1]

    def add(self, now: float, amount: int) -> None:
        self.came.append((now, amount))
        self.total += amount

    def until(self, less: int) -> float | None:
        """Up to when what came must be forgotten so that the total falls by `less`; None: it never does."""
        for when, amount in self.came:
            less -= amount
            if less <= 0:
                return when
        return None


class _Rate:
    """What was admitted within the last `span` seconds, of one visitor at most `each`, in all `everybody`; 0: any.

    Only amounts and their times are kept, and only for so long. Of more than 10,000 visitors at a time, the one who was
    quiet for longest is forgotten: only an app without a limit for everybody can see so many.
    """

    def __init__(self, each: int, everybody: int, span: float, clock: Callable[[], float]):
        self._each, self._everybody, self._span, self._clock = each, everybody, span, clock
        self._lock = threading.Lock()
        self.visitors: OrderedDict[str, _Window] = OrderedDict()  # the one who was quiet for longest first
        self.all = _Window()

    def add(self, visitor: str, amount: int) -> _Full | None:
        """Count it, or say what is full."""
        with self._lock:
            now = self._clock()
            own = self.visitors.get(visitor) or _Window()
            for window, most in ((own, self._each), (self.all, self._everybody)):
                window.forget(now - self._span)
                if most and window.total + amount > most:
                    until = window.until(window.total + amount - most)
                    return _Full(window.total, window is self.all, self._span - (0 if until is None else now - until))
            if self._everybody:
                self.all.add(now, amount)
            if self._each:
                own.add(now, amount)
                self.visitors[visitor] = own
                self.visitors.move_to_end(visitor)
            while len(self.visitors) > _MAX_VISITORS or self._quiet(now):
                self.visitors.popitem(last=False)
        return None

    def _quiet(self, now: float) -> bool:
        """Whether the visitor who was quiet for longest was so for the whole span."""
        window = next(iter(self.visitors.values()), None)
        return window is not None and (not window.came or window.came[-1][0] <= now - self._span)


def visitor_of(address: str | None, forwarded_for: str | None, proxies: int) -> str:
    """One name for all requests of a visitor, who cannot choose it.

    Args:
        address: where the connection comes from.
        forwarded_for: the header X-Forwarded-For: each proxy appends the address it was called from, so only the
            last `proxies` entries are true.
        proxies: how many reverse proxies stand in front of the app.

    Returns:
        An IPv4 address, the /64 network of an IPv6 address (one connection usually has it whole), or "unknown".
    """
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    if proxies and hops:
        address = hops[-min(proxies, len(hops))]
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
