"""The loop on a real, tiny network: averaging, schedule, resuming to the bit."""

import json

import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from idgen.ground.errors import InputError
from idgen.training.loop import SETTLED, RunArgs, schedule, step_seed, train


class Net(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 4):
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(self.norm(self.layer(x)))


class Task(nn.Module):
    """Learns to copy; keeps every weight it passed through, to re-derive the average."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = Net()
        self.history = []

    def optimizers(self):
        return [torch.optim.AdamW(self.network.parameters(), lr=0.01)]

    def forward(self, step, generator):
        self.network.train()
        self.autocast = torch.is_autocast_enabled("cpu")
        self.history.append({k: v.clone() for k, v in self.network.state_dict().items()})
        x = torch.randn(8, 4, generator=generator)
        return (self.network(x) - x).square().mean(), {}

    def validate(self, network, out):
        assert not network.training
        return {"weight": float(network.layer.weight.sum())}


def run_args(folder, **changes):
    given = {"steps": 6, "batch_size": 8, "lr": 0.01, "warmup": 2, "precision": "no", "validate_every": 3}
    return RunArgs(out=folder, device="cpu", checkpoint_minutes=1e9, **{**given, **changes})


def weights(folder):
    return Net.from_pretrained(folder / "model").state_dict()


def test_average_is_a_true_exponential_mean(tmp_path):
    task = Task()
    train(task, run_args(tmp_path, ema=0.5))
    states = [*task.history[1:], task.network.state_dict()]  # after each step
    mean = {k: v.double() for k, v in states[0].items()}
    for count, state in enumerate(states[1:], start=1):
        decay = min(0.5, (1 + count) / (10 + count))
        mean = {k: decay * mean[k] + (1 - decay) * v.double() for k, v in state.items()}
    saved = weights(tmp_path)
    for name in ("layer.weight", "norm.running_var"):
        assert torch.allclose(saved[name].double(), mean[name], atol=1e-6)
        assert not torch.allclose(saved[name].double(), states[-1][name].double(), atol=1e-6)


def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(tmp_path, monkeypatch):
    train(Task(), run_args(tmp_path / "whole"))
    train(Task(), run_args(tmp_path / "parts", max_minutes=0.0))  # stops, resumably, after its first step
    assert json.loads((tmp_path / "parts" / "args.json").read_text())["max_minutes"] == 0.0
    assert torch.load(tmp_path / "parts" / "checkpoint" / "state.pt", weights_only=True)["step"] == 1
    train(Task(), run_args(tmp_path / "parts"))
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_what_cannot_be_resumed_is_refused(tmp_path, capsys):
    for _ in range(2):
        train(Task(), run_args(tmp_path), {"data": "one"})
    assert "at step 6 already" in capsys.readouterr().err
    other = Task()
    other.network = Net(width=5)
    with pytest.raises(InputError, match="of another network"):
        train(other, run_args(tmp_path, steps=8))
    with pytest.raises(InputError, match="begun with another data"):
        train(Task(), run_args(tmp_path, steps=8), {"data": "other"})
    (tmp_path / "checkpoint" / "state.pt").write_bytes(b"junk")
    with pytest.raises(InputError, match="begin anew with --no-resume"):
        train(Task(), run_args(tmp_path, steps=8))


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    task = Task()
    nn.init.constant_(task.network.layer.weight, torch.nan)
    with pytest.raises(FloatingPointError, match="lower --lr"):
        train(task, run_args(tmp_path))


class Diverging(Task):
    """Whose loss grows, and which is best at step 6."""

    hopeless = 50.0

    def forward(self, step, generator):
        loss, _ = super().forward(step, generator)
        return loss + step, {}

    def goodness(self, metrics):
        return (-abs(metrics["weight"]),)


def test_a_training_that_diverges_stops_with_its_best_weights(tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"more than guessing costs: the last good weights are in .*best; lower"
    ):
        train(Diverging(), run_args(tmp_path, steps=SETTLED + 30))
    best = json.loads((tmp_path / "best" / "best.json").read_text())
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] <= SETTLED + 3 and abs(best["weight"]) == pytest.approx(
        min(abs(line["weight"]) for line in log), abs=1e-5
    )
    assert abs(float(Net.from_pretrained(tmp_path / "best").layer.weight.sum())) == pytest.approx(
        abs(best["weight"]), abs=1e-5
    )


def test_a_step_without_a_number_changes_nothing(tmp_path):
    """The weights stay those before it."""
    task = Task()
    plain = task.forward
    task.forward = lambda step, generator: (plain(step, generator)[0] * (torch.nan if step == 3 else 1), {})
    with pytest.raises(FloatingPointError, match=r"became nan, .* at step 3: no weights were kept before"):
        train(task, run_args(tmp_path, validate_every=100))
    assert all(value.isfinite().all() for value in task.network.state_dict().values())


def test_the_rate_drops_by_tenths(tmp_path):
    args = run_args(tmp_path, steps=100, warmup=10, drops=[0.5, 0.75])
    assert [schedule(step, args) for step in (0, 49, 50, 75)] == pytest.approx([0.1, 1, 0.1, 0.01])


def test_schedule_warms_up_holds_and_falls(tmp_path):
    args = run_args(tmp_path, steps=100, warmup=10, decay=0.5)
    assert schedule(0, args) == pytest.approx(0.1)
    assert schedule(10, args) == schedule(49, args) == 1
    assert schedule(75, args) == pytest.approx(0.5)
    assert schedule(99, args) < 0.01
    seeds = {step_seed(s, step, rank) for s in range(3) for step in range(50) for rank in range(2)}
    assert len(seeds) == 300, "every step and process has its own"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("steps", 0), ("batch_size", 0), ("precision", "fp8"), ("size", 100), ("lr", 0), ("device", "x")],
)
def test_arguments_that_cannot_be_are_refused(tmp_path, name, wrong):
    with pytest.raises(InputError, match=name):
        RunArgs(out=tmp_path, **{name: wrong})


def test_precision_is_chosen_by_run(tmp_path):
    """In one process, and without a trace in the weights' type: bfloat16, then float32."""
    for precision in ("bf16", "no", "bf16"):
        task = Task()
        train(task, run_args(tmp_path, steps=1, precision=precision, resume=False))
        assert task.autocast is (precision == "bf16")
    assert {value.dtype for value in weights(tmp_path).values()} == {torch.float32, torch.int64}


def test_starts_from_a_network(tmp_path):
    train(Task(), run_args(tmp_path / "first"))
    task = Task()
    train(task, run_args(tmp_path / "second", start=tmp_path / "first" / "model", steps=1))
    first = weights(tmp_path / "first")
    assert all(torch.equal(task.history[0][name], first[name]) for name in first)
    Net(width=6).save_pretrained(tmp_path / "other")
    for wrong, why in (("other", "is not the Net"), ("nowhere", "no trained network")):
        with pytest.raises(InputError, match=why):
            train(Task(), run_args(tmp_path / "third", start=tmp_path / wrong))
