"""Attributes: shares and gaps by counting, a planted gap, and predictions that do not count."""

import numpy as np
import pytest
from planted import audited, crowd, run, value

from idgen.auditing.attributes import chance_distance, coded, distance, spread
from idgen.auditing.labels import Label, told
from idgen.auditing.looking import Looked
from idgen.sets import Source

PEOPLE = np.repeat(np.arange(80), 3)


def test_shares_entropy_and_distance_are_counts():
    codes = np.array([0, 0, 0, 1, -1, 2, 2, -1])
    found = spread(codes, ["a", "b", "c", "d"])
    shares = np.array([3, 1, 2, 0]) / 6
    assert found.shares == pytest.approx(shares, abs=1e-9)
    assert found.entropy == pytest.approx(-sum(p * np.log(p) for p in shares[:3]) / np.log(4), abs=1e-9)
    assert spread(np.zeros(5, int), ["one"]).entropy == 0 == spread(np.full(3, -1), ["a", "b"]).shares.sum()
    assert distance(shares, [0, 0, 0, 1]) == pytest.approx(1, abs=1e-9)
    assert distance(shares, shares) == 0


def test_numbers_are_cut_alike_in_both_sets():
    one, other = (Label("yaw", "set", np.linspace(-60, end, 500)) for end in (60, 0))
    names, a, b = coded(one, other)
    assert len(names) == 6 and (np.diff(a) >= 0).all() and b.max() <= a.max()
    assert (a == coded(one, other)[1]).all() and set(a) == set(range(6))
    holes = Label("yaw", "set", np.where(np.arange(500) % 2, np.nan, one.values))
    assert (coded(holes)[1][1::2] == -1).all()
    names, a, _ = coded(Label("hat", "self", np.array(["yes", "", "no"])))
    assert names == ["no", "yes"] and a.tolist() == [1, -1, 0]


def sets(glasses, other, name="glasses.set"):
    vectors, _ = crowd(80, 3)
    origin = name.rpartition(".")[2]
    against = Looked(Source("real", PEOPLE.astype(str), PEOPLE.astype(str)), [])
    return audited(
        vectors,
        labels=PEOPLE,
        said={name: np.where(glasses, "yes", "no")},
        against=against,
        against_labels={name: Label("glasses", origin, np.where(other, "yes", "no"))},
    )


def test_a_gap_is_found_and_chance_is_not():
    rng = np.random.default_rng(0)
    wears, other, all_ = (rng.random(80) < share for share in (0.3, 0.3, 0.9))
    _, warnings = run("attributes", sets(wears[PEOPLE], other[PEOPLE]))
    assert not warnings
    section, warnings = run("attributes", sets(all_[PEOPLE], other[PEOPLE]))
    assert len(warnings) == 1 and "glasses (as the set's maker says) is spread otherwise than in real" in warnings[0]
    gap = value(section, "gap", "glasses.set")
    assert gap.value == pytest.approx(abs(all_.mean() - other.mean()), abs=1e-9) and gap.value > gap.high
    # Pictures of one person are alike: as if they were strangers, chance would be taken for too small.
    alone = chance_distance(wears[PEOPLE] * 1, other[PEOPLE] * 1, np.arange(240), np.arange(240), 2)
    assert chance_distance(wears[PEOPLE] * 1, other[PEOPLE] * 1, PEOPLE, PEOPLE, 2) > 1.3 * alone


def test_origins_stay_apart_and_nothing_said_is_nothing_found():
    vectors, _ = crowd(80, 3)
    what = audited(vectors, labels=PEOPLE, said={"age.self": PEOPLE % 2 + 0.0, "age.predicted": PEOPLE % 3 + 0.0})
    section, _ = run("attributes", what)
    assert {f.group.split(" ")[0] for f in section.figures} == {"age.self", "age.predicted"}
    assert "as the people said of themselves" in "".join(section.html) and "as a network reads it" in "".join(
        section.html
    )
    section, warnings = run("attributes", audited(vectors, labels=PEOPLE))
    assert not warnings and "Not measured" in section.findings[0][1] and not section.figures
    what = audited(vectors, labels=PEOPLE)
    what.looked.source = Source("photos", what.people, what.people)
    what.looked.read = np.zeros((240, 2), np.float32)
    assert "not measured on such pictures" in run("attributes", what)[0].findings[0][1]


def test_a_column_of_a_set_may_say_its_origin():
    source = Source(
        "s", PEOPLE.astype(str), PEOPLE.astype(str), columns={"age.self": PEOPLE, "glasses": PEOPLE % 2 == 0}
    )
    assert set(told(source)) == {"age.self", "glasses.set"}
