"""How much one visitor, and all of them together, may ask for. No Gradio here."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from idgen.errors import InputError
from space.settings import Settings

MINUTE = 60.0
_MAX_VISITORS = 10_000


class Limits:
    """Counts requests within the last minute. Safe to use from many threads.

    Only the times of admitted requests are kept, for about a minute. Of more than 10,000 visitors within a minute, the
    one who was quiet for longest is forgotten: only an app without a limit for everybody can see so many.

    Args:
        settings: the limits.
        clock: seconds, never going back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic):
        self.settings, self._clock, self._lock = settings, clock, threading.Lock()
        self._visitors: OrderedDict[str, deque[float]] = OrderedDict()  # the one who was quiet for longest first
        self._all: deque[float] = deque()

    def check(self, visitor: str, images: int = 0) -> None:
        """Admit a request and count it, or refuse it. What is refused does not count.

        Args:
            visitor: who asks, see `visitor_of`.
            images: how many pictures the request is for.

        Raises:
            InputError: too many pictures, or too many requests within the last minute.
        """
        most = self.settings.images_per_request
        if images > most:
            raise InputError(f"{images:,} pictures are more than the {most:,} of one request: ask for fewer at a time.")
        each, everybody = self.settings.requests_per_minute, self.settings.requests_per_minute_in_all
        with self._lock:
            now = self._clock()
            own = self._visitors.get(visitor) or deque()
            _forget(own, now)
            _forget(self._all, now)
            if each and len(own) >= each:
                raise InputError(
                    f"You made {each:,} requests within a minute, as many as one visitor may: "
                    f"try again in {_wait(own, now)}."
                )
            if everybody and len(self._all) >= everybody:
                raise InputError(
                    f"Visitors made {everybody:,} requests within a minute, as many as this app takes: "
                    f"try again in {_wait(self._all, now)}."
                )
            if everybody:
                self._all.append(now)
            if each:
                own.append(now)
                self._visitors[visitor] = own
                self._visitors.move_to_end(visitor)
            while len(self._visitors) > _MAX_VISITORS or self._quiet(now):
                self._visitors.popitem(last=False)

    def _quiet(self, now: float) -> bool:
        """Whether the visitor who was quiet for longest was so for a minute."""
        times = next(iter(self._visitors.values()), None)
        return times is not None and (not times or times[-1] <= now - MINUTE)


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


def _forget(times: deque[float], now: float) -> None:
    while times and times[0] <= now - MINUTE:
        times.popleft()


def _wait(times: deque[float], now: float) -> str:
    seconds = max(1, math.ceil(times[0] + MINUTE - now))
    return "1 second" if seconds == 1 else f"{seconds} seconds"
