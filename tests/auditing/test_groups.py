"""Rates by group: a group that is worse is found, with nobody else accused."""

import numpy as np
import pytest
from planted import audited, crowd, run, value

from idgen.auditing.groups import FMR, FNMR, crossed, exchanged, gap, rates_by_group
from idgen.scoring import verification
from idgen.scoring.intervals import Errors

PEOPLE = 120
HALF = np.repeat(np.arange(PEOPLE) % 2, 4)
GROUPS = np.where(HALF == 0, "a", "b")


def test_a_group_that_is_recognised_less_is_found_and_a_fair_set_is_not_accused():
    for noise, warned in ((0.9, 0), (np.where(np.arange(PEOPLE) % 2, 1.3, 0.7), 1)):
        vectors, people = crowd(PEOPLE, 4, noise=noise)
        said = {"glasses.self": GROUPS, "light.annotated": np.random.default_rng(0).permutation(GROUPS)}
        section, warnings = run("groups", audited(vectors, labels=people, said=said))
        assert len([text for text in warnings if "glasses" in text]) == warned, warnings
        assert not [text for text in warnings if "light" in text]
    text = warnings[0]
    assert "FNMR depends on glasses (as the people said of themselves)" in text and "b has" in text
    rate = value(section, FNMR, "glasses.self = b")
    genuine, _ = verification.pair_scores(vectors[HALF == 1], people[HALF == 1])
    threshold = value(section, "threshold").value
    assert rate.value == pytest.approx(float((genuine < threshold).mean()), abs=1e-9)
    assert rate.low < rate.value < rate.high and rate.count == len(genuine)
    assert value(section, FMR, "glasses.self × light.annotated = a, b").count > 0, "intersections of two"


def test_too_few_people_get_a_count_and_no_rate():
    vectors, people = crowd(PEOPLE, 4)
    few = np.where(people < 20, "rare", "others")
    section, warnings = run("groups", audited(vectors, labels=people, said={"hat.set": few}))
    assert value(section, FNMR, "hat.set = rare").value is None and not warnings
    assert "too few people" in "".join(section.html)


def test_what_a_network_reads_makes_no_groups():
    vectors, people = crowd(PEOPLE, 2)
    section, _ = run("groups", audited(vectors, labels=people, said={"age.predicted": GROUPS[::2]}))
    assert not [f for f in section.figures if f.group]
    assert any("No group rates" in text for _, text in section.findings)


def test_one_picture_a_person_and_an_empty_group():
    vectors, people = crowd(PEOPLE, 1)
    section, warnings = run("groups", audited(vectors, labels=people, said={"hat.set": GROUPS[::4]}))
    assert value(section, FNMR).value is None and value(section, FMR).value is not None and not warnings
    errors = Errors.find(vectors, people, 0.5)
    assert gap(errors, np.full(PEOPLE, ""), FMR) is None
    assert list(crossed(np.array(["a", ""]), np.array(["b", "c"]))) == ["a, b", ""]


def test_people_exchange_their_groups_with_each_other():
    people = np.repeat(np.arange(40), np.arange(40) % 3 + 1)
    words = np.array([f"g{p}" for p in people])
    mixed = exchanged(people, words, np.random.default_rng(0))
    assert all(len(set(mixed[people == p])) == 1 for p in range(40))
    assert len(set(mixed)) == 40 and (mixed != words).mean() > 0.9
    rates = rates_by_group(Errors.find(*crowd(40, 2), 0.5), np.repeat(["a", "b"], 40))
    assert set(rates) == {"a", "b"}
