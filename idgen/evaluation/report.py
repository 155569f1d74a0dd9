"""The evaluation as a page to read: what each part of it shows and says."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TypeVar

import numpy as np

from idgen.evaluation import charts
from idgen.evaluation.fruits import TIMED, processor
from idgen.evaluation.leakage import ALARM_RATE, Search
from idgen.evaluation.page import heads, legend, page, pair, picture, section, table, two, words, yes_no
from idgen.evaluation.reading import Set
from idgen.evaluation.results import AT, Comparisons, Evaluation
from idgen.ground import files
from idgen.ground.arguments import FMR
from idgen.ground.domain import pictures
from idgen.ground.version import __version__
from idgen.ground.words import one_in, percent
from idgen.scoring.score import OWN_PICTURES
from idgen.scoring.verification import FEWEST_FALSE_MATCHES, RATES, det_curve

Value = TypeVar("Value")
_SHEET_PEOPLE, _SHEET_PICTURES, _SHOWN_ALARMS = 8, 8, 12


def write_report(path: str | Path, result: Evaluation, set_: Set | None, training: Set | None = None) -> None:
    """Write the page, complete or not at all.

    Args:
        path: where.
        result: what was measured.
        set_: the set, for its pictures; None for pairs.
        training: the training set, for the pictures beside those that come close to it.
    """
    parts = [_header(result), _cards(result), _summary(result), _recognition([result.main, *result.others], result)]
    if set_ is not None and set_.source.open is not None:
        parts += [_worst(result.main, set_), _sheet(result, set_)]
    parts += [
        _costs(result),
        _fidelity(result),
        _leakage(result, set_, training),
        _variety(result),
        _attributes(result),
    ]
    files.write(path, page(f"{result.name}: evaluation", [*parts, _method(result)]))


def _header(result: Evaluation) -> str:
    what = f"{result.pictures:,} pictures"
    what += f" of {result.people:,} people" if result.people else " in pairs"
    what += f", {escape(result.domain)}"
    by = escape(result.main.space or "unnamed vectors")
    return (
        f'<header><p class="over">Evaluation of a face set</p><h1>{escape(result.name)}</h1>'
        f"<p>{what} · judged by <b>{by}</b> · {datetime.date.today()} · idgen {__version__}</p></header>"
    )


def _cards(result: Evaluation) -> str:
    figures = result.main.result
    cards = [
        ("EER", percent(figures.eer), "equal error rate"),
        (f"TAR at FMR {percent(FMR)}", percent(figures.tar[AT]), "pairs of one person recognised"),
    ]
    for folds in list(result.folds.values())[:1]:
        cards.append(("10-fold accuracy", percent(folds.accuracy), f"± {100 * folds.deviation:.2f}"))
    if result.fidelity is not None and result.fidelity.rate is not None:
        cards.append(
            (
                "Fidelity",
                percent(result.fidelity.rate),
                "agree with own pictures" if result.fidelity.against == OWN_PICTURES else "match the wanted person",
            )
        )
    if (apart := result.separability) is not None:
        cards.append(("Unique people", percent(apart.unique_share), f"of {apart.people:,}"))
    if result.diversity is not None and result.diversity.yaw is not None:
        cards.append(("Yaw spread", f"{result.diversity.yaw:.0f}°", "within one person"))
    if result.searches:
        leaks = any(search.leaks for search in result.searches)
        cards.append(("Leakage", "found" if leaks else "none", "against the training people"))
    boxes = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd><p>{escape(c)}</p></div>" for a, b, c in cards)
    return f'<dl class="cards">{boxes}</dl>'


def _summary(result: Evaluation) -> str:
    return f"<section><h2>In plain words</h2>{words(result.summary)}</section>"


def _recognition(found: list[Comparisons], result: Evaluation) -> str:
    main, figures = found[0], [one.result for one in found]
    marked = [("0.01", "FMR 1%"), ("0.001", "0.1%")]
    marks = [(main.result.thresholds[rate], text) for rate, text in marked if main.result.certain[rate]]
    series = [("different people", "impostor", main.impostor), ("one person", "genuine", main.genuine)]
    hills = charts.histogram(series, marks, f"cosine by {main.by}")
    curves, named = [], []
    for kind, one in zip(("genuine", "second"), found, strict=False):
        curves.append((one.space or one.by, kind, *det_curve(one.genuine, one.impostor)[1:]))
        named.append((kind, f"{one.by}: {one.space}" if one.space else one.by))
    det = charts.det(curves, FEWEST_FALSE_MATCHES / len(main.impostor))

    def at(rate: str) -> list[str]:
        known = [(f"{one.thresholds[rate]:.3f}", percent(one.fnmr[rate]), percent(one.tar[rate])) for one in figures]
        return [
            cell for one, cells in zip(figures, known, strict=True) for cell in (cells if one.certain[rate] else "–––")
        ]

    who = [escape(one.by) for one in found]
    head = heads(["", *who], 3) + heads(["lowest FNMR with FMR ≤ 1/n", *("threshold", "FNMR", "TAR") * len(found)])
    plain = [
        ["EER", *(percent(one.eer) for one in figures)],
        ["AUC", *(f"{one.auc:.5f}" for one in figures)],
        ["d′", *(f"{one.d_prime:.3f}" for one in figures)],
        ["FDR = d′²/2", *(f"{one.fdr:.3f}" for one in figures)],
        ["one person", *(f"{one.genuine_mean:.3f} ± {one.genuine_std:.3f}" for one in figures)],
        ["different people", *(f"{one.impostor_mean:.3f} ± {one.impostor_std:.3f}" for one in figures)],
        ["pairs of one person", *(f"{one.genuine_pairs:,}" for one in figures)],
        ["pairs of different people", *(f"{one.impostor_pairs:,}" for one in figures)],
    ]
    for name, folds in result.folds.items():
        accuracy = f"{100 * folds.accuracy:.2f} ± {100 * folds.deviation:.2f} %"
        plain.append([f"10-fold accuracy, {escape(name)}", accuracy])
    return section(
        "Recognition",
        "The further apart the two hills, the better a recogniser can tell these people apart.",
        two(
            f"<figure>{hills}{legend([('impostor', 'different people'), ('genuine', 'one person')])}</figure>",
            f"<figure>{det}{legend(named)}</figure>",
        ),
        two(
            table(head, ([f"<b>FMR{round(1 / rate)}</b>", *at(f"{rate:g}")] for rate in RATES)),
            table(heads(["", *who]), plain),
            kind="two tables",
        ),
    )


def _costs(result: Evaluation) -> str:
    if not result.costs:
        return ""
    others = {one.by: one.result for one in (result.main, *result.others)}
    rows = []
    for cost in result.costs:
        times = (cost.detection, cost.alignment, cost.embedding, cost.total, cost.slow)
        sizes = [f"{cost.dim:,} · {cost.vector:,} B", _known(cost.weights, lambda size: f"{size / 1e6:.2f} MB")]
        figures = others[cost.by]
        shown = [_known(value, "{:.2f}".format) for value in times]
        rows.append([escape(cost.by), *shown, *sizes, percent(figures.eer), percent(figures.tar[AT])])
    head = ["", "detection", "alignment", "embedding", "together", "95th percentile", "vector", "network"]
    lead = (
        f"Milliseconds for one picture on one thread of {escape(processor())}, the median of {TIMED} at most; half and "
        "8 bits are by ONNX Runtime's own tools, 8 bits with ranges from faces of this set."
    )
    return section("What one picture costs", lead, table(heads([*head, "EER", f"TAR at {percent(FMR)}"]), rows))


def _worst(main: Comparisons, set_: Set) -> str:
    rows = ""
    alike = {"One person, least alike": main.worst_genuine, "Different people, most alike": main.worst_impostor}
    for title, pairs in alike.items():
        cells = ""
        for found in pairs:
            both = found.first, found.second
            names = " / ".join(dict.fromkeys(escape(str(set_.source.labels[row])) for row in both))
            cells += pair("".join(picture(set_.source, row) for row in both), f"<b>{found.cosine:.2f}</b> {names}")
        rows += f'<h3>{title}</h3><div class="pairs">{cells}</div>'
    lead = "The pairs that cost the most, with their cosine. A wrong label or a doubled person shows here first."
    return section("Worst pairs", lead, rows)


def _sheet(result: Evaluation, set_: Set) -> str:
    source, fidelity = set_.source, result.fidelity
    people = np.unique(source.labels)
    chosen = people[np.unique(np.linspace(0, len(people) - 1, _SHEET_PEOPLE).round().astype(int))]
    rows = ""
    for person in chosen:
        cells = ""
        for row in np.flatnonzero(source.labels == person)[:_SHEET_PICTURES]:
            mark = ""
            if fidelity is not None and fidelity.matches is not None:
                good = bool(fidelity.matches[row])
                mark = yes_no(good, f"{'✓' if good else '✗'} {fidelity.cosines[row]:.2f}")
            cells += f'<div class="shot">{picture(source, int(row))}{mark}</div>'
        rows += f'<div class="person"><h4>{escape(str(person))}</h4><div class="shots">{cells}</div></div>'
    lead = f"{len(chosen)} of {len(people):,} people, evenly spaced through the set, not picked."
    if fidelity is not None and fidelity.matches is not None:
        lead += " Under each: whether the judge takes it for the wanted person (✓ or ✗), and its cosine."
    return section("Contact sheet", lead, rows)


def _fidelity(result: Evaluation) -> str:
    fidelity = result.fidelity
    if fidelity is None:
        return ""
    series = [("pictures", "genuine", fidelity.cosines)]
    marks = [] if fidelity.threshold is None else [(fidelity.threshold, "match from here")]
    drawn = charts.histogram(series, marks, "the judge's cosine to the wanted person")
    real = "not calibrated" if fidelity.genuine_rate is None else percent(fidelity.genuine_rate)
    rows = [
        ["fidelity = template-inversion success rate", _known(fidelity.rate, percent)],
        ["the same of real pictures of one person", real],
        ["judge's mean cosine to the wanted person", f"{fidelity.mean:.3f}"],
        [f"threshold (FMR {_known(fidelity.fmr, percent)})", _known(fidelity.threshold, "{:.3f}".format)],
        ["what was compared", escape(pictures(fidelity.of))],
        ["what the judge compared them with", escape(fidelity.against)],
        [
            "what the judge was measured on",
            "nothing of that kind" if fidelity.domain is None else escape(pictures(fidelity.domain)),
        ],
        ["encoder's mean cosine to the wanted vector", f"{fidelity.encoder_mean:.3f}"],
    ]
    lead = (
        "Is it the person who was asked for? The judge had no part in making the pictures. The same share has another "
        "name: how often somebody who has only a face vector gets a picture that a recogniser takes for its owner."
    )
    return section("Fidelity", lead, two(f"<figure>{drawn}</figure>", table("", rows)))


def _leakage(result: Evaluation, set_: Set | None, training: Set | None) -> str:
    if not result.searches:
        return ""
    rows = []
    for search in result.searches:
        verdict = "copies" if search.copies else "more than chance" if search.leaks else "as by chance"
        kind, alarms = escape(search.kind.replace("-", " ")), f"<b>{len(search.alarms):,}</b>"
        cells = [kind, f"{search.probes:,}", f"{search.threshold:.3f}", alarms, f"{search.expected:.1f}"]
        cells += [f"{search.plausible:,}", f"{search.nearest.max():.3f}", yes_no(not search.leaks, verdict)]
        rows.append(cells)
    head = ["search", "looked up", "threshold", "alarms", "by chance", "plausible up to", "nearest of all", ""]
    lead = (
        f"Every picture against {escape(result.training)}. Even strangers find a look-alike among many people, so the "
        f"threshold is the cosine that {one_in(ALARM_RATE)} training pictures reaches with "
        "<em>somebody else</em>: alarms beyond chance are people who should not be here."
    )
    return section("Leakage", lead, table(heads(head), rows), _neighbours(result.searches, set_, training))


def _neighbours(searches: list[Search], set_: Set | None, training: Set | None) -> str:
    search = next((search for search in searches if search.kind == "sample-to-sample"), None)
    if search is None or set_ is None or training is None or not (set_.source.open and training.source.open):
        return ""
    cells = ""
    for row in np.argsort(-search.nearest, kind="stable")[:_SHOWN_ALARMS].tolist():
        match = int(search.matched[row])
        word = yes_no(False, "alarm") if search.nearest[row] >= search.threshold else ""
        names = f"{escape(str(set_.source.labels[row]))} | {escape(str(training.source.labels[match]))}"
        pictures = picture(set_.source, row) + picture(training.source, match)
        cells += pair(pictures, f"<b>{search.nearest[row]:.2f}</b> {word} {names}")
    return f'<h3>Nearest neighbours: this set | training</h3><div class="pairs">{cells}</div>'


def _variety(result: Evaluation) -> str:
    spread, apart = result.diversity, result.separability
    rows = []
    if spread is not None:
        rows.append(["1 − mean cosine of one person's pictures", f"{spread.distance:.3f}"])
        rows.append(["standard deviation of those cosines", f"{spread.spread:.3f}"])
        if spread.yaw is not None and spread.pitch is not None:
            rows.append(["yaw within one person, standard deviation", f"{spread.yaw:.1f}°"])
            rows.append(["pitch (rough)", f"{spread.pitch:.1f}°"])
        if spread.no_face is not None:
            rows.append([f"no face found, of {spread.looked_at:,} looked at", percent(spread.no_face)])
    if apart is not None:
        unique = f"people unique at {apart.threshold:.3f} <small>({escape(result.separability_by)})</small>"
        rows.append([unique, f"{apart.unique:,} of {apart.people:,}"])
        nearest = f"{apart.nearest_mean:.3f}, {apart.nearest_max:.3f}"
        rows.append(["cosine to the nearest other person: mean, highest", nearest])
    if not rows:
        return ""
    tables = table("", rows)
    if result.distances:
        lines = [
            [f"<code>{escape(name)}</code>", f"{value:,.0f}" if name.startswith("pictures") else f"{value:.4g}"]
            for name, value in result.distances.items()
            if not name.endswith("_std")
        ]
        tables += table(heads([f"against {escape(result.compared_with)}", ""]), lines)
    lead = (
        "How different one person's pictures are, how far people are from each other, and how far the whole set is "
        "from real pictures in the recogniser's features."
    )
    return section("Variety", lead, two(tables, kind="two tables"))


def _attributes(result: Evaluation) -> str:
    if not result.attributes:
        return ""
    rows = []
    for name, groups in result.attributes.items():
        worst = max((group.fnmr for group in groups if group.fnmr is not None), default=None)
        for title, group in zip((f"<b>{escape(name)}</b>", *[""] * len(groups)), groups, strict=False):
            fnmr, fmr = _known(group.fnmr, percent), _known(group.fmr, lambda share: f"{100 * share:.3f} %")
            if group.fnmr is not None and group.fnmr == worst:
                fnmr = f"<b>{fnmr}</b>"
            cells = [title, escape(group.value), f"{group.pictures:,}", f"{group.people:,}"]
            cells += [_known(group.genuine_mean, "{:.3f}".format), fnmr, fmr, _known(group.fidelity, percent)]
            rows.append(cells)
    head = ["attribute", "value", "pictures", "people", "mean cosine, one person", "FNMR", "FMR", "fidelity"]
    lead = (
        "Pictures with one value are compared among themselves, at the whole set's threshold for FMR "
        f"{percent(FMR)}. Read across: a high FNMR means recognised less, a high FMR means confused more. The highest "
        "FNMR of each attribute is bold."
    )
    return section("By attribute", lead, table(heads(head), rows))


def _known(value: Value | None, form: Callable[[Value], str]) -> str:
    return "–" if value is None else form(value)


def _method(result: Evaluation) -> str:
    said = [
        *map(escape, result.notes),
        "A comparison matches at or above its threshold. FMR: share of pairs of different people that match. FNMR: "
        "share of pairs of one person that do not. FMR100 is the lowest FNMR at any threshold with FMR ≤ 1 %, never "
        f"the nearest point. A dash: fewer than {FEWEST_FALSE_MATCHES} false matches stand behind that threshold, so "
        "it would be chance.",
        "FD, KID, precision and recall are in a recogniser's features and carry its name: they cannot be compared with "
        "figures from Inception, nor between recognisers, nor between sets of different size.",
        f"Everything after embedding took {result.seconds:.1f} s.",
    ]
    lines = "".join(f"<li>{text}</li>" for text in said)
    return f'<section><h2>How it was measured</h2><ul class="notes">{lines}</ul></section>'
