"""Choices that need pictures, on a tiny model with random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idgen import choosing
from idgen.choosing import best_of, picture_means, told_apart
from idgen.ground.errors import InputError
from idgen.ground.identity import Identity, centres
from idgen.model import Model, load_model
from idgen.pipelines import IDiffFacePipeline
from idgen.sampling.separation import separate
from idgen.sampling.variation import Cone
from idgen.similarity import boundaries, identity_boundary, measure_similarity, similarities, similarity_curve


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(tiny_model)


def painting_by(kind: type[IDiffFacePipeline], folder: Path) -> Model:
    """The model with a pipeline of another kind, of the same parts."""
    model = load_model(folder)
    parts = model.pipeline
    model._parts["pipeline"] = kind(parts.denoiser, parts.autoencoder, parts.scheduler, parts.config.space)
    return model


def test_told_apart_is_the_separation_of_the_means_of_pictures(model):
    people = model.sampler.sample(5, seed=1)
    made = model.pipeline(people, 2, seed=3, num_inference_steps=1)
    means = centres(model.judge.encode(made.images), [item.identity for item in made.items])
    torch.testing.assert_close(picture_means(people, model, 2, seed=3, steps=1), means, atol=1e-5, rtol=0)
    threshold = float((means @ means.T).fill_diagonal_(-1).max()) - 1e-4  # somebody has to go
    kept = told_apart(means, threshold)
    assert kept.tolist() == separate(means, threshold).tolist() and len(kept) < 5


def test_best_of_is_the_best_and_stops(model):
    person = model.sampler.sample(1, seed=1)[0]
    seen = []

    def darkness(image):
        seen.append(float(np.asarray(image).mean()))
        return seen[-1]

    best = best_of(model, person, darkness, tries=4, rounds=3, seed=2, lowest_cosine=0.7, steps=1)
    assert best.tries == seen and len(seen) == 12
    assert best.miss == min(seen) == pytest.approx(float(np.asarray(best.image).mean()))
    assert float(best.vector @ person.vector) >= 0.7 - 1e-5
    first = best_of(model, person, darkness, tries=4, seed=2, steps=1)
    assert first.tries == best.tries[:4] and torch.equal(first.vector, person.vector)


def test_what_cannot_be_searched_for_is_refused(model):
    person = model.sampler.sample(1, seed=1)[0]
    for call, says in (
        (lambda: best_of(model, person, lambda _: float("inf"), tries=2, steps=1), "None of 2 pictures"),
        (lambda: best_of(model, person, lambda _: 0.0, tries=500, rounds=3), "1 to 1,000"),
        (lambda: identity_boundary(model, person, pool=3), "from 8 to 1,000, got 3"),
    ):
        with pytest.raises(InputError, match=says):
            call()


def test_targets_say_what_they_name(model):
    person = model.sampler.sample(1, seed=1)[0]
    image = model.pipeline(person, 1, num_inference_steps=1).images[0]
    cosine = float(model.judge.encode([image])[0] @ model.judge.bridge(person.vector))
    assert choosing.towards_person(model, person)(image) == pytest.approx(1 - cosine, abs=1e-6)
    quality = float(model.judge.recognizer.encode_with_quality([image])[1][0])
    assert quality > 0 and choosing.towards_quality(model)(image) == -quality
    both = choosing.together((2.0, choosing.towards_person(model, person)), (0.5, choosing.towards_quality(model)))
    assert both(image) == pytest.approx(2 * (1 - cosine) - 0.5 * quality, abs=1e-5)
    assert choosing.towards_yaw(model, 0.0)(image) >= 0  # infinite where the finder with random weights sees nobody


def test_an_attribute_can_be_searched_for(reading_model):
    model = load_model(reading_model)
    person = model.sampler.sample(1, seed=1)[0]
    made = [item.image for item in model.pipeline.iterate(person, 4, seed=2, num_inference_steps=1)]
    read = model.attributes.describe(made)
    best = best_of(model, person, choosing.towards_attribute(model, "yaw", 10.0), tries=4, seed=2, steps=1)
    assert best.tries == pytest.approx([abs(each["yaw"] - 10) for each in read], abs=1e-3)
    assert len(set(best.tries)) > 1 and best.miss == min(best.tries)
    hat = choosing.towards_attribute(model, "hat", "yes")
    assert [hat(image) for image in made] == [float(each["hat"] != "yes") for each in read]
    with pytest.raises(InputError, match="no attribute 'wings'"):
        choosing.towards_attribute(model, "wings", 2)


def test_variations_of_a_person_have_the_person_s_habits(attributed_model, monkeypatch):
    model = load_model(attributed_model)
    people, draw, seen = model.sampler.sample(2, seed=1), model.pipeline.prior.draw, []
    monkeypatch.setattr(model.pipeline.prior, "draw", lambda vector, *rest: seen.append(vector) or draw(vector, *rest))
    best_of(model, people[0], lambda image: float(np.asarray(image).mean()), tries=2, rounds=2, steps=1)
    identity_boundary(model, people[0], pool=8, steps=1)
    assert len(seen) == 12 and all(torch.equal(vector, people.vectors[0]) for vector in seen)
    similarities(model, people, Cone(0.5, 0.5), 2, seed=0, steps=1)
    assert all(torch.equal(vector, people.vectors[row]) for vector, row in zip(seen[12:], (0, 0, 1, 1), strict=True))


def test_similarity_is_measured_against_the_person(model):
    people = model.sampler.sample(2, seed=4)
    found = similarities(model, people, Cone(1.0, 1.0), 3, seed=0, steps=1)
    assert found.shape == (6,)
    made = model.pipeline.iterate(people, 1, seed=0, num_inference_steps=1)  # k = 0 of the very vector
    cosines = [float(model.encoder.encode([x.image])[0] @ people.vectors[x.identity]) for x in made]
    np.testing.assert_allclose(found[[0, 3]], cosines, atol=1e-5)


def test_the_curve_is_measured_once_and_kept_by_the_weights(model, tmp_path, monkeypatch):
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path))
    calls = []

    def measured(model, guidance=None):
        calls.append(guidance)
        return measure_similarity(model, (0.3, 1.0), people=2, images=1, steps=1, guidance=guidance)

    monkeypatch.setattr("idgen.similarity.measure_similarity", measured)
    one, two = similarity_curve(model), similarity_curve(model)
    assert one == two and len(calls) == 1 and one.pictures == 2 and one.cosines == [0.3, 1.0]
    replace(one, weights="others").save(next((tmp_path / "similarity").iterdir()))
    assert similarity_curve(model) == one and len(calls) == 2  # of other weights: measured again
    own = model.pipeline.config.guidance_scale
    assert similarity_curve(model, own) == similarity_curve(model, f"{own:g}") == one and calls == [own, own]
    other, falling = similarity_curve(model, own + 2), similarity_curve(model, "3-1")
    assert similarity_curve(model, own + 2) == other and calls[2] == own + 2 and calls[3](0.5) == 2 and len(calls) == 4
    assert len({tuple(curve.similarities) for curve in (one, other, falling)}) == 3
    monkeypatch.setitem(model.pipeline._internal_dict, "attribute_scale", 2.0)  # as a plan may say
    for _ in range(2):
        similarity_curve(model)
        assert len(calls) == 5


def test_portraits_are_searched_for_the_face(tiny_model, tmp_path):
    """Of a pipeline whose pictures are no aligned crops: here red squares, which a tiny detector finds."""
    pytest.importorskip("insightface")
    from tiny_insight import build_detector, build_recognizer

    from idgen.faces.insight import InsightFaceEncoder

    class Portraits(IDiffFacePipeline):
        """Frames its pictures, but that of the second person, where nobody is to be seen."""

        aligned = False

        def iterate(self, *args, **kwargs):
            for item in super().iterate(*args, **kwargs):
                portrait = Image.new("RGB", (320, 320), (20, 20, 60))
                if item.identity != 1:
                    red = Image.new("RGB", (100, 100), (255, 0, 0))
                    portrait.paste(Image.blend(red, item.image.resize((100, 100)), 0.15), (96, 64))
                yield replace(item, image=portrait)

    build_detector(tmp_path / "scrfd.onnx"), build_recognizer(tmp_path / "recognizer.onnx", dim=64)
    model = painting_by(Portraits, tiny_model)
    finder = InsightFaceEncoder(tmp_path / "scrfd.onnx", tmp_path / "recognizer.onnx", space=model.encoder.space)
    model._parts["encoder"] = finder
    people = model.sampler.sample(3, seed=1)
    made = list(model.pipeline.iterate(people, 2, seed=3, num_inference_steps=1))
    crops = [finder.detect_and_align(item.image)[0] for item in made if item.identity != 1]

    means = picture_means(people, model, 2, seed=3, steps=1)
    assert told_apart(means, 0.9999).tolist() == [0, 2] and means[1].isnan().all()
    torch.testing.assert_close(means[[0, 2]], centres(model.judge.encode(crops), [0, 0, 2, 2]), atol=1e-5, rtol=0)
    found = similarities(model, people, Cone(1.0, 1.0), 1, seed=3, steps=1)
    assert np.isfinite(found).tolist() == [True, False, True]
    curve = measure_similarity(model, (0.3, 1.0), people=2, images=1, steps=1)
    assert all(np.isfinite(curve.similarities))

    portrait, nobody = made[0].image, made[2].image
    expected = -float(model.judge.recognizer.encode_with_quality(crops[:1])[1][0])
    assert choosing.towards_quality(model)(portrait) == pytest.approx(expected, abs=1e-5)
    person = choosing.towards_person(model, people[0])
    assert np.isinf(choosing.towards_quality(model)(nobody)) and np.isnan(person(nobody))
    with pytest.raises(InputError, match="could be scored: was no face"):
        best_of(model, people[0], lambda _: person(nobody), tries=2, steps=1)
    with pytest.raises(InputError, match=r"No picture of 3 people shows a face"):
        told_apart(torch.full_like(means, torch.nan), 0.9)


class Still(IDiffFacePipeline):
    """Starts every picture from one noise unless told otherwise, so that only the vector decides. With noise of its own
    for each, random weights hardly listen to the vector, and two dozen pictures a side say nothing of the boundary."""

    def iterate(self, people, images=1, **options):
        noise = torch.randn(1, *self.latent_shape, generator=torch.Generator().manual_seed(0))
        pictures = images * (1 if isinstance(people, Identity) else len(people))
        return super().iterate(people, images, **{"latents": noise.expand(pictures, -1, -1, -1), **options})


@pytest.mark.parametrize("draws", ["vector", "noise"])
def test_pictures_on_the_similar_side_are_more_similar(tiny_model, draws):
    model = painting_by(Still, tiny_model)
    person = model.sampler.sample(1, seed=1)[0]
    boundary = identity_boundary(model, person, draws, pool=120, seed=2, steps=1)
    start = torch.randn(model.pipeline.latent_shape, generator=torch.Generator().manual_seed(3))
    means = {}
    for side in ("similar", "dissimilar"):
        generator = torch.Generator().manual_seed(0)
        if draws == "noise":
            noises = boundary.sample(start, 24, generator, reach=1.5, side=side)
            made = model.pipeline.iterate(person, 24, latents=noises, num_inference_steps=1)
        else:
            vectors = boundary.sample(person.vector, 24, generator, reach=1.5, side=side)
            made = model.pipeline.iterate(vectors, 1, num_inference_steps=1)
        means[side] = float((model.encoder.encode([item.image for item in made]) @ person.vector).mean())
    assert means["similar"] > means["dissimilar"]


def test_a_boundary_is_measured_once_a_person(model, monkeypatch):
    calls = []

    def measured(model, person, **options):
        calls.append(options)
        return identity_boundary(model, person, pool=8, **options)

    monkeypatch.setattr("idgen.similarity.identity_boundary", measured)
    people, found = model.sampler.sample(2, seed=1), boundaries(model, 1, 2.5)
    one, again, other = (found(vector) for vector in people.vectors[[0, 0, 1]])
    assert one is again and not torch.equal(one.normal, other.normal) and calls == [{"steps": 1, "guidance": 2.5}] * 2
    assert torch.equal(boundaries(model, 1, 2.5)(people.vectors[0]).normal, one.normal)
