"""What a picture is to look like: told to the network, drawn where nobody asks, done in few steps by the student."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from painted import agree, by_name, quiet, unit_vectors
from tiny import ATTRIBUTES, labelled
from torch import Generator

from idgen.ground.attributes import PERSON, Vocabulary, labels
from idgen.ground.errors import InputError
from idgen.models import AttributePrior, IdentityDiT
from idgen.models.dit import AttributeEmbedding
from idgen.pipelines import IDiffFacePipeline

KNOWN = Vocabulary(ATTRIBUTES)


@pytest.fixture(scope="module")
def pipeline(attributed_model):
    return quiet(IDiffFacePipeline.from_pretrained(attributed_model))


def latents(pipeline, who, count=1, **how):
    items = pipeline(who, count, output_type="latent", **how).items
    return torch.stack([item.image for item in items]), [item.attributes for item in items]


def test_a_told_picture_depends_on_identity_seed_number_and_attributes_only(pipeline):
    who, how = unit_vectors(3, 64, 0), {"seed": 5, "output_type": "pt", "attributes": {"yaw": [-30, 30], "hat": "yes"}}
    reference = by_name(pipeline, who, 2, batch_size=6, **how)
    for batch in (1, 4):
        agree(reference, by_name(pipeline, who.flip(0), 2, batch_size=batch, **how))


def test_every_attribute_changes_the_picture_and_only_those_asked_change(pipeline):
    who = unit_vectors(1, 64, 1)
    base, (told,) = latents(pipeline, who)
    for name, values in ATTRIBUTES.items():
        other = next(value for value in values[::-1] if value != told.get(name))
        changed, (now,) = latents(pipeline, who, attributes={**told, name: other})
        assert not torch.equal(base, changed), name
        assert {**told, name: now[name]} == now


def test_asking_for_what_was_drawn_is_the_same_picture(pipeline):
    who = unit_vectors(1, 64, 1)
    base, (told,) = latents(pipeline, who)
    assert torch.equal(base, latents(pipeline, who, attributes=told)[0])


def test_a_wish_leaves_the_other_groups_as_they_were_drawn(pipeline):
    who = unit_vectors(1, 64, 2)
    (told,), (asked,) = latents(pipeline, who)[1], latents(pipeline, who, attributes={"yaw": 12, "smile": 0.9})[1]
    assert asked["yaw"] == 12
    assert {name for name in told if told[name] != asked[name]} <= {"yaw", "pitch", "smile", "expression", "mouth_open"}
    assert asked["expression"] == "laugh"  # which is what goes with such a smile
    assert asked["mouth_open"] == pytest.approx(0.8)


def test_what_is_set_to_none_is_left_to_the_network(pipeline):
    told = latents(pipeline, unit_vectors(1, 64, 2), attributes={"yaw": None})[1][0]
    assert "yaw" not in told
    assert "pitch" in told


def test_habits_are_the_persons_and_go_along_with_another_vector(pipeline):
    who = unit_vectors(2, 64, 3)
    told = latents(pipeline, who[:1], 30)[1]
    donor = {(one.get("beard"), one.get("hair") == "long") for one in told}
    assert len(donor) == 1  # one person's beard, and hair of one kind
    borrowed = latents(pipeline, who[1:], 30, habits=who[:1])[1]
    assert {(one.get("beard"), one.get("hair") == "long") for one in borrowed} == donor


def prior_of(people=400, pictures=4):
    columns = labels(labelled(people, pictures, seed=1))
    person = torch.from_numpy(np.stack([columns[name][::pictures] for name in PERSON], 1)).float()
    generator = Generator().manual_seed(0)
    vectors = F.normalize(person @ torch.randn(6, 64, generator=generator), dim=1)
    vectors = F.normalize(vectors + 0.02 * torch.randn(vectors.shape, generator=generator), dim=1)
    rows = torch.from_numpy(KNOWN.rows(columns))
    who = torch.arange(people).repeat_interleave(pictures)
    return AttributePrior.fit(ATTRIBUTES, vectors, person, rows, who, generator), vectors, person, rows


def test_the_prior_draws_as_the_pictures_have_it_given_the_person():
    prior, vectors, person, rows = prior_of()
    assert (prior.traits(vectors)[:, 0] - person[:, 0]).abs().mean() < 0.1
    drawn = []
    for number, vector in enumerate(vectors):
        own, picture = Generator().manual_seed(number), Generator().manual_seed(1000 + number)
        drawn.append(prior.draw(vector, torch.full((len(KNOWN),), torch.nan), own, picture))
    told = torch.stack(drawn)
    yaw, beard, hat = (KNOWN.names.index(name) for name in ("yaw", "beard", "hat"))
    assert float(told[:, yaw].std()) == pytest.approx(float(rows[:, yaw].std()), rel=0.1)
    assert float(told[:, hat].mean()) == pytest.approx(float(rows[:, hat].mean()), abs=0.05)
    wrong = (told[:, beard] > 0.1) & (person[:, 0] < 0.5)
    assert float(wrong.float().mean()) <= 0.02  # hardly any beard on who reads as a woman
    smile, expression = KNOWN.names.index("smile"), KNOWN.names.index("expression")
    assert torch.equal(told[:, smile] > 0.6, told[:, expression] == 0)  # what goes together stays together


def test_the_prior_keeps_no_persons_vector():
    prior, vectors, *_ = prior_of()
    held = torch.cat([buffer.flatten().float() for buffer in prior.buffers() if buffer is not prior.probe])
    for vector in vectors[:5]:
        assert not any(torch.equal(held[start : start + 8], vector[:8]) for start in range(0, len(held) - 8, 1))
    assert (F.normalize(prior.probe, dim=1) @ vectors.T).abs().max() < 0.95


@pytest.mark.parametrize(("attributes", "why"), [({"smle": 1}, "no attribute 'smle'"), ({"yaw": 200}, "from -60 to")])
def test_wrong_attributes_are_refused_at_once(pipeline, attributes, why):
    with pytest.raises(InputError, match=why):
        pipeline.iterate(unit_vectors(1, 64, 0), attributes=attributes)


def test_a_model_without_attributes_says_so(tiny_model):
    plain = quiet(IDiffFacePipeline.from_pretrained(tiny_model))
    with pytest.raises(InputError, match="cannot be told how a picture is to look"):
        plain.iterate(unit_vectors(1, 64, 0), attributes={"yaw": 3})


def test_few_steps_are_the_students_and_more_the_denoisers(pipeline):
    who = unit_vectors(1, 64, 4)
    noise = torch.randn(1, 4, 4, 4, generator=Generator().manual_seed(0))
    free = dict.fromkeys(KNOWN.names)
    got, _ = latents(pipeline, who, latents=noise, attributes=free, guidance_scale=3.0, num_inference_steps=2)
    told, scale = torch.full((1, len(KNOWN)), torch.nan), torch.tensor([3.0])
    x = noise
    with torch.no_grad():
        for now, then in ((1.0, 0.5), (0.5, 0.0)):
            time = torch.tensor([1000 * now])
            x = x + (then - now) * pipeline.student(x, time, who, torch.tensor([False]), told, scale)
    assert torch.allclose(got, x, atol=1e-5)
    more, _ = latents(pipeline, who, latents=noise, attributes=free, guidance_scale=1.0, num_inference_steps=3)
    without = IDiffFacePipeline(pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler, space="tiny-encoder")
    want, _ = latents(quiet(without), who, latents=noise, attributes=free, guidance_scale=1.0, num_inference_steps=3)
    assert torch.equal(more, want)


@pytest.mark.parametrize("guidance", [0.5, 5.0, "1-2", "1/5", lambda done: 1 + done])
def test_what_the_student_cannot_do_is_said(pipeline, guidance):
    with pytest.raises(InputError, match="guidance is the same at every step, from 1 to 4"):
        pipeline.iterate(unit_vectors(1, 64, 0), guidance_scale=guidance, num_inference_steps=2)
    next(pipeline.iterate(unit_vectors(1, 64, 0), guidance_scale=guidance, num_inference_steps=3))


@pytest.mark.parametrize("steps", [2, 3])  # the student's, the denoiser's
def test_guidance_grows_with_the_turn_of_the_head(pipeline, steps):
    """From 1.5 at 30 degrees evenly to 3.5 at 45; picture by picture, whoever is in the batch."""
    who, how = unit_vectors(1, 64, 4), {"seed": 3, "num_inference_steps": steps}
    asked = [{"yaw": yaw} for yaw in (30, -37.5, 45, 60, None)]
    together, told = latents(pipeline, who, 5, attributes=asked, guidance_scale="1.5/3.5", **how)
    assert [one.get("yaw") for one in told] == [30, -37.5, 45, 60, None]
    for scale, k in ((1.5, 0), (2.5, 1), (3.5, 2), (3.5, 3), (1.5, 4)):
        alone, _ = latents(pipeline, who, attributes=asked[k], guidance_scale=scale, first=k, **how)
        assert torch.allclose(together[k], alone[0], atol=1e-5), k
        again, _ = latents(pipeline, who, attributes=asked[k], guidance_scale="1.5/3.5", first=k, **how)
        assert torch.equal(together[k], again[0]), k


def test_a_models_own_guidance_may_grow_with_the_turn(pipeline, tmp_path):
    parts = pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler
    own = IDiffFacePipeline(*parts, "tiny-encoder", 3, "1.5/3.5", student=pipeline.student, few_steps=2)
    own.save_pretrained(tmp_path)
    own = quiet(IDiffFacePipeline.from_pretrained(tmp_path))
    assert own.config.guidance_scale == "1.5/3.5" and own.usual_steps() == 2
    who, told = unit_vectors(1, 64, 4), {"attributes": {"yaw": 45}}
    assert torch.equal(latents(own, who, **told)[0], latents(own, who, guidance_scale=3.5, **told)[0])
    with pytest.raises(InputError, match="the same at every step"):
        IDiffFacePipeline(*parts, "tiny-encoder", 3, "1-3")


def test_a_model_that_is_told_no_turn_has_one_guidance(tiny_model):
    plain = quiet(IDiffFacePipeline.from_pretrained(tiny_model))
    with pytest.raises(InputError, match="cannot be told how far a head is turned"):
        plain.iterate(unit_vectors(1, 64, 0), guidance_scale="1.5/3.5")


def test_what_the_student_cannot_do_takes_the_denoiser_and_its_steps(pipeline):
    parts = pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler
    how = {"space": "tiny-encoder", "num_inference_steps": 3}
    both = quiet(IDiffFacePipeline(*parts, student=pipeline.student, few_steps=2, **how))
    alone, who = quiet(IDiffFacePipeline(*parts, **how)), unit_vectors(1, 64, 4)
    assert torch.equal(latents(both, who)[0], latents(both, who, num_inference_steps=2)[0])
    assert not torch.equal(latents(both, who)[0], latents(alone, who)[0])
    beyond = {"guidance_scale": 5.0}, {"guidance_scale": lambda done: 1 + done}, {"negative": unit_vectors(1, 64, 9)}
    for asked in beyond:
        assert torch.equal(latents(both, who, **asked)[0], latents(alone, who, **asked)[0])
    both.scheduler = type(both.scheduler).from_config(both.scheduler.config)
    for steps in (None, 2):
        asked = {"num_inference_steps": steps}
        assert torch.equal(latents(both, who, **asked)[0], latents(alone, who, **asked)[0])


def test_what_is_worn_is_told_more_strongly():
    """Further in the direction from left open to told, and nothing but what is worn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embedding = AttributeEmbedding(ATTRIBUTES, 16)
    rows = torch.tensor(KNOWN.rows(labels(labelled(3, 2)))[:, : len(KNOWN)])
    worn, bare = [KNOWN.names.index(name) for name in ("beard", "glasses", "hat")], rows.clone()
    bare[:, worn] = torch.nan
    told, without = embedding(rows), embedding(bare)
    assert torch.allclose(embedding(rows, 1.5), 1.5 * told - 0.5 * without, atol=1e-6)
    assert torch.allclose(embedding(rows, 0.0), without, atol=1e-6)
    assert torch.equal(embedding(rows, 1.0), told) and torch.equal(embedding(bare, 1.5), without)


@pytest.mark.parametrize("steps", [2, 3])  # the student's, the denoiser's
def test_how_strongly_it_is_told_is_a_setting(pipeline, steps, tmp_path):
    parts = pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler
    how = {"prior": pipeline.prior, "student": pipeline.student, "few_steps": 2}
    louder = IDiffFacePipeline(*parts, "tiny-encoder", 3, **how, attribute_scale=1.5)
    louder.save_pretrained(tmp_path)
    loaded = [quiet(IDiffFacePipeline.from_pretrained(tmp_path, **more)) for more in ({}, {"attribute_scale": 1.0})]
    who, asked = unit_vectors(1, 64, 4), {"attributes": {"glasses": "yes"}, "num_inference_steps": steps}
    for one, same, other in ((loaded[0], louder, loaded[1]), (loaded[1], pipeline, louder)):
        made, _ = latents(one, who, guidance_scale=1.4, **asked)
        assert torch.equal(made, latents(same, who, guidance_scale=1.4, **asked)[0])
        assert not torch.equal(made, latents(other, who, guidance_scale=1.4, **asked)[0])
    with pytest.raises(InputError, match="attribute scale is a number from 0 to 4"):
        IDiffFacePipeline(*parts, "tiny-encoder", attribute_scale=5)


def test_a_network_that_is_told_nothing_is_as_one_whose_attributes_are_open():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = IdentityDiT(4, 4, width=32, depth=1, heads=2, identity_dim=8, context_dim=8, attributes=ATTRIBUTES)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    network.eval()
    sample, time, who = torch.randn(2, 4, 4, 4), torch.tensor([10.0, 900.0]), torch.randn(2, 8)
    open_ones = torch.full((2, len(KNOWN)), torch.nan)
    assert torch.equal(network(sample, time, who), network(sample, time, who, None, open_ones))
    assert network(sample, time, who, None, open_ones).isfinite().all()
