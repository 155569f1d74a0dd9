"""What stands between strangers' requests and the app: `space.guard`, `space.mistakes` and Gradio's own books."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio")

import gradio as gr
from gradio import state_holder
from gradio.queueing import Queue
from gradio.server_messages import ProcessCompletedMessage, ProcessStartsMessage

from idgen.ground.errors import InputError
from space.gradio_private import GuardedBlocks, Messages, Session, forget_unread
from space.mistakes import OURS


@pytest.fixture
def page() -> GuardedBlocks:
    def answer(text: str, memory: Any) -> tuple[str, str]:
        if text == "mistake":
            raise InputError("That is <no> good: try <b>another</b>.")
        return f"{text} {1 / (text != 'fault')}", text

    with GuardedBlocks() as blocks:
        text, memory = gr.Textbox(), gr.State("nothing")
        text.submit(answer, [text, memory], [text, memory], api_name="answer")
    return blocks


def ask(page: GuardedBlocks, data: list[Any], **options: Any) -> dict[str, Any]:
    (function,) = page.fns.values()
    return asyncio.run(page.process_api(function, data, **options))


def refusal(page: GuardedBlocks, data: list[Any]) -> str:
    with pytest.raises(gr.Error) as caught:
        ask(page, data)
    assert not caught.value.print_exception, "nothing on the console"
    return str(caught.value.message)


def test_every_failure_is_a_sentence(page: GuardedBlocks, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(page, ["hello", None])["data"][0] == "hello 1.0"
    assert refusal(page, ["mistake", None]) == "That is &lt;no&gt; good: try &lt;b&gt;another&lt;/b&gt;."
    assert refusal(page, []).startswith("The request does not fit this app")
    assert "none is fetched" in refusal(page, [{"a": [{"path": "https://example.com/x.png"}]}, None])
    assert not caplog.records
    with caplog.at_level(logging.ERROR):
        assert refusal(page, ["fault", None]) == OURS
    (record,) = caplog.records
    assert record.getMessage().startswith("ZeroDivisionError at test_guard.py:") and "fault" not in record.getMessage()


def test_a_session_keeps_its_state_and_nothing_that_was_sent(page: GuardedBlocks) -> None:
    state = state_holder.SessionState(page)  # as Gradio makes one for every visit
    assert isinstance(state, Session)
    ask(page, ["a secret", None], state=state)
    assert list(state.state_data.values()) == ["a secret"], "gr.State is what the app asked to be kept"
    assert not state.config_values and not list(state.components)


def test_credentials_that_are_half_there_stop_the_launch(page: GuardedBlocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDGEN_C2PA_CERT", "chain.pem")
    with pytest.raises(InputError, match="Signing needs both"):
        page.launch(prevent_thread_lock=True, quiet=True)


def test_launched_alone_and_events_are_not_tabulated(page: GuardedBlocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a server for pages everybody would come from this machine; the table took the time of a small picture."""
    monkeypatch.setenv("GRADIO_SSR_MODE", "True")
    with closing(page):
        there = f"{page.launch(prevent_thread_lock=True, quiet=True)[1]}gradio_api/call/answer"
        for text in "abc":
            event = httpx.post(there, json={"data": [text]}).json()["event_id"]
            assert "complete" in httpx.get(f"{there}/{event}").text
    assert page.ssr_mode is False
    assert page._queue.events_recorded == 3 and len(page._queue.event_analytics) == 1
    assert page._queue.cached_event_analytics_summary == {"functions": {}}


def test_who_came_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("space.gradio_private._WAITING", 2)
    unfinished = {"a": set(), "b": {"an event"}, "c": set(), "d": set()}
    messages = Messages(unfinished)
    for session in unfinished.copy():
        messages[session] = asyncio.Queue()
    messages["nobody"].put_nowait("what is for somebody unknown goes nowhere")
    assert list(messages) == ["c", "d"]
    assert unfinished == {"b": {"an event"}, "c": set(), "d": set()}, "what is not delivered is still expected"


def test_answers_that_nobody_fetches_are_forgotten() -> None:
    queue, left, working = Queue(True, 1, 1.0, 10, blocks=GuardedBlocks()), asyncio.Queue(), asyncio.Queue()
    queue.pending_messages_per_session |= {"left": left, "working": working}
    done = ProcessCompletedMessage(event_id="e", output={"data": ["a secret"]}, success=True)
    for messages, message in ((left, done), (working, ProcessStartsMessage(event_id="f", eta=None))):
        messages.put_nowait(message)
        queue.event_ids_to_events[message.event_id] = SimpleNamespace(data="a secret")
    seen = forget_unread(queue, {})
    assert left._queue[0] is done, "somebody may still come for it"
    seen = forget_unread(queue, seen)
    (message,) = left._queue
    assert message.event_id == "e" and "ask again" in message.output["error"] and not message.success
    assert queue.event_ids_to_events["e"].data is None and queue.event_ids_to_events["f"].data == "a secret"
    assert len(working._queue) == 1 and set(queue.pending_messages_per_session) == {"left", "working"}
    assert forget_unread(queue, forget_unread(queue, seen)) == {} or len(left._queue) == 1
