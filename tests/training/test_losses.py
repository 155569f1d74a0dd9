"""Every loss against its definition, written out picture by picture and pair by pair, with gradients, in float64."""

import math

import pytest
import torch

from idgen.ground.errors import InputError
from idgen.training.losses import BY_CLASS, PartialFC, adaface, elasticface, make
from idgen.training.losses.multibatch import Multibatch
from idgen.training.losses.partial_fc import LazyAdam
from idgen.training.losses.triplet import Triplet
from idgen.training.losses.usynthface import USynthFace

PEOPLE, SIZE, SCALE = 7, 6, 16.0
MARGIN = {"cosface": 0.35, "arcface": 0.5, "adaface": 0.4, "elastic_cos": 0.35, "elastic_arc": 0.5}


def batch(count=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = 3 * torch.randn(count, SIZE, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.arange(count) % 3 + 2


def by_class(name, **more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make(name, PEOPLE, SIZE, MARGIN[name], SCALE, **more).double()


def cosine(a, b):
    return (a * b).sum() / (a * a).sum().sqrt() / (b * b).sum().sqrt()


def own_logit(name, cos, drawn, k):
    m, angle = MARGIN[name], torch.acos(cos)
    if name == "cosface":
        return SCALE * (cos - m)
    if name == "elastic_cos":
        return SCALE * (cos - (m + 0.05 * drawn))
    if name == "adaface":
        return SCALE * (torch.cos(angle - m * k) - (m + m * k))
    margin = m + 0.05 * drawn if name == "elastic_arc" else m
    return SCALE * (torch.cos(angle + margin) if angle <= math.pi - margin else cos - margin * math.sin(margin))


def written_out(name, embeddings, labels, vectors, people=range(PEOPLE)):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        drawn = torch.randn(len(labels), dtype=torch.float64)
    lengths = embeddings.detach().norm(dim=1)
    mean = 0.99 * 20 + 0.01 * lengths.mean()
    deviation = 0.99 * 100 + 0.01 * ((lengths - lengths.mean()) ** 2).sum().div(len(lengths) - 1).sqrt()
    out = []
    for row, label in enumerate(labels.tolist()):
        k = ((lengths[row] - mean) / (deviation + 1e-3) * 0.333).clamp(-1, 1)
        logits = {c: SCALE * cosine(embeddings[row], vectors[c]) for c in people}
        logits[label] = own_logit(name, cosine(embeddings[row], vectors[label]), drawn[row], k)
        out.append(torch.stack(list(logits.values())).exp().sum().log() - logits[label])
    return torch.stack(out)


def same(one, other, *leaves):
    assert torch.allclose(one, other, rtol=1e-6, atol=1e-12)
    ours = torch.autograd.grad(one.mean(), leaves, retain_graph=True)
    theirs = torch.autograd.grad(other.mean(), leaves, retain_graph=True)
    assert ours[0].any()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", sorted(BY_CLASS))
def test_losses_by_class(name):
    loss, (embeddings, labels) = by_class(name), batch()
    torch.manual_seed(5)
    found = loss(embeddings, labels)
    assert found.shape == (9,)
    same(found, written_out(name, embeddings, labels, loss.W.T), embeddings, loss.W)


def test_beyond_the_pole_the_own_logit_still_falls():
    loss = by_class("arcface")
    angles = torch.linspace(2.9, 3.1, 20, dtype=torch.float64)
    assert (loss.own(angles.cos()).diff() < 0).all()
    assert float(loss.own(torch.tensor([-1.0], dtype=torch.float64))) < -1.1


def test_adaface_is_arcface_of_a_poor_picture_and_cosface_of_a_usual_one():
    loss, cosines = by_class("adaface"), torch.tensor([0.3, -0.2], dtype=torch.float64)
    for k, expected in ((-1.0, torch.cos(cosines.acos() + 0.4)), (0.0, cosines - 0.4)):
        loss._k = k
        assert torch.allclose(loss.own(cosines), expected)


def test_adafaces_statistics_run_while_it_learns_only():
    loss, (embeddings, labels) = by_class("adaface"), batch()
    loss.eval()(embeddings, labels)
    assert loss.running.tolist() == [20, 100]
    loss.train()(embeddings, labels)
    assert loss.running[0] == pytest.approx(0.99 * 20 + 0.01 * float(embeddings.detach().norm(dim=1).mean()))
    assert adaface.MOMENTUM == 0.99 and elasticface.SIGMA == 0.05


def test_triplets():
    embeddings, labels = batch(12)
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    terms = []
    for a in range(12):
        for p in (p for p in range(12) if labels[p] == labels[a] and p != a):
            for n in (n for n in range(12) if labels[n] != labels[a]):
                near, far = ((unit[a] - unit[other]).square().sum() for other in (p, n))
                if near < far <= near + 0.2:
                    terms.append(near - far + 0.2)
    assert len(terms) > 5
    same(Triplet(0.2)(embeddings, labels), torch.stack(terms).mean(), embeddings)


def test_two_views_against_a_queue():
    """Twice, so that the second batch meets the first one's keys: not those of the same people."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        loss = USynthFace(SIZE, 0.1, 1 / 0.07, queue=7).double()
        loss.queue.copy_(torch.nn.functional.normalize(loss.queue))
    queue = [(vector, -1) for vector in loss.queue.clone()]
    for turn in range(2):
        embeddings, _ = batch(8, seed=turn)
        labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]) + 2 * turn
        terms = []
        for q, k in ((0, 1), (2, 3), (4, 5), (6, 7)):
            own = torch.exp((cosine(embeddings[q], embeddings[k].detach()) - 0.1) / 0.07)
            others = [torch.exp(cosine(embeddings[q], n) / 0.07) for n, who in queue if who != labels[q]]
            assert len(others) == 7 - (turn and labels[q] in (2, 3))
            terms.append(-torch.log(own / (own + sum(others))))
        same(loss(embeddings, labels), torch.stack(terms).mean(), embeddings)
        for place, k in enumerate((1, 3, 5, 7)):
            key = embeddings[k].detach() / embeddings[k].detach().norm()
            queue[(4 * turn + place) % 7] = (key, int(labels[k]))
    assert torch.allclose(loss.queue, torch.stack([vector for vector, _ in queue]))
    assert loss.eval()(embeddings, labels) == loss(embeddings, labels)
    with pytest.raises(InputError, match="queue of 7 holds no batch of 8 people"):
        loss.train()(torch.randn(16, SIZE).double(), torch.arange(16))


def test_no_triplet_costs_nothing():
    embeddings = torch.eye(4, 6, requires_grad=True)
    loss = Triplet(0.2)(embeddings, torch.arange(4))
    loss.backward()
    assert float(loss) == 0 and not embeddings.grad.any()


@pytest.mark.parametrize("balanced", [True, False])
def test_multibatch(balanced):
    embeddings, labels = batch()
    loss = Multibatch(1.0, balanced).double()
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    of = {True: [], False: []}
    for i in range(9):
        for j in (j for j in range(9) if j != i):
            y = 1 if labels[i] == labels[j] else -1
            of[y == 1].append((1 - y * (loss.threshold - (unit[i] - unit[j]).square().sum())).clamp(min=0))
    means = torch.stack([torch.stack(terms).mean() for terms in of.values()])
    expected = means.mean() if balanced else torch.stack(of[True] + of[False]).mean()
    same(loss(embeddings, labels), expected, embeddings, loss.threshold)


@pytest.mark.parametrize("name", ["cosface", "adaface"])
def test_sampled_people(name):
    loss, (embeddings, labels) = by_class(name, sampled=0.6), batch()
    assert isinstance(loss, PartialFC)
    people = loss.sample(labels).tolist()
    assert len(people) == 4 and {2, 3, 4} < set(people)
    loss.generator.manual_seed(loss.generator.initial_seed())
    expected = written_out(name, embeddings, labels, loss.inner.W.T, people)
    same(loss(embeddings, labels), expected, embeddings, loss.inner.W)
    assert len(by_class(name, sampled=0.1).sample(labels)) == 3  # those of the batch are always there


def test_who_was_not_compared_with_stays():
    matrix = torch.nn.Parameter(torch.ones(2, 4))
    optimizer, plain = LazyAdam([matrix], lr=0.1), torch.nn.Parameter(torch.ones(2, 1))
    adam = torch.optim.Adam([plain], lr=0.1, betas=(0.9, 0.99))
    for column in (0, 1, 0, 0):
        matrix.grad = torch.zeros(2, 4)
        matrix.grad[:, column] = torch.tensor([1.0, -0.5])
        optimizer.step()
        if column == 0:
            plain.grad = torch.tensor([[1.0], [-0.5]])
            adam.step()
    assert torch.equal(matrix[:, 2:], torch.ones(2, 2)) and not torch.equal(matrix[:, 1], torch.ones(2))
    assert torch.allclose(matrix[:, :1], plain, atol=1e-6)


def test_what_guessing_costs():
    loss = make("cosface", 1000, SIZE, 0.35, 32)
    assert loss.chance() == pytest.approx(math.log(999 + math.exp(-0.35 * 32)) + 0.35 * 32)
    assert make("arcface", 1000, SIZE, 0.5, 32).chance() == pytest.approx(math.log(999) + 32 * math.sin(0.5), rel=1e-4)


def test_losses_that_are_not_there():
    with pytest.raises(InputError, match="No loss 'softmax': choose one of cosface, arcface"):
        make("softmax", PEOPLE, SIZE, 0.3, SCALE)
    with pytest.raises(InputError, match="triplet samples no class vectors"):
        make("triplet", PEOPLE, SIZE, 0.3, SCALE, sampled=0.5)
