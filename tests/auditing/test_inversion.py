"""Five attacks: a generator that gives people away is found, one that paints anything is not."""

import json

import numpy as np
import pytest
from PIL import Image
from planted import Fine, fine_pictures
from typer.testing import CliRunner

from idgen.auditing.inversion import SENTENCE, attacks, setting
from idgen.cli import app
from idgen.scoring.verification import pair_scores, threshold_at_fmr

COUNT = 40


def test_the_five_settings():
    own = "a"
    assert [setting(*each, own) for each in (("a", "a"), ("a", "b"), ("b", "b"), ("b", "a"), ("b", "c"))] == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two pictures each of people, some to attack and more to learn from; and recognisers with their thresholds."""
    folder = fine_pictures(tmp_path_factory.mktemp("people"), 3 * COUNT, 2)
    files = sorted(folder.glob("*/*.png"), key=lambda file: (file.parent.name, int(file.stem)))
    pictures = [Image.open(file).convert("RGB") for file in files]
    recognisers = {name: Fine(seed=seed, space=name) for seed, name in enumerate("abc")}
    who = np.repeat(np.arange(3 * COUNT), 2)
    at = {name: threshold_at_fmr(pair_scores(one.encode(pictures), who)[1], 1e-2) for name, one in recognisers.items()}
    return list(zip(pictures[::2], pictures[1::2], strict=True)), recognisers, at


def test_a_generator_that_gives_people_away_and_one_that_does_not(people):
    pairs, recognisers, at = people
    vectors = recognisers["a"].encode([one for one, _ in pairs])

    def gives_away(wanted):
        """The picture whose vector is nearest: a perfect inversion."""
        return [pairs[int(row)][0] for row in (wanted @ vectors.T).argmax(1)]

    def paints_anything(wanted):
        rng = np.random.default_rng(0)
        return [Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in wanted]

    embed = lambda made, one: one.encode(made)  # noqa: E731
    given = (pairs[:COUNT], pairs[COUNT:], recognisers, "a", at)
    for paint, succeeds in ((gives_away, True), (paints_anything, False)):
        found = {(one.database, one.target): one for one in attacks(*given, paint, embed)}
        assert sorted(one.number for one in found.values()) == [1, 2, 2, 3, 3, 4, 4, 5, 5]
        for target, recogniser in recognisers.items():
            made = recogniser.encode(paint(vectors[:COUNT]))
            other = recogniser.encode([second for _, second in pairs[:COUNT]])
            want = int(((made * other).sum(1) < at[target]).sum())
            assert found["a", target].missed_other.errors == want, "type II: another picture"
        same = found["a", "a"].missed_same
        assert same.comparisons == COUNT and (same.errors == 0 if succeeds else same.errors >= COUNT - 2)
        assert (found["a", "b"].missed_other.errors < COUNT / 4) == succeeds
    assert found["a", "a"].missed_genuine.errors < COUNT / 4


def test_a_model_is_attacked_by_the_command(people, tmp_path, tiny_model):
    folder = fine_pictures(tmp_path / "faces", 8, 2)
    words = ["audit", folder, "--out", tmp_path / "out", "--model", tiny_model, "--section", "inversion"]
    run = lambda *more: CliRunner().invoke(app, list(map(str, [*words, *more])))  # noqa: E731
    assert "--paint 100" in run().output
    done = run("--paint", 3)
    assert done.exit_code == 0, done.output
    section = json.loads((tmp_path / "out" / "audit.json").read_text())["sections"][0]
    assert len(section["details"]["matrix"]) == 4 and "gets a picture by this model" in section["details"][SENTENCE]
    groups = {figure["group"] for figure in section["figures"]}
    assert groups >= {"attack 1, vectors of tiny-encoder", "attack 3, vectors of tiny-judge"}
