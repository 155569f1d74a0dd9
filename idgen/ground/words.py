"""Numbers in the words that all messages share."""

from __future__ import annotations

from collections.abc import Sequence

from idgen.ground import domain


def count(number: int, one: str, many: str) -> str:
    """ "1 person", "2,000 people"."""
    return f"{number:,} {one if number == 1 else many}"


def percent(share: float) -> str:
    """A share as "12.3 %"; with two digits where one would round it to none or all."""
    digits = 0 if share in (0, 1) else 1 if 0.001 <= share <= 0.999 else 2
    return f"{100 * share:.{digits}f} %"


def one_in(rate: float) -> str:
    """A rate: 0.001 is "1 in 1,000"."""
    return f"1 in {round(1 / rate):,}"


def at_fmr(rate: float) -> str:
    """ "at a false-match rate of 1 in 1,000"."""
    return f"at a false-match rate of {one_in(rate)}"


def agrees(number: int, own: bool = False) -> str:
    """ "are the wanted person", of so many pictures; with `own`, of what is compared with a model's own pictures."""
    if own:
        return f"{'agrees' if number == 1 else 'agree'} with its own pictures"
    return f"{'is' if number == 1 else 'are'} the wanted person"


def verdicts(matches: int, of: int, fmr: float, domains: Sequence[str], own: bool = False) -> str:
    """How many pictures are the wanted person, or agree with the model's `own` ones, says the judge, who was measured
    on pictures of these domains."""
    kinds = " and ".join(map(domain.pictures, domains))
    said = f"{matches or 'None'} of {of} {agrees(matches, own)}, says the independent judge, {at_fmr(fmr)}"
    return f"{said}, measured on {kinds}."
