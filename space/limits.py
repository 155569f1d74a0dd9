"""Who asks, and how much one visitor, and all of them together, may ask for. No Gradio here."""

from __future__ import annotations

import ipaddress
import math
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from idgen.ground.errors import InputError
from idgen.ground.words import count

from .settings import Settings
from .uploads import UNUSED

_MAX_VISITORS = 10_000
_EVERYBODY = ""  # no visitor's name
_HEADER = "x-idgen-visitor"  # in which a tool's call says for whom it asks this app
_OURS = secrets.token_hex(32)  # nobody else can say so


class Limits:
    """Counts requests within the last minute, and bytes of uploads within ten. Safe to use from many threads."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic):
        self.settings = settings
        self.requests = Rate(settings.requests_per_minute, settings.requests_per_minute_in_all, 60, clock)
        each, everybody = settings.megabytes_per_ten_minutes, settings.megabytes_per_ten_minutes_in_all
        self.uploads = Rate(each * 10**6, everybody * 10**6, UNUSED, clock)

    def admit(self, request: Any, images: int = 0, requests: int = 1) -> None:
        """`check` for a request of Gradio's or Starlette's."""
        self.check(caller(request, self.settings.proxies), images, requests)

    def check(self, visitor: str, images: int = 0, requests: int = 1) -> None:
        """Admit a request and count it, or refuse it. What is refused does not count.

        Args:
            images: how many pictures the visitor asked for; 0 for what always makes the same number, as nobody could
                ask for fewer.
            requests: as how many it counts, all of them or none; at most as many as a minute has.

        Raises:
            InputError: too many pictures, or too many requests within the last minute.
        """
        most = self.settings.images_per_request
        if images > most:
            raise InputError(f"{images:,} pictures are more than the {most:,} of one request: ask for fewer at a time.")
        requests = min(requests, self.requests.each or requests, self.requests.everybody or requests)
        if full := self.requests.add(visitor, requests):
            who, total, most, wait = full
            may = "this app takes" if who == "Visitors" else "one visitor may"
            more = f"this counts as {requests:,} more, and {may} {most:,} in all"
            limit = f"as many as {may}" if requests == 1 else more
            raise InputError(f"{who} made {total:,} requests within a minute, {limit}: try again in {wait}.")

    def check_upload(self, visitor: str, size: int) -> None:
        """Admit `size` bytes and count them, or refuse them. What is refused does not count.

        Raises:
            InputError: too many bytes within the last ten minutes, after which what no request used is deleted.
        """
        if full := self.uploads.add(visitor, size):
            who, _, most, wait = full
            may = f"{who} may upload {most // 10**6:,} MB within ten minutes, and this would be more"
            raise InputError(f"{may}: try again in {wait}, or with smaller photos.")


class Rate:
    """What was admitted within the last `span` seconds, of one visitor at most `each`, in all `everybody`; 0: any.

    Only amounts and their times are kept, and only for so long. Of more than 10,000 visitors at a time, those who came
    first are forgotten: only an app without a limit for everybody can see so many.
    """

    def __init__(self, each: int, everybody: int, span: float, clock: Callable[[], float]):
        self.each, self.everybody, self._span, self._clock = each, everybody, span, clock
        self._lock = threading.Lock()
        self._came: deque[tuple[float, str, int]] = deque()
        self.totals: Counter[str] = Counter()

    def add(self, visitor: str, amount: int) -> tuple[str, int, int, str] | None:
        """Count it; or say whose ("You" or all "Visitors") limit is full, with how much of how much, and how long."""
        with self._lock:
            now = self._clock()
            while self._came and (self._came[0][0] <= now - self._span or len(self.totals) > _MAX_VISITORS):
                _, name, one = self._came.popleft()
                for who in (name, _EVERYBODY):
                    self.totals[who] -= one
                    if not self.totals[who]:
                        del self.totals[who]
            for who, most in ((visitor, self.each), (_EVERYBODY, self.everybody)):
                over = self.totals[who] + amount - most
                if most and over > 0:
                    wait = count(max(1, math.ceil(self._wait(who, over, now))), "second", "seconds")
                    return "You" if who else "Visitors", self.totals[who], most, wait
            if self.each or self.everybody:
                self._came.append((now, visitor, amount))
                self.totals.update({visitor: amount, _EVERYBODY: amount})
        return None

    def _wait(self, who: str, over: int, now: float) -> float:
        """Seconds until so much of theirs is forgotten."""
        for when, name, one in self._came:
            over -= one if who in (name, _EVERYBODY) else 0
            if over <= 0:
                return when + self._span - now
        return self._span


def caller(request: Any, proxies: int) -> str:
    """Whose request it is: of a tool's call, the visitor who called the tool.

    Args:
        request: Starlette's, Gradio's, or one with `client` and `headers` as they have; None: nobody's.
        proxies: see `visitor_of`.
    """
    request = getattr(request, "request", None) or request  # Gradio's own has only one line of each header
    headers = getattr(request, "headers", {})
    ours, _, visitor = headers.get(_HEADER, "").partition(" ")
    if secrets.compare_digest(ours.encode(), _OURS.encode()):
        return visitor
    # A proxy may append a line of its own instead of an entry.
    lines = headers.getlist("x-forwarded-for") if hasattr(headers, "getlist") else [headers.get("x-forwarded-for", "")]
    return visitor_of(getattr(getattr(request, "client", None), "host", None), ", ".join(lines), proxies)


def for_visitor(visitor: str) -> dict[str, str]:
    """Headers of a request that this process makes to itself, for a visitor."""
    return {_HEADER: f"{_OURS} {visitor}"}


def visitor_of(address: str | None, forwarded_for: str | None, proxies: int) -> str:
    """The name of a visitor.

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
