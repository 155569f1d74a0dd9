import math

import pytest
import torch

from idgen.ground.errors import InputError
from idgen.ground.guidance import Turned, parse_guidance, parse_schedule, scales


def test_words() -> None:
    assert parse_schedule("2") == parse_schedule(2) == parse_guidance("2") == 2.0
    for text, wanted in (("0-3", [0, 0.75, 1.5, 2.25]), ("3-1", [3, 2.5, 2, 1.5]), ("0,2@0.5,1@0.75", [0, 0, 2, 1])):
        for parse in (parse_schedule, parse_guidance):
            found = parse(text)
            assert callable(found) and scales(found, 4) == [found(step / 4) for step in range(4)] == wanted
            assert parse(found) is found


def test_by_the_turn_of_the_head() -> None:
    found = parse_guidance("1.5/3")
    assert isinstance(found, Turned) and parse_guidance(found) is found and scales(found, 9) == [1.5, 3.0]
    yaw = torch.tensor([0.0, -30.0, 35.0, -40.0, -45.0, 60.0, math.nan])
    shares = [0, 0, 1 / 3, 2 / 3, 1, 1, 0]  # of the way from 30° to 45°
    assert found.at(yaw).tolist() == pytest.approx([1.5 + 1.5 * share for share in shares])


@pytest.mark.parametrize(
    "text", ["x", "1-2-3", "0,2", "0@0.3,2@0.5", "0,2@0.5,1@0.5", "0,2@1", "", "2@x", "1/2/3", "/"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="0-3 for evenly"):
        parse_schedule(text)
    with pytest.raises(InputError, match=r"1\.4/2\.4 for 1\.4 up to a turn of the head"):
        parse_guidance(text)


def test_a_schedule_depends_on_no_head() -> None:
    with pytest.raises(InputError, match="The weight is a number, 0-3 for evenly"):
        parse_schedule("1/2", "weight")


@pytest.mark.parametrize("text", ["-1", "101", "nan", "0-101", "0,101@0.5", "1/101", "-1/2"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="The weight is a number from 0 to 100"):
        parse_guidance(text, "weight")
