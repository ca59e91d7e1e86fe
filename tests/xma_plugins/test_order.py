"""What each answer of a plugin allows next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xma_plugins.errors import OrderError, PluginError
from xma_plugins.order import Order
from xma_plugins.status import Status

S = Status
PICTURE, OTHER, END = object(), object(), object()


class Calls:
    """An application and a plugin whose answers are given."""

    def __init__(self, *, ends_by_send=False):
        self.order = Order("session 1", "send", "recv", ends_by_send=ends_by_send)

    def send(self, status, item=PICTURE):
        self.order.before_send(item, item is END)
        self.order.after_send(status, item, item is END)
        return self

    def receive(self, *statuses):
        for status in statuses:
            self.order.before_receive()
            self.order.after_receive(status)
        return self

    def refuse(self, item=PICTURE):
        self.order.before_send(item, item is END)
        self.order.after_refusal()
        return self

    def allowed(self):
        """Return what of ``send`` (anything), ``again``, ``end`` and ``recv`` is allowed."""
        found = set()
        for name, item in (("other", OTHER), ("again", PICTURE), ("end", END)):
            if not _is_refused(lambda item=item: self.order.before_send(item, item is END)):
                found.add(name)
        if not _is_refused(self.order.before_receive):
            found.add("recv")
        return found


def _is_refused(call):
    try:
        call()
    except OrderError:
        return True
    return False


ANY = {"other", "again", "end"}


@pytest.mark.parametrize(
    ("calls", "allowed"),
    [
        (lambda: Calls(), ANY),
        (lambda: Calls().send(S.SUCCESS), {"recv"}),
        (lambda: Calls().send(S.SUCCESS).receive(S.SUCCESS), ANY | {"recv"}),
        (lambda: Calls().send(S.SUCCESS).receive(S.TRY_AGAIN), ANY),
        (lambda: Calls().send(S.SUCCESS).receive(S.SEND_MORE_DATA), ANY),
        (lambda: Calls().send(S.SUCCESS).receive(S.SUCCESS, S.TRY_AGAIN), ANY),
        (lambda: Calls().send(S.SEND_MORE_DATA), ANY),
        (lambda: Calls().send(S.TRY_AGAIN), {"recv"}),
        (lambda: Calls().send(S.TRY_AGAIN).receive(S.SUCCESS), {"again", "recv"}),
        (lambda: Calls().send(S.TRY_AGAIN).receive(S.SUCCESS, S.TRY_AGAIN), {"again"}),
        (lambda: Calls().send(S.TRY_AGAIN).receive(S.SUCCESS).refuse(), ANY | {"recv"}),
        (lambda: Calls().send(S.RESEND_AND_RECV), {"again", "recv"}),
        (lambda: Calls().send(S.RESEND_AND_RECV).refuse(), ANY | {"recv"}),
        (lambda: Calls().send(S.RESEND_AND_RECV).receive(S.SUCCESS), {"again", "recv"}),
        (lambda: Calls().send(S.SUCCESS, END), {"recv"}),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.SUCCESS), {"recv"}),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.TRY_AGAIN), {"recv"}),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.EOS), set()),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.END_OF_FILE), set()),
        (lambda: Calls().send(S.FLUSH_AGAIN, END), {"recv"}),
        (lambda: Calls().send(S.FLUSH_AGAIN, END).receive(S.SUCCESS), {"end", "recv"}),
        (lambda: Calls().send(S.FLUSH_AGAIN, END).receive(S.EOS), set()),
        (lambda: Calls().send(S.TRY_AGAIN, END), {"recv"}),
        (lambda: Calls().send(S.TRY_AGAIN, END).receive(S.SUCCESS), {"end", "recv"}),
        (lambda: Calls().send(S.RESEND_AND_RECV, END), {"end", "recv"}),
    ],
)
def test_what_is_allowed(calls, allowed):
    assert calls().allowed() == allowed


def test_an_end_that_is_refused_after_it_was_half_taken_is_told_again():
    calls = Calls().send(S.FLUSH_AGAIN, END).receive(S.SUCCESS)
    calls.send(S.TRY_AGAIN, END).receive(S.SUCCESS)
    assert calls.allowed() == {"end", "recv"}
    calls.send(S.SUCCESS, END).receive(S.SUCCESS, S.EOS)
    assert calls.order.ended


@pytest.mark.parametrize("end", [S.EOS, S.END_OF_FILE])
def test_a_scaler_ends_by_sending(end):
    calls = Calls(ends_by_send=True).send(S.SUCCESS).receive(S.SUCCESS)
    calls.send(S.SUCCESS, END).receive(S.SUCCESS)
    assert calls.allowed() == {"end", "recv"}
    calls.receive(S.TRY_AGAIN).send(S.FLUSH_AGAIN, END).receive(S.SUCCESS)
    calls.send(end, END)
    assert calls.order.ended
    assert calls.allowed() == set()


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Calls().send(S.EOS),
        lambda: Calls().send(S.FLUSH_AGAIN),
        lambda: Calls().send(None),
        lambda: Calls().send(S.SEND_MORE_DATA, END),
        lambda: Calls().send(S.EOS, END),
        lambda: Calls(ends_by_send=True).send(S.EOS),
        lambda: Calls().send(S.SUCCESS).receive(S.EOS),
        lambda: Calls().send(S.SUCCESS).receive(S.END_OF_FILE),
        lambda: Calls().send(S.SUCCESS).receive(S.FLUSH_AGAIN),
        lambda: Calls().send(S.SUCCESS).receive(S.RESEND_AND_RECV),
        lambda: Calls().send(S.SUCCESS).receive(None),
        lambda: Calls().send(S.TRY_AGAIN, END).receive(S.EOS),
    ],
)
def test_an_answer_without_meaning_is_the_plugins_fault(broken):
    with pytest.raises(PluginError, match=r"session 1: its plugin answers .* which has no meaning"):
        broken()


@pytest.mark.parametrize("item", [PICTURE, END])
def test_try_again_from_both_sides_is_the_plugins_fault(item):
    with pytest.raises(PluginError, match="TRY_AGAIN to send and to recv"):
        Calls().send(S.TRY_AGAIN, item).receive(S.TRY_AGAIN)
    Calls().send(S.TRY_AGAIN, item).receive(S.SUCCESS, S.TRY_AGAIN)


@pytest.mark.parametrize(
    ("calls", "item", "message"),
    [
        (Calls, None, "recv of session 1 is out of order: nothing was sent yet; call send first"),
        (
            lambda: Calls().send(S.SUCCESS),
            PICTURE,
            "send of session 1 is out of order: send returned SUCCESS; call recv before it",
        ),
        (
            lambda: Calls().send(S.TRY_AGAIN).receive(S.SUCCESS),
            OTHER,
            r"the last one was not taken \(it returned TRY_AGAIN\); send the same again",
        ),
        (lambda: Calls().send(S.SEND_MORE_DATA), None, "there is nothing to receive; send the ne"),
        (lambda: Calls().send(S.SUCCESS).receive(S.TRY_AGAIN), None, "nothing left; send first"),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.SUCCESS), END, "receive until EOS"),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.EOS), PICTURE, "destroy the session"),
        (lambda: Calls().send(S.SUCCESS, END).receive(S.EOS), None, "the stream has ended"),
    ],
)
def test_messages_say_what_to_do(calls, item, message):
    order = calls().order
    with pytest.raises(OrderError, match=message):
        order.before_receive() if item is None else order.before_send(item, item is END)


@given(st.data(), st.booleans())
def test_there_is_always_something_that_may_be_called_until_the_end(data, ends_by_send):
    calls = Calls(ends_by_send=ends_by_send)
    for _ in range(12):
        if calls.order.ended:
            break
        allowed = sorted(calls.allowed())
        assert allowed
        call = data.draw(st.sampled_from(allowed))
        status = data.draw(st.sampled_from(list(Status)))
        item = {"other": OTHER, "again": PICTURE, "end": END}.get(call)
        try:
            calls.receive(status) if item is None else calls.send(status, item)
        except PluginError:
            break
    if calls.order.ended:
        assert calls.allowed() == set()
