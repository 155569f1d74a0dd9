import math

import numpy as np
import pytest
import torch
from tiny import ATTRIBUTES, labelled
from torch import Generator

from idgen.ground.attributes import Asking, Vocabulary, found_in, labels
from idgen.ground.errors import InputError

KNOWN = Vocabulary(ATTRIBUTES)


def drawn(wishes, count=2000, **how):
    asking = Asking(wishes, KNOWN, **how)
    generator = Generator().manual_seed(0)
    return torch.stack([asking.draw(generator) for _ in range(count)])


def column(rows, name):
    return rows[:, KNOWN.names.index(name)]


def test_fixed_values_are_numbers_inside_and_words_outside():
    (row,) = drawn({"yaw": "30", "glasses": True, "expression": "laugh"}, 1)
    assert KNOWN.words(row) == {"yaw": 30.0, "glasses": "yes", "expression": "laugh"}
    assert row.isnan().sum() == len(KNOWN) - 3


def test_ranges_distributions_and_shares_come_out_as_asked():
    rows = drawn({"yaw": {"45..60": 0.1, "-60..-45": 0.2}, "smile": [0.2, 0.4], "expression": ["laugh", "talk"]})
    yaw, smile, expression = (column(rows, name) for name in ("yaw", "smile", "expression"))
    assert float((yaw >= 45).float().mean()) == pytest.approx(0.1, abs=0.03)
    assert float((yaw <= -45).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(yaw.isnan().float().mean()) == pytest.approx(0.7, abs=0.04)
    assert 0.2 <= smile.min() < 0.22
    assert 0.38 < smile.max() <= 0.4
    assert float((expression == 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert set(expression.tolist()) == {0.0, 2.0}
    pitch = column(drawn({"pitch": {"normal": [5, 8]}}), "pitch")
    inside = np.random.default_rng(0).normal(5, 8, 200000)
    inside = inside[abs(inside) <= 25]
    assert float(pitch.mean()) == pytest.approx(inside.mean(), abs=0.6)
    assert float(pitch.std()) == pytest.approx(inside.std(), abs=0.6)
    assert pitch.abs().max() <= 25


def test_a_wish_changes_no_other_draw():
    one, other = drawn({"yaw": [-60, 60], "smile": [0, 1]}, 5), drawn({"yaw": 3, "smile": [0, 1]}, 5)
    assert torch.equal(column(one, "smile"), column(other, "smile"))


def test_as_in_a_set_draws_its_rows_and_wishes_go_before():
    like = torch.from_numpy(KNOWN.rows(labels(labelled(5, 4))))
    rows = drawn({"yaw": 7}, 50, like=like)
    without = [place for place, name in enumerate(KNOWN.names) if name != "yaw"]
    known = {tuple(row) for row in like[:, without].tolist()}
    assert all(tuple(row) in known for row in rows[:, without].tolist())
    assert set(column(rows, "yaw").tolist()) == {7.0}


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"smle": 1}, "There is no attribute 'smle': this model knows beard, envi"),
        ({"yaw": 200}, "yaw is a number from -60 to 60 degrees, got 200"),
        ({"yaw": "left"}, "yaw is a number from -60 to 60 degrees, got 'left'"),
        ({"yaw": True}, "yaw is a number"),
        ({"yaw": math.nan}, "yaw is a number"),
        ({"yaw": [1, 2, 3]}, r"two numbers here, such as \[-30, 30\]"),
        ({"smile": "yes"}, "smile is a number from 0 to 1, got 'yes'"),
        ({"glasses": "maybe"}, "glasses is no or yes, got 'maybe'"),
        ({"expression": {"laugh": 0.7, "talk": 0.5}}, "shares of expression sum to at most 1"),
        ({"expression": {"laugh": -0.1}}, "share of expression: laugh is a number from 0 to 1"),
        ({"expression": {"normal": [0, 1]}}, "expression has names, not numbers"),
        ({"yaw": {"normal": [0, -1]}}, "deviation above 0"),
        ({"smle": {"normal": [0, 1]}}, "There is no attribute 'smle'"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(wishes, why):
    with pytest.raises(InputError, match=why):
        Asking(wishes, KNOWN)


def test_what_is_the_persons_cannot_be_asked_of_a_picture():
    vocabulary = Vocabulary({"yaw": [-60, 60], "skin_tone": [0, 1]})
    with pytest.raises(InputError, match="skin_tone is the person's"):
        Asking({"skin_tone": 0.5}, vocabulary)
    assert vocabulary.askable == ["yaw"]


def test_a_sets_labels_are_found_and_read():
    columns = labelled(3, 2)
    known = found_in(labels(columns))
    assert known["glasses"] == ["no", "yes"]
    assert known["expression"] == sorted(set(columns["expression"]))
    assert known["smile"] == [0.0, 1.0]
    assert known["yaw"][1] == -known["yaw"][0] == math.ceil(abs(columns["yaw"]).max())
    rows = Vocabulary(known).rows(labels(columns))
    words = [Vocabulary(known).words(row) for row in torch.from_numpy(rows)]
    assert [one["expression"] for one in words] == columns["expression"].tolist()
    assert [one["glasses"] == "yes" for one in words] == columns["glasses"].tolist()


def test_the_labels_of_rendered_sets():
    units = '{"JawDrop": 0.4, "LeftUpperLidClosed": 1, "RightUpperLidClosed": 0.5}'
    columns = {
        "expression_name": np.array(["talk", "blink"]),
        "expression": np.array([units, "{}"]),
        "hair": np.array(["fedora", "bob01"]),
        "glasses": np.array([True, False]),
    }
    told = labels(columns)
    assert told["mouth_open"].tolist() == [0.4, 0.0]
    assert told["eyes_shut"].tolist() == [0.75, 0.0]
    assert told["expression"].tolist() == ["talk", "blink"]
    assert told["glasses"].tolist() == ["yes", "no"]
    assert told["hat"].tolist() == ["yes", "no"]
    rows = Vocabulary({"hair": ["bob01", "long01"]}).rows(told)
    assert np.isnan(rows[0])  # what a hat hides
    assert rows[1] == 0


def test_columns_of_another_kind_than_their_meaning_say_nothing():
    columns = {
        "age": np.array([31, 64]),  # years
        "gender": np.array(["female", "male"]),
        "yaw": np.array(["left", "right"]),
        "glasses": np.array([0, 1]),
        "hat": np.array([False, False]),
        "pitch": np.zeros(2),
        "smile": np.array([0.1, np.nan]),
        "expression_name": np.array(["a", "b"]),
    }
    told = labels(columns)
    assert set(told) == {"hat", "pitch", "smile"}
    assert set(found_in(told)) == {"smile"}  # what is always the same cannot be learned


def test_what_is_asked_is_told_apart_from_what_is_left_free():
    assert Asking({"yaw": 3, "smile": None}, KNOWN).asked == {"yaw"}
    like = torch.from_numpy(KNOWN.rows({"smile": np.array([0.5])}))
    assert Asking({}, KNOWN, like).asked == {"smile"}
    with pytest.raises(InputError, match="name at least one"):
        Asking({"expression": []}, KNOWN)
