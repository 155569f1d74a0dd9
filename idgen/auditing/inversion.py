"""Template inversion, as the attack it is: who has somebody's vector gets a picture that passes for them.

The five settings of Otroshi Shahreza and Marcel (NeurIPS 2023). The attacker's network, through which a picture is
made, is the encoder that conditions the generator; a template of another recogniser is first carried over to it by a
linear map, learned on other people. F_db is whose template was stolen, F_tgt who is deceived:

1. F_db and F_tgt are the encoder; 2. F_db is, and F_tgt is another; 3. F_db is another, and F_tgt is that one;
4. F_db is another, and F_tgt is the encoder; 5. all three are different.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from idgen.auditing.looking import Looked
from idgen.auditing.section import Audited, Section
from idgen.evaluation.attributes import some_people
from idgen.evaluation.page import heads, table
from idgen.faces.encoder import FaceEncoder
from idgen.ground.identity import Identities, centres
from idgen.ground.words import one_in, percent
from idgen.scoring import meaning
from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import calibrations_of
from idgen.scoring.intervals import Rate, fnmr_rate
from idgen.scoring.verification import pair_scores, threshold_at_fmr

if TYPE_CHECKING:
    from idgen.model import Model

SENTENCE = "sentence"
_MEASURED = 2_000  # pictures
_LEARNED = 300  # people whom the map between two recognisers is learned on
Painter = Callable[[Tensor], list[Any]]


def setting(database: str, target: str, own: str) -> int:
    """The number of the attack: whose template, whom it deceives, and the attacker's own network."""
    if database == own:
        return 1 if target == own else 2
    return 3 if target == database else 4 if target == own else 5


@dataclass(frozen=True)
class Attack:
    """What reconstructions do to one recogniser.

    Args:
        number: of the setting.
        database, target: spaces of the recognisers.
        missed_same: people whose reconstruction does not pass for the very picture that the template is of (type I).
        missed_other: for another picture of theirs (type II), which is what matters.
        missed_genuine: people whose own two pictures do not match, at the same threshold.
    """

    number: int
    database: str
    target: str
    missed_same: Rate
    missed_other: Rate
    missed_genuine: Rate


def attacks(
    pictures: Sequence[tuple[Any, Any]],
    learned: Sequence[tuple[Any, Any]],
    recognisers: dict[str, FaceEncoder],
    own: str,
    thresholds: dict[str, float],
    paint: Painter,
    embed: Callable[[list[Any], FaceEncoder], Tensor],
) -> list[Attack]:
    """All attacks on some people.

    Args:
        pictures: two aligned pictures of each person who is attacked.
        learned: two of each of other people, on whom maps are learned.
        recognisers: by space; the attacker's among them.
        own: the space of the attacker's.
        thresholds: by space.
        paint: vectors (N, D) of the attacker's space to N pictures.
        embed: pictures to vectors (N, D), NaN where no face is seen, which counts as a failure of the attack.
    """
    first, second = ([pair[place] for pair in pictures] for place in (0, 1))
    real = {name: (one.encode(first), one.encode(second)) for name, one in recognisers.items()}
    out = []
    for database in recognisers:
        templates = real[database][0]
        if database != own:
            flat, who = [one for pair in learned for one in pair], np.repeat(np.arange(len(learned)), 2)
            known = [centres(recognisers[name].encode(flat), who) for name in (database, own)]
            templates = Bridge.fit(known[0], known[1], database, own)(templates)
        made = paint(templates)
        for target, recogniser in recognisers.items():
            seen, at = embed(made, recogniser), thresholds[target]
            passed = [((seen * each).sum(1) >= at).numpy() for each in real[target]]
            genuine = ((real[target][0] * real[target][1]).sum(1) >= at).numpy()
            rates = [fnmr_rate(~hit, np.ones(len(hit))) for hit in (*passed, genuine)]
            out.append(Attack(setting(database, target, own), database, target, *rates))
    return out


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "inversion",
        "What does a stolen vector give away?",
        "A template-inversion attack on real people: the generator pictures them from one vector, and it "
        "is counted how "
        "often that passes for another picture of them (type II), and for the very picture (type I). "
        "Attack 1: the stolen "
        "vector and the deceived recogniser are both the generator's encoder. 2: another recogniser is "
        "deceived. 3: the "
        "vector is of another recogniser, which is deceived. 4: of another, the encoder is deceived. 5: "
        "of another, a third "
        "one is deceived.",
    )
    model = audited.model
    if model is None or not audited.paint or not model.has("encoder"):
        out.say(
            "note", "Not measured: it has to make pictures. Say of how many people, --paint 100, and by which --model."
        )
        return out
    victims = audited.looked if audited.against is None else audited.against
    if victims.source.open is None:
        out.say("note", "Not measured: the people have vectors, but no pictures.")
        return out
    labels = victims.source.labels
    order = np.argsort(labels, kind="stable")
    groups = [g for g in np.split(order, np.flatnonzero(labels[order][1:] != labels[order][:-1]) + 1) if len(g) > 1]
    rng = np.random.default_rng(audited.seed)
    groups = [groups[place] for place in rng.permutation(len(groups))[: audited.paint + _LEARNED]]
    count = min(audited.paint, len(groups) // 2)
    open_ = victims.source.open
    pairs = [(open_(int(group[0])), open_(int(group[1]))) for group in groups]
    recognisers, thresholds = _recognisers(audited, victims, model)
    if count < 3 or any(one.alignment != model.encoder.alignment for one in recognisers.values()):
        out.say(
            "note", "Not measured: six people with two pictures, and recognisers that see the same crops, are needed."
        )
        return out
    own = model.encoder.space
    found = attacks(
        pairs[:count],
        pairs[count:],
        recognisers,
        own,
        thresholds,
        painter(model, audited.seed, audited.progress),
        lambda made, one: model.encoder.embed_by(made, [one], model.pipeline.aligned)[0],
    )
    _said(audited, found, own, out)
    return out


def painter(model: Model, seed: int, progress: bool) -> Painter:
    """Pictures by a model's generator, one a vector."""

    def paint(vectors: Tensor) -> list[Any]:
        names = [f"target {row}" for row in range(len(vectors))]
        people = Identities(vectors, model.pipeline.config.space, ["a stolen vector"] * len(names), names)
        made = model.pipeline.iterate(people, 1, seed=seed)
        return [item.image for item in tqdm(made, "inverting", len(names), disable=not progress)]

    return paint


def _recognisers(audited: Audited, victims: Looked, model: Model) -> tuple[dict[str, FaceEncoder], dict[str, float]]:
    """By space: those of the audit and the model's encoder; and the thresholds of each."""
    found = {str(seen.space): seen.recogniser for seen in victims.by if seen.recogniser is not None}
    thresholds = {str(seen.space): audited.threshold(seen).value for seen in audited.looked.by}
    encoder = model.encoder
    if encoder.space not in found:
        found[encoder.space] = encoder
        known = meaning(calibrations_of(encoder), audited.looked.source.domain, "image-image", audited.fmr)
        thresholds[encoder.space] = _measured(audited, encoder) if known is None else known.threshold
    return {name: found[name] for name in found if name in thresholds}, thresholds


def _measured(audited: Audited, encoder: FaceEncoder) -> float:
    """A threshold on pictures of this set, or of the victims', whichever has pictures."""
    looked = audited.against if audited.looked.source.open is None else audited.looked
    assert looked is not None and looked.source.open is not None
    labels, open_ = looked.source.labels, looked.source.open
    rows = some_people(labels, np.arange(len(labels)), _MEASURED, audited.seed)
    parts = np.array_split(rows, len(rows) // 64 + 1)
    vectors = torch.cat([encoder.encode([open_(int(row)) for row in part]) for part in parts])
    return threshold_at_fmr(pair_scores(vectors, labels[rows])[1], audited.fmr)


def _said(audited: Audited, found: list[Attack], own: str, out: Section) -> None:
    rows = []
    for one in found:
        named = {
            "by": one.target,
            "group": f"attack {one.number}, vectors of {one.database}",
            "count": one.missed_other.comparisons,
        }
        for name, rate in (("type II", one.missed_other), ("type I", one.missed_same), ("genuine", one.missed_genuine)):
            low, high = (None, None) if rate.low is None or rate.high is None else (1 - rate.high, 1 - rate.low)
            out.add(f"success, {name}", None if rate.value is None else 1 - rate.value, low, high, **named)
        cells = [_share(one.missed_other), _share(one.missed_same), _share(one.missed_genuine)]
        rows.append([str(one.number), escape(one.database), escape(one.target), *cells])
        success, strangers = _success(one.missed_other), audited.fmr
        least = None if one.missed_other.high is None else 1 - one.missed_other.high
        succeeded = least is not None and least > 10 * strangers
        if one.number in (1, 2) or succeeded:
            out.say(
                "bad" if succeeded else "good",
                f"Attack {one.number}: from a vector of {one.database}, {percent(success)} of the "
                "pictures pass for their "
                f"owner before {one.target} ({one.missed_other.comparisons} people), at a rate of "
                f"{one_in(strangers)} for "
                f"strangers; of the owners' own pictures {percent(_success(one.missed_genuine))} do.",
            )
    head = heads(["attack", "stolen vector of", "deceived", "type II", "type I", "own pictures"])
    out.html.append(table(head, rows))
    out.details["matrix"] = {f"{one.database} → {one.target}": _success(one.missed_other) for one in found}
    worst = max(found, key=lambda one: (one.database == own, one.target != own, _success(one.missed_other)))
    # It goes into cards, so it names no set.
    out.details[SENTENCE] = (
        f"Whoever has a person's vector of `{worst.database}` gets a picture by this model that passes for them before "
        f"`{worst.target}` in {percent(_success(worst.missed_other))} of the cases (type II, "
        f"{worst.missed_other.comparisons} people, {one_in(audited.fmr)} for strangers): keep vectors as "
        "you keep photos."
    )


def _success(missed: Rate) -> float:
    return 1 - missed.errors / missed.comparisons


def _share(missed: Rate) -> str:
    if missed.low is None or missed.high is None:
        return f"{missed.comparisons - missed.errors} of {missed.comparisons}"
    return f"{percent(_success(missed))} ({percent(1 - missed.high)} to {percent(1 - missed.low)})"
