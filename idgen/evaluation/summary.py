"""An evaluation in plain words."""

from __future__ import annotations

from idgen.evaluation.leakage import COPY, Search
from idgen.evaluation.results import AT, Comparisons, Evaluation, Fidelity, Level
from idgen.ground.arguments import FMR
from idgen.ground.domain import advice, pictures
from idgen.ground.words import at_fmr, count, one_in, percent
from idgen.scoring.score import OWN_PICTURES

_BESIDE = {
    "sample-to-sample": "beside their pictures",
    "sample-to-centre": "beside their means",
    "person-to-person": "mean beside mean",
}


def summarise(result: Evaluation) -> list[tuple[Level, str]]:
    """The findings, a sentence or two each."""
    out = [_recognition(result.main), _calibrated(result.main, result.domain)]
    for who, folds in result.folds.items():
        share = f"{percent(folds.accuracy)} of the pairs (± {100 * folds.deviation:.2f})"
        out.append(("note", f"By the ten-fold protocol, {who} is right on {share}."))
    if result.fidelity is not None:
        out.append(_fidelity(result.fidelity))
    if (apart := result.separability) is not None:
        text = f"{apart.unique:,} of {apart.people:,} people are unique: no earlier person's mean is as close as "
        text += f"{apart.threshold:.2f}. The closest two are {' and '.join(apart.closest)} ({apart.nearest_max:.2f})."
        out.append((_level(apart.unique_share, 0.99, 0.9), text))
    if (spread := result.diversity) is not None:
        text = f"Two pictures of one person are at a cosine of {1 - spread.distance:.2f} on average."
        if spread.yaw is not None:
            text += f" Heads turn by {spread.yaw:.0f}° (standard deviation of one person's yaw)."
        out.append(("note", text))
        if spread.no_face:
            text = f"In {percent(spread.no_face)} of the pictures looked at, no face was found."
            out.append(("bad" if spread.no_face > 0.02 else "note", text))
    if result.searches:
        out.append(_leakage(result.searches))
    return out


def _recognition(found: Comparisons) -> tuple[Level, str]:
    tar = found.result.tar[AT]
    sure = "" if found.result.certain[AT] else " (on too few comparisons to be sure)"
    return (
        _level(tar, 0.9, 0.5),
        f"Pictures of one person are recognised as one person in {percent(tar)} of the pairs, at a threshold that "
        f"{one_in(FMR)} pairs of different people reach{sure}. The equal error rate is {percent(found.result.eer)}.",
    )


def _calibrated(found: Comparisons, of: str) -> tuple[Level, str]:
    if not (known := found.calibrated):
        said = f"The recogniser was not measured on {pictures(of)}, or on too few, so no threshold of its own applies."
        return "note", f"{said} {advice(of)}"
    return "note", (
        f"At the recogniser's own threshold, {known['threshold']:.2f} for a false-match rate of {one_in(known['fmr'])} "
        f"measured on {pictures(known['domain'])}, {percent(known['tar'])} of the pairs of one person match here, and "
        f"{percent(known['false_matches'])} of the pairs of different people."
    )


def _fidelity(found: Fidelity) -> tuple[Level, str]:
    if found.rate is None or found.fmr is None or found.domain is None:
        said = f"No verdict on whether they are the people asked for: {found.mean:.2f} is the judge's mean similarity"
        return "note", f"{said}, which was not measured on {pictures(found.of)}, or on too few. {advice(found.of)}"
    if found.against == OWN_PICTURES:
        return (
            _level(found.rate, 0.8 * (found.genuine_rate or 1), 0.3),
            f"{percent(found.rate)} of the pictures agree with the model's own pictures of the person, says the "
            f"independent judge {at_fmr(found.fmr)}, measured on {pictures(found.domain)}. Whether these show the "
            "person of the vector, nothing says.",
        )
    real = "" if found.genuine_rate is None else f"; of real pictures {percent(found.genuine_rate)} do"
    return (
        _level(found.rate, 0.8 * (found.genuine_rate or 1), 0.3),
        f"{percent(found.rate)} of the pictures match the person who was asked for, says the independent judge "
        f"{at_fmr(found.fmr)}, measured on {pictures(found.domain)}{real}. For a vector that was stolen rather than "
        "sampled, this is the success rate of a template inversion.",
    )


def _leakage(searches: list[Search]) -> tuple[Level, str]:
    leaks = [search for search in searches if search.leaks]
    if not leaks:
        counts = "; ".join(
            f"{_BESIDE[search.kind]}: {_alarms(search)} where chance makes {search.expected:.1f}" for search in searches
        )
        return "good", f"No leak was found: nothing comes closer to training people than strangers do ({counts})."
    worst = max(leaks, key=lambda search: (search.copies, len(search.alarms) - search.expected))
    copied = f" {worst.copies:,} of them are copies (cosine {COPY} or more)." if worst.copies else ""
    return (
        "bad",
        f"Training people show up: {_alarms(worst)} come closer to one than {one_in(worst.rate)} strangers do, where "
        f"chance makes {worst.expected:.1f} and hardly ever more than {worst.plausible:,}.{copied}",
    )


def _alarms(search: Search) -> str:
    people = count(search.people, "person", "people")
    if search.kind == "person-to-person":
        return people
    pictures = count(len(search.alarms), "picture", "pictures")
    return f"{pictures} of {people}" if search.people < len(search.alarms) else pictures


def _level(value: float, good: float, fair: float) -> Level:
    return "good" if value >= good else "note" if value >= fair else "bad"
