"""1:N by loops over all probes; pictures under a wrong name."""

import numpy as np
import pytest
from planted import audited, crowd, run, value

from idgen.auditing.search import search, template


def test_ranks_and_rates_are_those_of_all_probes():
    vectors, people = crowd(40, 4, noise=1.5)
    templates = np.stack([template(vectors[4 * who : 4 * who + 2]) for who in range(20)])
    probes = np.flatnonzero((people < 20) & (np.arange(160) % 4 > 1))
    strangers = vectors[people >= 20]
    found = search(templates, vectors[probes], people[probes], strangers)
    for place, row in enumerate(probes):
        scores = [float(t @ vectors[row]) for t in templates]
        mine = scores.pop(people[row])
        assert found.rank[place] == 1 + sum(score >= mine for score in scores)
        assert found.own[place] == pytest.approx(mine, abs=1e-6)
    highest = (templates @ strangers.T).max(0)
    at = found.threshold(0.1)
    assert found.strangers == pytest.approx(highest, abs=1e-6)
    assert (found.strangers >= at).sum() == 8 and (
        found.strangers >= np.nextafter(np.float32(at), np.float32(0))
    ).sum() == 9
    missed = found.within(1, at)
    assert missed.errors == sum((found.rank > 1) | (found.own < at))
    assert found.threshold(0.001) is None, "80 strangers say nothing of 1 in 1,000"
    tied = search(np.ones((3, 1), np.float32), np.ones((1, 1), np.float32), np.array([1]), strangers[:0, :1])
    assert tied.rank[0] == 3 and tied.threshold(0.5) is None
    sums = vectors[0] + vectors[1]
    assert template(3 * vectors[:2]) == pytest.approx(sums / np.linalg.norm(sums), abs=1e-6)


def test_pictures_under_a_wrong_name_are_found_and_a_clean_set_is_not_accused():
    vectors, people = crowd(120, 6)
    section, warnings = run("search", audited(vectors, labels=people))
    several = value(section, "rank-1", "a template of several, 60 enrolled")
    single = value(section, "rank-1", "one picture, 60 enrolled")
    assert not warnings and several.value > single.value and several.low < several.value <= several.high
    assert value(section, "TPIR at FPIR 0.01", "one picture, 60 enrolled").value < single.value
    wrong = people.copy()
    wrong[5::6] = np.roll(wrong[5::6], 1)  # everybody's last picture is the next one's
    section, warnings = run("search", audited(vectors, labels=wrong))
    assert len(warnings) == 1 and "like another person than the one it is named after" in warnings[0]
    assert value(section, "pictures under another's name").value > 5


def test_one_picture_a_person_says_so():
    vectors, people = crowd(30, 1)
    section, warnings = run("search", audited(vectors, labels=people))
    assert "Not measured" in section.findings[0][1] and not warnings and not section.figures
