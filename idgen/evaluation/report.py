"""The evaluation as one page that needs nothing else: no script, no font, no request. Light and dark."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from idgen import files, provenance
from idgen.evaluation import charts
from idgen.evaluation.evaluate import FMR, Comparisons, Evaluation, Pair, Set, today
from idgen.evaluation.leakage import Search
from idgen.scoring import verification
from idgen.sets import Source
from idgen.version import __version__

_SIDE = 104  # of a picture, in pixels
_SHEET_PEOPLE, _SHEET_PICTURES = 8, 8
_SHOWN_ALARMS = 12
_MADE = ("model", "seed", "k")  # what our manifests say of every picture


def write_report(path: str | Path, result: Evaluation, set_: Set | None, training: Set | None = None) -> None:
    """Write the page.

    Args:
        path: where; complete or not at all.
        result: what was measured.
        set_: the set, for its pictures; None for pairs.
        training: the training set, for the pictures beside those that come close to it.
    """
    files.write(path, page(result, set_, training).encode())


def page(result: Evaluation, set_: Set | None, training: Set | None = None) -> str:
    """The page's HTML."""
    body = [_header(result), _cards(result), _summary(result)]
    body.append(_recognition(result))
    if set_ is not None and result.main is not None:
        body.append(_worst(result.main, set_))
        body.append(_sheet(result, set_))
    body += [
        _fidelity(result),
        _leakage(result, set_, training),
        _variety(result),
        _attributes(result),
        _method(result),
    ]
    return _PAGE.format(title=escape(f"{result.name}: evaluation"), style=_STYLE, body="\n".join(filter(None, body)))


# ------------------------------------------------------------------------------------------------------------ parts


def _header(result: Evaluation) -> str:
    what = f"{result.pictures:,} pictures"
    what += f" of {result.people:,} people" if result.people else " in pairs"
    by = result.main.space if result.main is not None and result.main.space else "unnamed vectors"
    return (
        f'<header><p class="over">Evaluation of a face set</p><h1>{escape(result.name)}</h1>'
        f"<p>{what} · judged by <b>{escape(by)}</b> · {today()} · idgen {__version__}</p></header>"
    )


def _cards(result: Evaluation) -> str:
    cards = []
    if result.main is not None:
        figures = result.main.result
        cards.append(("EER", _percent(figures.eer), "equal error rate"))
        cards.append(("TAR at FMR 0.1 %", _percent(figures.tar[f"{FMR:g}"]), "pairs of one person recognised"))
    for folds in list(result.folds.values())[:1]:
        cards.append(("10-fold accuracy", _percent(folds.accuracy), f"± {100 * folds.deviation:.2f}"))
    if result.fidelity is not None:
        cards.append(("Fidelity", _percent(result.fidelity.rate), "match the wanted person"))
    if result.separability is not None:
        cards.append(
            ("Unique people", _percent(result.separability.unique_share), f"of {result.separability.people:,}")
        )
    if result.diversity is not None and result.diversity.yaw is not None:
        cards.append(("Yaw spread", f"{result.diversity.yaw:.0f}°", "within one person"))
    if result.searches:
        leaks = any(search.leaks for search in result.searches)
        cards.append(("Leakage", "found" if leaks else "none", "against the training people"))
    boxes = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd><p>{escape(c)}</p></div>" for a, b, c in cards)
    return f'<dl class="cards">{boxes}</dl>'


_SIGNS = {"good": ("✓", "good"), "note": ("•", "to know"), "bad": ("!", "look here")}


def _summary(result: Evaluation) -> str:
    lines = "".join(
        f'<li class="{level}"><span title="{_SIGNS[level][1]}">{_SIGNS[level][0]}</span>{escape(text)}</li>'
        for level, text in result.summary
    )
    return f'<section><h2>In plain words</h2><ul class="words">{lines}</ul></section>'


def _recognition(result: Evaluation) -> str:
    main = result.main
    if main is None:
        return ""
    figures = main.result
    marks = [
        (figures.thresholds[rate], text)
        for rate, text in (("0.01", "FMR 1%"), ("0.001", "0.1%"))
        if figures.certain[rate]
    ]
    series = [("different people", "impostor", main.impostor), ("one person", "genuine", main.genuine)]
    drawn = charts.histogram(series, marks, f"cosine by {main.by}")
    curves, legend = [], []
    for kind, found in zip(("genuine", "second"), [main, *result.others], strict=False):
        _, false_match, misses = verification.det_curve(found.genuine, found.impostor)
        name = found.space or found.by
        curves.append((name, kind, false_match, misses))
        legend.append((kind, f"{found.by}: {name}" if found.space else found.by))
    det = charts.det(curves, 10 / len(main.impostor))
    rows = []
    for label, key in (("FMR10", "0.1"), ("FMR100", "0.01"), ("FMR1000", "0.001"), ("FMR10000", "0.0001")):
        cells = []
        for found in [main, *result.others]:
            good = found.result.certain[key]
            cells += [
                f"{found.result.thresholds[key]:.3f}" if good else "–",
                _percent(found.result.fnmr[key]) if good else "–",
                _percent(found.result.tar[key]) if good else "–",
            ]
        rows.append([f"<b>{label}</b>", *cells])
    others = [main, *result.others]
    top = "".join(f'<th colspan="3" class="group">{escape(found.by)}</th>' for found in others)
    head = f"<tr><th></th>{top}</tr><tr><th>lowest FNMR with FMR ≤ 1/n</th>"
    head += "<th>threshold</th><th>FNMR</th><th>TAR</th>" * len(others) + "</tr>"
    plain = [
        ["EER", *(_percent(x.result.eer) for x in others)],
        ["AUC", *(f"{x.result.auc:.5f}" for x in others)],
        ["d′", *(f"{x.result.d_prime:.3f}" for x in others)],
        ["FDR = d′²/2", *(f"{x.result.fdr:.3f}" for x in others)],
        ["one person", *(_mean(x.result.genuine_mean, x.result.genuine_std) for x in others)],
        ["different people", *(_mean(x.result.impostor_mean, x.result.impostor_std) for x in others)],
        ["pairs of one person", *(f"{x.result.genuine_pairs:,}" for x in others)],
        ["pairs of different people", *(f"{x.result.impostor_pairs:,}" for x in others)],
    ]
    names = "<tr><th></th>" + "".join(f"<th>{escape(x.by)}</th>" for x in others) + "</tr>"
    for name, folds in result.folds.items():
        plain.append(
            [f"10-fold accuracy, {escape(name)}", f"{100 * folds.accuracy:.2f} ± {100 * folds.deviation:.2f} %"]
        )
    return (
        "<section><h2>Recognition</h2><p>The further apart the two hills, the "
        "better a recogniser can tell these people apart.</p>"
        '<div class="two">'
        f"<figure>{drawn}{_legend([('impostor', 'different people'), ('genuine', 'one person')])}</figure>"
        f"<figure>{det}{_legend(legend)}</figure></div>"
        f'<div class="two tables">{_table(head, rows)}'
        f"{_table(names, plain)}</div></section>"
    )


def _worst(main: Comparisons, set_: Set) -> str:
    if set_.source.open is None:
        return ""

    def cell(pair: Pair) -> str:
        names = [escape(str(set_.source.labels[row])) for row in (pair.first, pair.second)]
        under = names[0] if names[0] == names[1] else f"{names[0]} / {names[1]}"
        pictures = "".join(_picture(set_.source, row) for row in (pair.first, pair.second))
        return f'<figure class="pair">{pictures}<figcaption><b>{pair.cosine:.2f}</b> {under}</figcaption></figure>'

    rows = ""
    for title, pairs in (
        ("One person, least alike", main.worst_genuine),
        ("Different people, most alike", main.worst_impostor),
    ):
        rows += f'<h3>{title}</h3><div class="pairs">{"".join(map(cell, pairs))}</div>'
    return (
        "<section><h2>Worst pairs</h2><p>The pairs that cost the most, with their cosine. A wrong label or a doubled "
        "person "
        f"shows here first.</p>{rows}</section>"
    )


def _sheet(result: Evaluation, set_: Set) -> str:
    source = set_.source
    if source.open is None:
        return ""
    people = np.unique(source.labels)
    chosen = people[np.unique(np.linspace(0, len(people) - 1, _SHEET_PEOPLE).round().astype(int))]
    rows = ""
    for person in chosen:
        cells = ""
        for row in np.flatnonzero(source.labels == person)[:_SHEET_PICTURES]:
            mark = ""
            if (fidelity := result.fidelity) is not None:
                good = bool(fidelity.matches[row])
                mark = (
                    f'<span class="{"yes" if good else "no"}">{"✓" if good else "✗"} {fidelity.cosines[row]:.2f}</span>'
                )
            cells += f'<div class="shot">{_picture(source, int(row))}{mark}</div>'
        rows += f'<div class="person"><h4>{escape(str(person))}</h4><div class="shots">{cells}</div></div>'
    says = (
        " Under each: whether the judge takes it for the wanted person (✓ or ✗), and its cosine."
        if result.fidelity is not None
        else ""
    )
    return (
        f"<section><h2>Contact sheet</h2><p>{len(chosen)} of {len(people):,} people, evenly spaced through the set, "
        f"not "
        f"picked.{says}</p>{rows}</section>"
    )


def _fidelity(result: Evaluation) -> str:
    fidelity = result.fidelity
    if fidelity is None:
        return ""
    drawn = charts.histogram(
        [("pictures", "genuine", fidelity.cosines)],
        [(fidelity.threshold, "match from here")],
        "the judge's cosine to the wanted person",
    )
    real = "not calibrated" if fidelity.genuine_rate is None else _percent(fidelity.genuine_rate)
    rows = [
        ["fidelity = template-inversion success rate", _percent(fidelity.rate)],
        ["the same of real pictures of one person", real],
        ["judge's mean cosine to the wanted person", f"{fidelity.mean:.3f}"],
        ["threshold (FMR 0.1 %)", f"{fidelity.threshold:.3f}"],
        ["encoder's mean cosine to the wanted vector", f"{fidelity.encoder_mean:.3f}"],
    ]
    return (
        "<section><h2>Fidelity</h2><p>Is it the person who was asked for? The judge had no part in making the "
        "pictures. The "
        "same share has another name: how often somebody who has only a face vector gets a picture that a recogniser "
        "takes "
        f'for its owner.</p><div class="two"><figure>{drawn}</figure>{_table("", rows)}</div></section>'
    )


def _leakage(result: Evaluation, set_: Set | None, training: Set | None) -> str:
    if not result.searches:
        return ""
    rows = [
        [
            escape(search.kind.replace("-", " ")),
            f"{search.probes:,}",
            f"{search.threshold:.3f}",
            f"<b>{len(search.alarms):,}</b>",
            f"{search.expected:.1f}",
            f"{search.plausible:,}",
            f"{search.nearest.max():.3f}",
            f'<span class="no">{"copies" if search.copies else "more than chance"}</span>'
            if search.leaks
            else '<span class="yes">as by chance</span>',
        ]
        for search in result.searches
    ]
    head = (
        "<tr><th>search</th><th>looked up</th><th>threshold</th><th>alarms</th><th>by chance</th>"
        "<th>plausible up to</th><th>nearest of all</th><th></th></tr>"
    )
    shown = ""
    if set_ is not None and training is not None and set_.source.open and training.source.open:
        shown = _neighbours(result.searches, set_, training)
    return (
        f"<section><h2>Leakage</h2><p>Every picture against {escape(result.training)}. Even strangers find a "
        f"look-alike among "
        "many people, so the threshold is the cosine that one in 1,000 training pictures reaches with <em>somebody "
        "else</em>: "
        f"alarms beyond chance are people who should not be here.</p>{_table(head, rows)}{shown}</section>"
    )


def _neighbours(searches: list[Search], set_: Set, training: Set) -> str:
    search = next((s for s in searches if s.kind == "sample-to-sample"), None)
    ours, theirs = set_.source, training.source
    if search is None or ours.open is None or theirs.open is None:
        return ""
    rows = np.argsort(-search.nearest, kind="stable")[:_SHOWN_ALARMS]
    cells = ""
    for row in rows:
        match = int(search.matched[row])
        alarm = search.nearest[row] >= search.threshold
        pictures = _picture(ours, int(row)) + _picture(theirs, match)
        word = '<span class="no">alarm</span>' if alarm else ""
        cells += (
            f'<figure class="pair">{pictures}<figcaption><b>{search.nearest[row]:.2f}</b> {word} '
            f"{escape(str(ours.labels[row]))} | {escape(str(theirs.labels[match]))}</figcaption></figure>"
        )
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
            rows.append([f"no face found, of {spread.looked_at:,} looked at", _percent(spread.no_face)])
    if apart is not None:
        rows.append(
            [
                f"people unique at {apart.threshold:.3f} <small>({escape(result.separability_by)})</small>",
                f"{apart.unique:,} of {apart.people:,}",
            ]
        )
        rows.append(
            ["cosine to the nearest other person: mean, highest", f"{apart.nearest_mean:.3f}, {apart.nearest_max:.3f}"]
        )
    tables = [_table("", rows)] if rows else []
    if result.distances:
        lines = []
        for name, value in result.distances.items():
            if not name.endswith("_std"):
                lines.append(
                    [f"<code>{escape(name)}</code>", f"{value:,.0f}" if name.startswith("pictures") else f"{value:.4g}"]
                )
        tables.append(_table(f"<tr><th>against {escape(result.compared_with)}</th><th></th></tr>", lines))
    if not tables:
        return ""
    return (
        "<section><h2>Variety</h2><p>How different one person's pictures are, how far people are from each other, "
        "and how far "
        f"the whole set is from real pictures in the recogniser's features.</p><div class=\"two "
        f'tables">{"".join(tables)}'
        "</div></section>"
    )


def _attributes(result: Evaluation) -> str:
    if not result.attributes:
        return ""
    head = (
        "<tr><th>attribute</th><th>value</th><th>pictures</th><th>people</th><th>mean cosine, one person</th>"
        "<th>FNMR</th><th>FMR</th><th>fidelity</th></tr>"
    )
    rows = []
    for name, groups in result.attributes.items():
        worst = max((group.fnmr for group in groups if group.fnmr is not None), default=None)
        for number, group in enumerate(groups):
            show = lambda value, form: "–" if value is None else form(value)  # noqa: E731
            miss = show(group.fnmr, _percent)
            rows.append(
                [
                    f"<b>{escape(name)}</b>" if number == 0 else "",
                    escape(group.value),
                    f"{group.pictures:,}",
                    f"{group.people:,}",
                    show(group.genuine_mean, "{:.3f}".format),
                    f"<b>{miss}</b>" if group.fnmr is not None and group.fnmr == worst else miss,
                    show(group.fmr, lambda value: f"{100 * value:.3f} %"),
                    show(group.fidelity, _percent),
                ]
            )
    return (
        "<section><h2>By attribute</h2><p>Pictures with one value are compared among themselves, at the whole set's "
        "threshold "
        "for FMR 0.1 %. Read across: a high FNMR means recognised less, a high FMR means confused more. The highest "
        "FNMR of "
        f"each attribute is bold.</p>{_table(head, rows)}</section>"
    )


def _method(result: Evaluation) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    return (
        f'<section><h2>How it was measured</h2><ul class="notes">{notes}'
        "<li>A comparison matches at or above its threshold. FMR: share of pairs of different people that match. "
        "FNMR: share "
        "of pairs of one person that do not. FMR100 is the lowest FNMR at any threshold with FMR ≤ 1 %, never the "
        "nearest "
        "point. A dash: fewer than 10 false matches stand behind that threshold, so it would be chance.</li>"
        "<li>FD, KID, precision and recall are in a recogniser's features and carry its name: they cannot be "
        "compared with "
        "figures from Inception, nor between recognisers, nor between sets of different size.</li>"
        f"<li>Everything after embedding took {result.seconds:.1f} s.</li></ul></section>"
    )


# ------------------------------------------------------------------------------------------------------------ pieces


def _picture(source: Source, row: int) -> str:
    from PIL import ImageOps

    assert source.open is not None
    image, made = ImageOps.fit(source.open(row).convert("RGB"), (_SIDE, _SIDE)), _made(source, row)
    if made is None:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=82)
        content = file.getvalue()
    else:
        content = provenance.encode(image, made, "WEBP", quality=82)
    data = base64.b64encode(content).decode()
    title = escape(str(source.names[row]))
    address = f"data:image/webp;base64,{data}"
    return f'<img src="{address}" width="{_SIDE}" height="{_SIDE}" alt="{title}" title="{title}">'


def _made(source: Source, row: int) -> dict[str, Any] | None:
    """How a picture was made, if its source says that a model did, as our datasets and manifests do; else None."""
    said = {name: source.columns[name][row].item() for name in _MADE if name in source.columns}
    kind = source.columns.get("digital_source_type")
    generated = len(said) == len(_MADE) if kind is None else kind[row] == provenance.SOURCE_TYPE
    return said if generated else None


def _table(head: str, rows: list[list[Any]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _legend(items: list[tuple[str, str]]) -> str:
    spans = "".join(f'<span><i class="{kind}"></i>{escape(text)}</span>' for kind, text in items)
    return f'<figcaption class="legend">{spans}</figcaption>'


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else f"{100 * share:.2g} %"


def _mean(mean: float, spread: float) -> str:
    return f"{mean:.3f} ± {spread:.3f}"


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""

_STYLE = """
:root{--page:#f7f8fa;--card:#fff;--ink:#1b1f24;--soft:#5d6673;--line:#e1e5ea;--a:#0f7b6c;--b:#d9622b;--c:#5b5bd6;
--good:#127a4b;--bad:#b3261e;--goodbg:#e5f4ec;--badbg:#fbe9e7;--notebg:#eef1f5}
@media (prefers-color-scheme:dark){:root{--page:#12151a;--card:#1b2027;--ink:#e8ebef;--soft:#9aa4b2;--line:#2e353f;
--a:#35c2ad;--b:#f08a52;--c:#9a9aff;--good:#5fd09a;--bad:#ff8a80;--goodbg:#173326;--badbg:#3d1f1d;--notebg:#242b34}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:36px 20px 60px}
header h1{font-size:32px;line-height:1.2;margin:2px 0 4px;overflow-wrap:anywhere}
header p{margin:0;color:var(--soft)}
.over{text-transform:uppercase;letter-spacing:.08em;font-size:12px}
h2{font-size:20px;margin:0 0 6px}h3{font-size:15px;margin:18px 0 8px}h4{font-size:13px;margin:0 0 4px;font-weight:600}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin-top:18px}
section>p{color:var(--soft);margin:0 0 14px;max-width:78ch}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:24px 0 0}
.cards div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.cards dt{color:var(--soft);font-size:13px}.cards dd{margin:2px 0 0;font-size:26px;font-weight:650;
letter-spacing:-.01em}
.cards p{margin:0;color:var(--soft);font-size:12.5px}
.words{list-style:none;margin:10px 0 0;padding:0;display:grid;gap:8px}
.words li{display:flex;gap:12px;padding:10px 14px;border-radius:8px;background:var(--notebg)}
.words li.good{background:var(--goodbg)}.words li.bad{background:var(--badbg)}
.words span{font-weight:700;width:1em;flex:none;text-align:center;color:var(--soft)}
.words .good span{color:var(--good)}.words .bad span{color:var(--bad)}
.two{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:24px;align-items:start}
@media (max-width:760px){.two{grid-template-columns:minmax(0,1fr)}}
.tables{margin-top:18px}figure{margin:0}svg{width:100%;height:auto;display:block}
.area{fill-opacity:.28;stroke-width:1.5}.area.genuine{fill:var(--a);stroke:var(--a)}.area.impostor{fill:var(--b);
stroke:var(--b)}
.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}.curve.genuine{stroke:var(--a)}.curve.second{stroke:var(--c);
stroke-dasharray:6 4}
.grid{stroke:var(--line)}.base{stroke:var(--soft)}.chance{stroke:var(--line);stroke-dasharray:3 4;stroke-width:1.5}
.mark{stroke:var(--ink);stroke-dasharray:4 3}svg text{fill:var(--soft);font-size:11.5px}
.marked{fill:var(--ink)!important}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);padding-left:44px}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px}
i.genuine{background:var(--a)}i.impostor{background:var(--b)}i.second{background:var(--c)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 8px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500}th:first-child,td:first-child{text-align:left;white-space:normal}
.group{text-align:center}
td small{color:var(--soft)}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(214px,1fr));gap:14px}
.pair img+img{margin-left:3px}.pair figcaption{font-size:12.5px;color:var(--soft);overflow-wrap:anywhere}
.pair figcaption b{color:var(--ink)}img{border-radius:6px;vertical-align:top;background:var(--notebg)}
.person{margin-top:14px}.shots{display:flex;flex-wrap:wrap;gap:8px}.shot{width:104px;font-size:12.5px}
.yes{color:var(--good)}.no{color:var(--bad);font-weight:600}
.notes{margin:6px 0 0;padding-left:18px;color:var(--soft);font-size:14px}.notes li{margin:4px 0}
code{font-size:12.5px}
@media print{body{background:#fff}section,.cards div{break-inside:avoid}}
"""
