"""Go-back-N: what may be sent when, whatever the server and the link do."""

from __future__ import annotations

import pytest

from onboard.window import Patience, Window

PATIENCE = Patience(answer_s=3.0, retry_min_s=0.2, retry_max_s=5.0)


@pytest.fixture
def window() -> Window:
    """Window of four entries that has greeted and heard that nothing is committed yet."""
    window = Window(lambda: 0.5, size=4, patience=PATIENCE)
    assert window.greeting_due(0.0)
    window.greeted(0.0)
    window.answered(0.0, last=0, resend=False)
    return window


def send(window: Window, newest: int, now_s: float = 0.0) -> list[int]:
    due = [*window.sendable(newest)]
    for seq in due:
        window.sent(now_s, seq)
    return due


def test_nothing_is_sent_before_the_server_has_answered():
    window = Window(lambda: 0.5)
    assert not window.sendable(newest=9)


def test_no_more_than_the_window_is_in_flight(window):
    assert send(window, newest=9) == [1, 2, 3, 4]
    assert send(window, newest=9) == []


def test_each_acknowledged_entry_makes_room_for_one(window):
    send(window, newest=9)
    window.answered(0.1, last=2, resend=False)
    assert send(window, newest=9) == [5, 6]


def test_resend_goes_back_once_however_often_it_is_asked(window):
    send(window, newest=9)
    for _ in range(3):
        window.answered(0.1, last=1, resend=True)
        again = send(window, newest=9)
        assert again in ([2, 3, 4, 5], [])
    assert again == []


def test_a_second_loss_at_the_same_place_is_noticed_by_the_clock(window):
    send(window, newest=4)
    window.answered(0.1, last=0, resend=True)
    send(window, newest=4, now_s=0.1)
    assert not window.greeting_due(3.0)
    window.greeting_due(3.2)
    assert not window.streaming


def test_silence_while_nothing_is_in_flight_is_no_trouble(window):
    assert not window.greeting_due(1e6)


def test_an_answer_that_brings_nothing_new_does_not_hide_a_loss(window):
    send(window, newest=4)
    for tenth in range(29):
        window.answered(tenth / 10, last=0, resend=False)
    window.greeting_due(3.1)
    assert not window.streaming


def test_pauses_double_up_to_the_longest_and_carry_jitter():
    for chance, factor in ((0.0, 0.5), (0.999999, 1.5)):
        window = Window(lambda chance=chance: chance, patience=PATIENCE)
        now_s, pauses = 0.0, []
        for _ in range(8):
            window.interrupted(now_s)
            due_s = now_s
            while not window.greeting_due(due_s):
                due_s += 0.001
            pauses.append((due_s - now_s) / factor)
            now_s = due_s
        assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0], abs=0.01)


def test_only_progress_resets_the_pause(window):
    """A server whose disk is full greets, and refuses what comes then."""
    for _ in range(6):
        window.interrupted(0.0)
        window.answered(0.0, last=0, resend=False)
    window.interrupted(0.0)
    assert not window.greeting_due(4.9)
    window.answered(5.0, last=1, resend=False)
    window.interrupted(5.0)
    assert window.greeting_due(5.2)


def test_after_an_outage_it_goes_on_from_what_the_server_has(window):
    send(window, newest=4)
    window.interrupted(1.0)
    window.answered(2.0, last=2, resend=False)
    assert send(window, newest=9) == [3, 4, 5, 6]


def test_a_server_that_forgot_is_greeted_anew(window):
    send(window, newest=4)
    window.answered(0.1, last=4, resend=False)
    window.answered(0.2, last=1, resend=False)
    assert not window.streaming
    assert window.greeting_due(1.0)


def test_go_back_sends_a_replaced_entry_again(window):
    send(window, newest=4)
    window.go_back(2)
    assert send(window, newest=4) == [3, 4]
