"""Look-alikes and copies: planted doubles, shared people, pasted references and near-duplicates."""

import numpy as np
import pytest
from planted import audited, crowd, run, value

from idgen.auditing.lookalikes import components, copy_paste, near_duplicates, twins
from idgen.auditing.looking import Looked, Seen
from idgen.scoring import verification
from idgen.sets import Source

PEOPLE = np.repeat(np.arange(60), 4)


def pictures(number=240, seed=0):
    """Thumbnails with all frequencies."""
    return np.random.default_rng(seed).integers(0, 256, (number, 1024), np.uint8)


def two_recognisers(double=False):
    """Of people the last six of whom are others, under new names, if `double`."""
    one, _ = crowd(60, 4, seed=0, dim=48)
    other, _ = crowd(60, 4, seed=1, dim=48)
    if double:
        rng = np.random.default_rng(0)
        for vectors in (one, other):
            vectors[-24:] = vectors[:24] + rng.normal(0, 0.08, (24, 48))
    return [(v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in (one, other)]


def test_twins_are_chosen_by_one_and_judged_by_another():
    one, other = two_recognisers()
    found = twins(one, other, PEOPLE)
    centres = np.stack([one[who == PEOPLE].sum(0) for who in range(60)])
    products = verification.unit(centres) @ verification.unit(centres).T
    np.fill_diagonal(products, -1)
    first = np.argsort(-products.max(1), kind="stable")[:3]
    want = {tuple(sorted((int(who), int(products[who].argmax())))) for who in first}
    assert {tuple(pair) for pair in found.pairs.tolist()} == want
    between = [a @ b for i, j in want for a in other[i == PEOPLE] for b in other[j == PEOPLE]]
    own = [
        s
        for who in {w for pair in want for w in pair}
        for s in verification.pair_scores(other[who == PEOPLE], [0] * 4)[0]
    ]
    assert found.auc == pytest.approx(np.mean([g > b for g in own for b in between]), abs=1e-9)


def test_doubles_are_found_and_people_are_not_accused():
    section, warnings = run("lookalikes", audited(*two_recognisers(), labels=PEOPLE))
    assert not warnings and value(section, "AUC of any two", "chosen by recogniser 1").value > 0.95
    section, warnings = run("lookalikes", audited(*two_recognisers(True), labels=PEOPLE))
    assert len(warnings) == 2 and "tells their pictures apart" in warnings[0]
    few, _ = run("lookalikes", audited(crowd(5, 2)[0], labels=PEOPLE[:40:4] // 2))
    assert any("needs ten people" in text for _, text in few.findings)


def against(vectors, labels):
    names = np.array([f"{who}-{k}" for k, who in enumerate(labels)])
    return Looked(Source("train", labels.astype(str), names), [Seen("recogniser 1", "space 1", vectors)])


def test_people_of_another_set_are_found():
    ours, theirs = crowd(60, 4, seed=0)[0], crowd(60, 4, seed=5)[0]
    for other, found in ((theirs, 0), (np.concatenate([theirs[:200], ours[:40]]), 1)):
        what = audited(ours, labels=PEOPLE, against=against(other, PEOPLE + 1000))
        section, warnings = run("lookalikes", what)
        assert len([text for text in warnings if "People of train are in this set" in text]) == found, warnings
    assert value(section, "overlap copies", "sample-to-sample").value == 40


def test_a_pasted_reference_is_found():
    g, r = np.array([1.0, 0]), np.array([np.cos(0.3), np.sin(0.3)])
    others = np.stack([[np.cos(a), np.sin(a)] for a in (-0.5, 0.9)])
    want = np.mean([(0.5 - 0.3) / 0.8, (0.9 - 0.3) / 0.6])
    assert copy_paste(g, r, others) == (pytest.approx(want, abs=1e-9), True)
    assert copy_paste(r, r, others)[0] == pytest.approx(1, abs=1e-6)
    assert copy_paste(g, others[0], others[:1]) == (0.0, False)
    five = crowd(60, 5, seed=2)[0].reshape(60, 5, -1)
    real = five[:, :4].reshape(240, -1)
    for paste in (False, True):
        shown = (five[:, 0] if paste else five[:, 4]).repeat(4, 0)  # the first one again, or another one
        other = against(real, PEOPLE)
        what = audited(np.ascontiguousarray(shown), labels=PEOPLE, against=other)
        section, _ = run("lookalikes", what)
        pasted = [text for level, text in section.findings if level == "bad" and "copy-paste" in text]
        assert bool(pasted) == paste
    assert value(section, "copy-paste score").value == pytest.approx(1, abs=1e-3)


def test_near_duplicates_are_those_of_all_pairs():
    thumbnails = pictures()
    rng = np.random.default_rng(1)
    smooth = np.repeat(np.repeat(rng.integers(0, 256, (60, 4, 4)), 8, 1), 8, 2).reshape(60, 1024)
    thumbnails[:60] = np.clip(smooth + rng.normal(0, 5, (60, 1024)), 0, 255)
    thumbnails[60:70] = np.clip(thumbnails[:10] + rng.normal(0, 6, (10, 1024)), 0, 255)
    thumbnails[70] = thumbnails[200]
    thumbnails[80] = 7  # one grey
    values = thumbnails.astype(float) - thumbnails.mean(1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    want = np.argwhere(np.triu(values @ values.T >= 0.98, 1))
    found = near_duplicates(thumbnails)
    assert len(want) >= 11 and sorted(map(tuple, found.tolist())) == sorted(map(tuple, want.tolist()))
    groups = components(np.array([[0, 1], [1, 5], [3, 4]]), 9)
    assert [group.tolist() for group in groups] == [[0, 1, 5], [3, 4]]


def test_copies_within_and_across_people_are_two_findings():
    what = audited(*two_recognisers(), labels=PEOPLE)
    what.looked.thumbnails = pictures()
    section, warnings = run("lookalikes", what)
    assert not warnings and value(section, "near-duplicates", "one person").value == 0
    what.looked.thumbnails[1:4] = what.looked.thumbnails[0]
    what.looked.thumbnails[9] = what.looked.thumbnails[200]
    section, warnings = run("lookalikes", what)
    assert value(section, "near-duplicates", "one person").value == 3
    assert value(section, "near-duplicates", "different people").value == 1
    assert len(warnings) == 2 and "of one person, in 1 group" in warnings[0]
