"""How much a visitor may ask for."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from idgen.ground.errors import InputError
from space import limits
from space.limits import Limits, caller, visitor_of
from space.settings import Settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_pictures_of_one_request() -> None:
    counted = Limits(Settings(images_per_request=4, requests_per_minute=1))
    with pytest.raises(InputError, match=r"^5 pictures are more than the 4 of one request"):
        counted.check("a", 5)
    counted.check("a", 4)  # the refused one did not count


# For each visitor: seconds since the last one, who, how many requests or bytes, and what is refused in what words.
A_VISITOR_WAITS = [
    *((0, "a", 1, ""), (45.5, "a", 1, "")),
    *[(0, "a", 1, r"^You made 2 requests within a minute.*again in 15 seconds\.$")] * 3,  # asking does not add to it
    *((0, "b", 1, ""), (14.5, "a", 1, "")),  # the first is a minute old
    *((0, "a", 1, r"again in 46 seconds"), (44.9, "a", 1, r"again in 1 second\.")),
]
EVERYBODY_TOGETHER = [
    *((0, "a", 1, ""), (0, "b", 1, ""), (0, "c", 1, "")),
    (0, "d", 1, r"^Visitors made 3 requests within a minute.*in 60 seconds\.$"),
    *((60, "d", 1, ""), (0, "d", 1, ""), (0, "a", 1, "")),
]
ALL_OR_NONE = [
    (0, "a", 2, ""),
    (20, "a", 5, r"^You made 2 .*counts as 5 more, and one visitor may 6 in all.*in 40 seconds"),
    (0, "a", 4, ""),  # what was refused did not count
    (0, "b", 5, r"^Visitors made 6 .*counts as 5 more, and this app takes 8.*in 60 seconds"),
    (0, "b", 2, ""),
]
MORE_THAN_A_MINUTE_HAS = [(0, "a", 5, ""), (0, "a", 1, "3 requests within a minute")]  # counts as all of it
BYTES = [
    *((0, "a", 3_000_000, ""), (100, "a", 1_500_000, "")),
    (0, "a", 1_000_000, r"^You may upload 5 MB within ten minutes.*again in 500 seconds, or"),
    *((0, "a", 500_000, ""), (0, "b", 4_000_000, r"^Visitors may upload 8 MB"), (0, "b", 3_000_000, "")),
    *((500, "a", 3_000_000, ""), (0, "c", 6_000_000, r"^You may upload 5 MB")),
]


@pytest.mark.parametrize(
    ("settings", "story"),
    [
        ({"requests_per_minute": 2}, A_VISITOR_WAITS),
        ({"requests_per_minute": 2, "requests_per_minute_in_all": 3}, EVERYBODY_TOGETHER),
        ({"requests_per_minute": 6, "requests_per_minute_in_all": 8}, ALL_OR_NONE),
        ({"requests_per_minute": 3}, MORE_THAN_A_MINUTE_HAS),
        ({"megabytes_per_ten_minutes": 5, "megabytes_per_ten_minutes_in_all": 8}, BYTES),
    ],
)
def test_what_is_admitted_and_when(settings: dict[str, int], story: list[tuple[float, str, int, str]]) -> None:
    counted = Limits(Settings(**settings), clock := Clock())
    for seconds, visitor, amount, refused in story:
        clock.now += seconds
        with pytest.raises(InputError, match=refused) if refused else nullcontext():
            counted.check_upload(visitor, amount) if story is BYTES else counted.check(visitor, requests=amount)


def test_no_limit() -> None:
    counted = Limits(Settings())
    counted.check_upload("a", 10**12)
    for _ in range(1000):
        counted.check("a", 16)
    assert not counted.requests.totals


def test_agrees_with_counting_everything() -> None:
    clock, chance = Clock(), random.Random(0)
    counted = Limits(Settings(requests_per_minute=3, requests_per_minute_in_all=8), clock)
    admitted: list[tuple[float, str]] = []
    refused = 0
    for _ in range(3000):
        clock.now += chance.expovariate(1 / 5)
        visitor = chance.choice("abcde")
        recent = [who for when, who in admitted if when > clock.now - 60]
        if recent.count(visitor) >= 3 or len(recent) >= 8:
            refused += 1
            with pytest.raises(InputError):
                counted.check(visitor)
        else:
            counted.check(visitor)
            admitted.append((clock.now, visitor))
    assert 300 < refused < 2700


def test_old_visitors_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    counted = Limits(Settings(requests_per_minute=2), clock)
    for number in range(100):
        counted.check(f"visitor {number}")
    clock.now += 61
    counted.check("new")
    assert set(counted.requests.totals) == {"new", ""}, "and everybody"
    monkeypatch.setattr(limits, "_MAX_VISITORS", 10)
    for number in range(100):
        counted.check(f"visitor {number}")
    assert len(counted.requests.totals) == 10 + 1


def test_many_threads_get_no_more() -> None:
    counted = Limits(Settings(requests_per_minute=50, requests_per_minute_in_all=120))

    def ask(number: int) -> bool:
        try:
            counted.check("abc"[number % 3])
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(600))) == 120


@pytest.mark.parametrize(
    ("address", "forwarded", "proxies", "name"),
    [
        ("10.0.0.1", None, 0, "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", 0, "10.0.0.1"),  # without a proxy the header is the visitor's invention
        ("10.0.0.1", "9.9.9.9, 1.2.3.4", 1, "1.2.3.4"),  # only what the proxy appended is true
        ("10.0.0.1", "9.9.9.9, 1.2.3.4, 10.0.0.2", 2, "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4", 3, "1.2.3.4"),
        ("10.0.0.1", " ", 1, "10.0.0.1"),
        ("2001:db8:1:2:aaaa::1", None, 0, "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", None, 0, "1.2.3.4"),
        *((nonsense, None, 0, "unknown") for nonsense in (None, "", "testclient", "1.2.3.4:80, <script>")),
    ],
)
def test_who_a_visitor_is(address: str | None, forwarded: str | None, proxies: int, name: str) -> None:
    assert visitor_of(address, forwarded, proxies) == name


def test_a_proxy_that_writes_a_line_of_its_own() -> None:
    from starlette.requests import Request

    lines = [(b"x-forwarded-for", b"9.9.9.9"), (b"x-forwarded-for", b"1.2.3.4")]
    assert caller(Request({"type": "http", "client": ("10.0.0.1", 1), "headers": lines}), 1) == "1.2.3.4"
