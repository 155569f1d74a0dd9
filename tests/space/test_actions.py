"""What the buttons do, without a browser and without Gradio."""

from __future__ import annotations

import base64
import io
import json
import shutil
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import last, unit_vectors
from PIL import Image
from tiny import encoded, noise_png
from tiny_arc2face import DIM, build_official

from idgen.evaluation.diversity import genuine_distance
from idgen.ground import files, provenance
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.model import Model, load_model
from idgen.pipelines import Arc2FacePipeline
from idgen.sampling.who import kind_of
from space import actions, view
from space.actions import Recipe, painting
from space.actions.photos import MOST_COPY, mark
from space.models import vocabulary
from space.parts import part, tile
from space.stream import stream
from space.uploads import handed_back


def test_sampling_is_the_seed_and_nothing_else(small: Model) -> None:
    (first, near), (again, _), (other, _) = (actions.sample(small, seed) for seed in (7, 7.0, 8))
    assert torch.equal(first.vector, again.vector)
    assert not torch.equal(first.vector, other.vector)
    assert not first.from_photo and -1 <= near <= 1


@pytest.mark.parametrize("seed", [None, -1, 1.5, "seven", 2**53])
def test_a_seed_that_is_no_whole_number_is_refused_in_one_sentence(small: Model, seed: object) -> None:
    with pytest.raises(InputError, match=r"^The person's seed is a whole number from 0 to 9,007,199,254,740,991, got "):
        actions.sample(small, seed)


@pytest.mark.parametrize(
    ("setting", "low", "high"),
    [("images", 0, 10_000), ("steps", 0, 2.5), ("variation", -1, 1.1), ("guidance", -1, 1e9), ("seed", -3, 2**53)],
)
def test_settings_out_of_range_are_refused(small: Model, setting: str, low: float, high: float) -> None:
    for value in (low, high):
        with pytest.raises(InputError, match=f"^The .*{setting.replace('images', 'pictures')}.* from .* to .*, got "):
            Recipe.of(small, **{setting: value})


def test_a_models_own_guidance_is_asked_for_by_its_number(told: Model, small: Model) -> None:
    """A slider has one number: as it stands it means all of a guidance that grows with the turn of the head."""
    assert Recipe.of(told).guidance == Recipe.of(told, guidance=1.4).guidance == "1.4/2.4"
    assert Recipe.of(told, guidance=1.5).guidance == 1.5 and Recipe.of(told, guidance=1.5).strength == "1.5"
    assert Recipe.of(small).guidance == Recipe.of(small, guidance=2).guidance == 2.0


def test_a_model_of_a_thousand_steps_may_take_them(tiny_model: Path, tmp_path: Path) -> None:
    index = json.loads((tiny_model / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "num_inference_steps": 1000}))
    slow = Model(tmp_path)
    assert Recipe.of(slow).steps == Recipe.of(slow, steps=1000).steps == 1000
    with pytest.raises(InputError, match="from 1 to 1,000"):
        Recipe.of(slow, steps=1001)


def test_pictures_scores_and_progress_belong_together(small: Model, person: Identity) -> None:
    seen = list(actions.generate(small, person, Recipe.of(small, 3, 2, 0.2, seed=5)))
    result = seen[-1]
    assert isinstance(result, actions.Result) and all(isinstance(one, actions.Progress) for one in seen[:-1])
    assert [image.k for image in result.images] == [0, 1, 2]
    assert len(result.scores) == 3 and result.matrix is not None and result.matrix.shape == (3, 3)
    assert np.allclose(np.diag(result.matrix), 1, atol=1e-4) and np.allclose(result.matrix, result.matrix.T, atol=1e-5)
    shares = [one.share for one in seen[:-1]]
    assert shares == sorted(shares) and shares[-1] <= 1
    assert result.reference is not None
    for line in result.scores:
        assert line["match"] == (line["judge_similarity"] >= round(result.reference.threshold, 4))
    # A variation of v paints vectors at cosine 1 − v, and still scores them against the person asked for.
    cosines = torch.stack([image.vector for image in result.images]) @ person.vector
    assert torch.allclose(cosines, torch.full((3,), 0.8), atol=1e-4)


def test_pictures_come_while_others_are_painted_with_previews(
    small: Model, person: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(painting, "_PATIENCE", 0.0)
    monkeypatch.setattr(painting, "_OVERHEAD", 0)
    done, previewed = [], 0
    for progress in actions.generate(small, person, Recipe.of(small, 4, 12)):
        if isinstance(progress, actions.Progress):
            done.append(len(progress.images))
            previewed += len(progress.previews)
            time.sleep(0.01)
    assert done == sorted(done) and set(done) & {1, 2, 3}, "some are shown before all are done"
    assert previewed > 0


def test_closing_stops_the_work_and_frees_it(small: Model, person: Identity) -> None:
    snapshots = actions.generate(small, person, Recipe.of(small, 64, 50))
    next(snapshots)
    began = time.monotonic()
    snapshots.close()
    while any(thread.name == "idgen-work" for thread in threading.enumerate()):
        assert time.monotonic() - began < 5, "64 pictures of 50 steps are still being painted"
        time.sleep(0.01)


def test_what_the_work_raises_is_raised_and_what_was_overtaken_is_skipped() -> None:
    def broken(teller):
        teller.say(1)
        raise ZeroDivisionError

    items = stream(broken)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)

    gate = threading.Event()

    def fast(teller):
        for number in range(100):
            teller.say(number)
        gate.set()

    numbers = stream(fast)
    seen = [next(numbers)]
    gate.wait(5)
    seen += numbers
    assert seen[-1] == 99 and len(seen) <= 3


def test_nobody_to_paint_is_said(small: Model) -> None:
    recipe = Recipe.of(small, 1, 1)
    for action, people in ((actions.generate, 1), (actions.explore, 1), (actions.nearest, 1), (actions.morph, 2)):
        with pytest.raises(InputError, match=r"(sample a person or choose a photo|choose both) first\.$"):
            action(small, *[None] * people, recipe)


@pytest.mark.parametrize("consent", [False, None, "yes", 1])
def test_no_photo_without_consent(small: Model, consent: object) -> None:
    with pytest.raises(InputError, match="consent"):
        actions.identify(small, [noise_png()], consent)
    with pytest.raises(InputError, match="consent"):
        actions.compare(small, noise_png(), noise_png(), consent)


def test_several_photos_are_averaged(built_in: Model, portraits: list[bytes]) -> None:
    one, three = (actions.identify(built_in, portraits[:1] * count, True) for count in (1, 3))
    assert (one.identity.source, three.identity.source) == ("1 picture (rendered)", "mean of 3 pictures (rendered)")
    assert float(one.identity.vector @ three.identity.vector) == pytest.approx(1, abs=1e-4)
    assert one.identity.from_photo and len(three.faces) == 3
    page = part("found", found=three, notice="")
    assert page.count('class="found"') == 3 and "averaged" in page and "does not exist" not in page


def test_two_pictures_are_compared_with_a_verdict(
    built_in: Model, portraits: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    find = built_in.encoder.locate
    monkeypatch.setattr(built_in.encoder, "locate", lambda *photo: found.append(photo) or find(*photo))
    for other, head, match in ((portraits[0], "Same person", True), (portraits[1], "Different people", False)):
        compared = actions.compare(built_in, portraits[0], other, True)
        assert compared.comparison == built_in.scorer.compare(portraits[0], other)
        assert compared.comparison.match == match
        assert head in view.compared(compared) and view.compared(compared).count("<img") == 2
    assert len(found) == 2 * (2 + 2), "each face is looked for once, and once more by the scorer alone"


def test_the_mark_stays_on_the_picture_and_leaves_the_photo_alone() -> None:
    photo = Image.new("RGB", (1600, 900), (90, 90, 90))
    shown = mark(photo, np.array([[700, 400], [800, 400], [750, 460], [710, 510], [790, 510]], float))
    assert shown.size == (640, 360)
    assert photo.getcolors() == [(1600 * 900, (90, 90, 90))]
    assert len(shown.getcolors(100_000) or []) > 2
    tiny = mark(Image.new("RGB", (5, 3)), np.zeros((5, 2)))
    assert tiny.size == (5, 3)


def test_a_strip_leads_from_one_person_to_the_other(small: Model, person: Identity) -> None:
    other = actions.sample(small, 8)[0]
    made, again = (last(actions.morph(small, person, other, Recipe.of(small, 1, 3))) for _ in range(2))
    assert len(made.images) == actions.MORPH and all(len(side) == actions.MORPH for side in made.scores)
    assert torch.allclose(made.people.vectors[0], person.vector, atol=1e-6)
    assert torch.allclose(made.people.vectors[-1], other.vector, atol=1e-6)
    assert [a.image.tobytes() for a in made.images] == [b.image.tobytes() for b in again.images]
    assert made.sentence.endswith("at a false-match rate of 1 in 1,000, measured on rendered pictures.")
    alone = last(actions.generate(small, person, Recipe.of(small, 1, 3))).images[0]
    assert made.images[0].image.tobytes() == alone.image.tobytes(), "the noise that is shared is the first picture's"
    page = view.morph(made)
    assert page.count('class="dot a"') == actions.MORPH + 1 and "similarity to B" in page


def test_a_point_is_what_evaluation_measures(small: Model, person: Identity) -> None:
    curves = list(actions.explore(small, person, Recipe.of(small, 4, 2), (0.0, 0.6)))
    assert curves[-1].finished and not curves[0].finished
    assert [point.recipe.variation for point in curves[-1].points] == [0, 0.6]
    point = curves[-1].points[1]
    pictures = [one.image for one in point.images]
    assert point.diversity == pytest.approx(genuine_distance(small.judge.encode(pictures), [0] * 4), abs=1e-5)
    scores = small.scorer.score(pictures, person)
    assert point.similarity == pytest.approx(np.mean([score.judge_similarity for score in scores]), abs=1e-3)
    assert point.matches == sum(score.match for score in scores)
    page = view.curve(curves[-1], [], [[""] * 4] * 2)
    assert page.count("variation 0.60") >= 2, "on the plot, and for a screen reader"


def test_the_nearest_sampled_people_are_the_nearest(small: Model, person: Identity) -> None:
    found = last(actions.nearest(small, person, Recipe.of(small, 1, 1)))
    crowd = small.sampler.sample(actions.CROWD, 0)
    best = (crowd.vectors @ person.vector).topk(actions.NEIGHBOURS)
    assert [one.identity.name for one in found] == [crowd.names[row] for row in best.indices]
    assert [one.cosine for one in found] == pytest.approx(best.values.tolist())


def test_without_a_judge_there_are_pictures_and_a_plain_statement(unjudged: Model, person: Identity) -> None:
    result = last(actions.generate(unjudged, person, Recipe.of(unjudged, 2, 2)))
    assert result.reference is None and all(line["match"] is None for line in result.scores)
    page = part("summary", result=result) + view.evidence(result)
    assert "no independent judge" in page and "the wanted person, says" not in page and "✓" not in page
    assert all(f"{line['similarity']:.2f}" in page for line in result.scores)
    json.dumps(actions.report(result))
    strip = last(actions.morph(unjudged, person, person, Recipe.of(unjudged, 1, 1)))
    assert "has no independent judge" in strip.sentence and "threshold" not in view.morph(strip)
    points = last(actions.explore(unjudged, person, Recipe.of(unjudged, 2, 1), (0.5,)))
    assert points.threshold is None and "There is no verdict" in view.curve(points, [], [[]])
    with pytest.raises(InputError, match="cannot invent people"):
        actions.sample(unjudged, 7)


def test_every_picture_and_the_zip_say_how_they_were_made(result: actions.Result, tmp_path: Path) -> None:
    files, archive, sheet = actions.write(result, tmp_path)
    with zipfile.ZipFile(archive) as zipped:
        names = zipped.namelist()
        assert names == [file.name for file in files] + ["manifest.jsonl"]
        for name in names[:-1]:
            said = provenance.read(zipped.extract(name, tmp_path / "zip"))
            assert "trainedAlgorithmicMedia" in said["digital_source_type"]
            assert said["seed"] == result.recipe.seed
        lines = [json.loads(line) for line in zipped.read("manifest.jsonl").decode().splitlines()]
    report = json.loads(json.dumps(actions.report(result)))
    assert report["pictures"] == lines and report["sentence"].endswith(".") and report["images"] == 3
    wanted = {"file", "identity", "k", "seed", "similarity", "judge_similarity", "match"}
    assert all(wanted <= set(line) for line in lines) and [line["file"] for line in lines] == names[:-1]
    assert "trainedAlgorithmicMedia" in provenance.read(sheet)["digital_source_type"]
    assert Image.open(sheet).width > 3 * result.images[0].image.width


def test_a_picture_in_the_page_says_so_too_at_any_size(result: actions.Result, tmp_path: Path) -> None:
    for side in (None, 16):
        content = actions.png(result.images[0], "tiny", result.identity, result.recipe, side)
        (tmp_path / "page.png").write_bytes(content)
        assert "trainedAlgorithmicMedia" in provenance.read(tmp_path / "page.png")["digital_source_type"]
    assert Image.open(tmp_path / "page.png").width == 16


def test_a_picture_of_somebody_from_a_photo_says_nothing_of_them(
    result: actions.Result, person: Identity, tmp_path: Path
) -> None:
    """Neither a name nor the picture's own seed, which is made of the vector and so the same for the same face."""
    somebody = replace(person, source="1 photo", name="zaphod")
    files, archive, sheet = actions.write(replace(result, identity=somebody), tmp_path)
    own = [str(image.seed).encode() for image in result.images]
    for path in (*files, sheet):
        assert b"zaphod" not in path.read_bytes() and not any(seed in path.read_bytes() for seed in own)
    assert not any(seed in archive.read_bytes() for seed in own)


def test_scores_say_on_whom_they_were_measured(built_in: Model, portraits: list[bytes]) -> None:
    known = actions.reference(built_in)
    assert known is not None
    scope = known.calibration.scope
    assert "500 people" in scope and "rendered people who do not exist" in scope and known.explanation.endswith(scope)
    same = actions.compare(built_in, portraits[0], portraits[0], True)
    assert same.sentence.endswith(scope) and scope in view.compared(same)
    assert scope in part("found", found=actions.identify(built_in, [portraits[0]], True), notice="")


def test_a_photograph_gets_similarities_and_how_to_get_a_verdict(built_in: Model, portraits: list[bytes]) -> None:
    """A picture without a mark counts as a photograph, on which the built-in judge was not measured."""
    bare = [encoded(Image.open(io.BytesIO(portrait))) for portrait in portraits]
    compared = actions.compare(built_in, *bare, True)
    assert compared.comparison is not None and compared.comparison.match is None
    page = view.compared(compared)
    assert "no verdict" in page and "not measured on photographs" in page and "✗" not in page and "✓" not in page
    found = actions.identify(built_in, bare[:1], True)
    assert found.identity.source == "1 photo" and "rendered pictures against photographs" in found.scope
    made = last(actions.generate(built_in, found.identity, Recipe.of(built_in, 1, 2)))
    assert made.reference is None and made.scores[0]["match"] is None and made.sentence == found.scope
    assert made.scores[0]["judge_similarity"] is not None and actions.report(made)["domain"] is None
    assert "No verdict" in part("summary", result=made) + view.evidence(made)
    assert "1,000" not in view.evidence(made)


def test_points_join_when_all_but_variation_and_guidance_is_the_same(small: Model, person: Identity) -> None:
    recipe, other = Recipe.of(small, 2, 1, 0.5, seed=3), actions.sample(small, 8)[0]
    point = actions.Point(person, small.name, recipe, 0.5, 0.5, None, [], [])
    assert point.joins(person, small.name, replace(recipe, variation=0.1, guidance=4.0))
    assert not point.joins(other, small.name, recipe) and not point.joins(person, "another", recipe)
    for changed in (replace(recipe, seed=4), replace(recipe, steps=2)):
        assert not point.joins(person, small.name, changed)


def test_a_strip_changes_one_thing_and_says_whether_it_stays_the_person(told: Model) -> None:
    person = actions.sample(told, 7)[0]
    recipe = Recipe.of(told, 1, 2, seed=3, attributes={"glasses": "yes"})
    made = last(actions.strip(told, person, recipe, "yaw"))
    assert made.values == [-45 + 90 * step / 8 for step in range(9)]
    assert [image.attributes["yaw"] for image in made.images] == made.values
    assert made.told[0] == "−45°" and made.told[4] == "0°" and made.told[8] == "+45°"
    assert "Picture 9 of" in view.strip(made) and ", +45°, AI-generated" in view.strip(made)
    others = [{name: value for name, value in image.attributes.items() if name != "yaw"} for image in made.images]
    assert all(one == others[0] for one in others) and others[0]["glasses"] == "yes"
    assert len({image.seed for image in made.images}) == 1, "from the same noise"
    assert len({image.image.tobytes() for image in made.images}) == 9
    alone = last(actions.generate(told, person, Recipe.of(told, 1, 2, seed=3, attributes={"glasses": "yes"})))
    assert alone.images[0].attributes | {"yaw": 0.0} == made.images[4].attributes | {"yaw": 0.0}
    assert "says the independent judge" in made.sentence and len(made.scores) == 9

    greys = [replace(one, image=Image.new("RGB", (64, 64), (20 * k,) * 3)) for k, one in enumerate(made.images)]
    moving = Image.open(io.BytesIO(replace(made, images=greys).animated()))  # WebP joins frames that look alike
    assert moving.format == "WEBP" and moving.n_frames == 16 and moving.info["loop"] == 0
    assert b"trainedAlgorithmicMedia" in moving.info["xmp"]

    smiling = last(actions.strip(told, person, recipe, "smile"))
    assert (smiling.told[0], smiling.told[8]) == ("0 %", "100 %")
    assert all("expression" not in image.attributes for image in smiling.images), "a frown would stay beside the smile"


def test_a_converted_models_head_turns(tmp_path: Path) -> None:
    files = build_official(tmp_path / "official")
    made = Arc2FacePipeline.from_pretrained(files, identity_dim=DIM, controlnet=True)
    made.save_pretrained(tmp_path / "turned")
    model, person = (
        Model(tmp_path / "turned"),
        Identities(unit_vectors(1, DIM), made.config.space, ["a vector"], ["A"])[0],
    )
    strip = last(actions.strip(model, person, Recipe.of(model, 1, 1, attributes={"pitch": 10}), "yaw"))
    assert [image.attributes for image in strip.images] == [{"yaw": yaw, "pitch": 10} for yaw in strip.values]
    assert len({image.image.tobytes() for image in strip.images}) == 9
    assert actions.STRIPS["smile"] and "smile" not in vocabulary(model)
    with pytest.raises(InputError, match="cannot be told of smile"):
        actions.strip(model, person, Recipe.of(model, 1, 1), "smile")


def test_attributes_are_refused_before_anything_is_painted(told: Model, small: Model, person: Identity) -> None:
    for model, attributes, why in (
        (told, {"yaw": 200}, "from -60 to 60"),
        (told, {"smle": 1}, "There is no attribute"),
        (told, [1], "names with their values"),
        (small, {"yaw": 2}, "cannot be told"),
    ):
        with pytest.raises(InputError, match=why):
            Recipe.of(model, attributes=attributes)
    with pytest.raises(InputError, match="cannot be told of yaw"):
        actions.strip(small, person, Recipe.of(small, 1), "yaw")


def test_a_converted_models_sampled_people_are_judged_by_their_own_pictures(tiny_model: Path, tmp_path: Path) -> None:
    """As `idgen model add` leaves one whose bridge is poor: named so in the sentence, the report, and on the page."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "converted"))
    for who, of in (("encoder", "photographs"), ("judge", "generated by converted")):
        known = files.read_json(folder / who / "calibration.json")
        for one in known["calibrations"]:
            one["domain"] = of
            one["kinds"].pop("image-bridge", None)
        files.write_json(folder / who / "calibration.json", known)
    model = load_model(folder)
    result = last(actions.generate(model, model.sampler.sample(1, 3)[0], Recipe.of(model, 3, 1, 0.0)))
    assert "with its own pictures, says the independent judge" in result.sentence
    report = actions.report(result)
    assert report["against"] == "own pictures" and {one["against"] for one in report["pictures"]} == {"own pictures"}
    assert report["domain"] == "generated by converted" and report["threshold"] is not None
    page = view.evidence(result)
    assert "agrees with its own pictures, not whether these show the person" in page
    for number, (image, line) in enumerate(zip(result.images, result.scores, strict=True), 1):
        said = "agrees with its own pictures" if line["match"] else "differs from its own pictures"
        assert said in tile(number, view.source(image, "m", result.identity, result.recipe), line, "p")
    strip = last(actions.morph(model, *model.sampler.sample(2, 3), Recipe.of(model, 1, 1, 0.0)))
    assert {line["against"] for side in strip.scores for line in side} == {"own pictures"}


def test_a_person_from_a_photo_keeps_what_the_judge_sees(built_in: Model, portraits: list[bytes]) -> None:
    found = actions.identify(built_in, portraits[:1], True)
    seen = built_in.judge.encode([found.faces[0].views[1]])[0]
    assert torch.allclose(found.identity.also[built_in.judge.space], seen, atol=1e-5)
    assert built_in.scorer.way(found.identity).against == "own vector"


def test_another_face_is_chosen_by_its_place(built_in: Model, portraits: list[bytes]) -> None:
    """The page hands back a copy of the photo, which says as much of how it was made as the photo."""
    faces = [Image.open(io.BytesIO(portrait)).convert("RGB") for portrait in portraits[:2]]
    both = Image.new("RGB", (faces[0].width + faces[1].width, max(face.height for face in faces)))
    both.paste(faces[0], (0, 0))
    both.paste(faces[1].resize((faces[1].width * 4 // 5, faces[1].height * 4 // 5)), (faces[0].width, 0))
    photo = provenance.encode(both, {"model": "nobody-128"}, "JPEG", quality=95)
    first = actions.identify(built_in, [photo], True)
    (face,) = first.faces
    assert face.faces == len(face.places) == 2 and 0 < len(face.copy) <= MOST_COPY
    assert provenance.domain_of(face.copy) == provenance.domain_of(photo) == "rendered"
    page = part("found", found=first, notice="")
    assert page.count("data-x=") == 2 and "data-photo=" in page and "click the one that is meant" in page
    alone = [actions.identify(built_in, [portrait], True).identity for portrait in portraits[:2]]
    for number, place in enumerate(face.places, 1):
        payload = {
            "photo": f"data:image/jpeg;base64,{base64.b64encode(face.copy).decode()}",
            "x": place[0],
            "y": place[1],
        }
        chosen = actions.identify(built_in, [handed_back(payload)[0]], True, near=handed_back(payload)[1]).identity
        by_number = actions.identify(built_in, [face.copy], True, which=number).identity
        assert torch.equal(chosen.vector, by_number.vector)
        cosines = [float(chosen.vector @ one.vector) for one in alone]
        assert int(np.argmax(cosines)) == (0 if place[0] < 0.5 else 1)
    for wrong in (
        None,
        {},
        {"photo": "file:///etc/passwd", "x": 0, "y": 0},
        payload | {"x": 2},
        payload | {"y": "nan"},
    ):
        with pytest.raises(InputError, match="choose the photo again"):
            handed_back(wrong)
    single = part("found", found=actions.identify(built_in, portraits[:1], True), notice="")
    assert "data-photo" not in single and "data-x" not in single


def test_somebody_of_a_kind_is_drawn_and_what_is_left_open_is_drawn_evenly(told: Model) -> None:
    def kinds(seed: int) -> dict[str, str]:
        traits = told.traits(actions.sample(told, seed)[0].vector[None])
        return {name: kind_of(name, traits)[0] for name in actions.TRAITS}

    usual = [kinds(seed) for seed in range(60)]
    share = sum(one["gender"] == "female" for one in usual) / 60
    assert 0 < share < 1  # or nothing is shown here
    for gender in ("female", "male"):
        assert kinds(actions.seed_of(told, {"gender": gender}))["gender"] == gender
    evenly = [kinds(actions.seed_of(told, {}))["gender"] == "female" for _ in range(16)]
    assert 1 <= sum(evenly) <= 15  # each a fair coin: wrong once in 30,000 runs


def test_people_who_hardly_exist_are_refused_in_a_sentence(told: Model, small: Model, monkeypatch) -> None:
    monkeypatch.setattr(told, "traits", lambda vectors: torch.zeros(len(vectors), 6))
    with pytest.raises(InputError, match=r"^Of 60 people drawn none was male, old: try again, or ask for less\.$"):
        actions.seed_of(told, {"gender": "male", "age": "old"})
    assert 0 <= actions.seed_of(small, {"gender": "male"}) < 10**6  # a model that reads none takes people as they come
