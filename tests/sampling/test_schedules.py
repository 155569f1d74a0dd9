import pytest

from idgen.ground.errors import InputError
from idgen.sampling.schedules import parse_schedule


def test_words() -> None:
    assert parse_schedule("2") == parse_schedule(2) == 2.0
    for text, scales in (("0-3", [0, 0.75, 1.5, 2.25]), ("3-1", [3, 2.5, 2, 1.5]), ("0,2@0.5,1@0.75", [0, 0, 2, 1])):
        found = parse_schedule(text)
        assert callable(found) and [found(step / 4) for step in range(4)] == scales


@pytest.mark.parametrize("text", ["x", "1-2-3", "0,2", "0@0.3,2@0.5", "0,2@0.5,1@0.5", "0,2@1", "", "2@x"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="0-3 for evenly"):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["-1", "101", "nan", "0-101", "0,101@0.5"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="The weight is a number from 0 to 100"):
        parse_schedule(text, "weight")
