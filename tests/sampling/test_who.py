import numpy as np
import pytest
import torch
import torch.nn.functional as F

from idgen.ground.attributes import PERSON
from idgen.ground.errors import InputError
from idgen.sampling.draw import draw
from idgen.sampling.sampler import IdentitySampler
from idgen.sampling.who import KINDS, Who, kind_of

DIM = 16


@pytest.fixture(scope="module")
def sampler():
    people = F.normalize(torch.randn(400, DIM, generator=torch.Generator().manual_seed(0)), dim=1)
    return IdentitySampler.fit(people, "who")


def traits(vectors):
    """Six numbers, evenly spread, that can be read from the vectors' first components."""
    return torch.special.ndtr(vectors[:, :6].double() * DIM**0.5).float()


def shares(who, people):
    return {
        combination: who.kinds(traits(people.vectors)).count(combination)
        for combination in set(who.kinds(traits(people.vectors)))
    }


def test_shares_are_reached_in_every_combination(sampler):
    wishes = {"gender": {"female": 0.25, "male": 0.75}, "age": "uniform", "skin_tone": "uniform"}
    who = Who(wishes)
    people = who.choose(sampler, traits, 300, seed=3)
    assert len(set(people.names)) == 300
    found = shares(who, people)
    for gender, share in wishes["gender"].items():
        for age in KINDS["age"]:
            for tone in KINDS["skin_tone"]:
                assert found[gender, age, tone] / 300 == pytest.approx(share / 9, abs=0.01)
    reached = who.reached(traits(people.vectors))
    assert reached["gender"] == {"female": 0.25, "male": 0.75}
    assert reached["age"]["old"] == pytest.approx(1 / 3, abs=0.01)


def test_what_is_not_asked_stays_as_it_is_drawn(sampler):
    who = Who({"age": {"old": 0.5}})
    people = who.choose(sampler, traits, 400, seed=0)
    ages = np.array([kind for (kind,) in who.kinds(traits(people.vectors))])
    assert (ages == "old").mean() == pytest.approx(0.5 + 0.5 / 3, abs=0.05)
    genders = kind_of("gender", traits(people.vectors))
    assert genders.count("male") / 400 == pytest.approx(0.5, abs=0.08)


def test_the_same_wish_gives_the_same_people_and_is_a_method_of_draw(sampler):
    who = Who({"gender": "female"})
    people, labels = draw(sampler, 5, 7, who=who, traits=traits)
    assert labels == []
    assert torch.equal(people.vectors, who.choose(sampler, traits, 5, 7).vectors)
    assert kind_of("gender", traits(people.vectors)) == ["female"] * 5
    for wrong in ("packed", "mixup"):
        with pytest.raises(InputError, match="as they come: leave out `who`"):
            draw(sampler, 5, 7, wrong, "x" if wrong == "mixup" else None, who, traits)


def test_ancestry_is_the_greatest_share():
    rows = torch.zeros(3, 6)
    rows[:, [PERSON.index(name) for name in KINDS["ancestry"]]] = torch.eye(3)
    assert kind_of("ancestry", rows) == list(KINDS["ancestry"])


def test_uniform_is_everything():
    assert set(Who("uniform").shares) == set(KINDS)


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ("everybody", "uniform or names kinds of gender"),
        ({"size": "tall"}, "chosen by gender, age, skin_tone, ancestry, not by 'size'"),
        ({"age": 30}, "age is young or middle or old, got 30"),
        ({"age": {"old": 0.7, "young": 0.5}}, "shares of age sum to at most 1, got 1.2"),
        ({"age": {"old": -1}}, "share of age: old is a number from 0 to 1"),
    ],
)
def test_wrong_wishes_are_sentences(wishes, why):
    with pytest.raises(InputError, match=why):
        Who(wishes)


def test_who_hardly_exists_ends_with_the_rate_found(sampler):
    def nobody_is_old(vectors):
        rows = traits(vectors)
        rows[:, PERSON.index("age")] *= 0.5
        return rows

    with pytest.raises(InputError, match="Of 800 people drawn only 0 read as old"):
        Who({"age": "old"}).choose(sampler, nobody_is_old, 2, seed=0)
