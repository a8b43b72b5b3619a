"""The rule that says which of two encoders is on air."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.model import Role
from media.standby.rule import ILL_S, WELL, Condition, Move, Reason, StandbyRule, other

pytestmark = pytest.mark.unit

PRIMARY, BACKUP = Role.PRIMARY, Role.BACKUP
FINE = Condition(score=1.0, silent=False, ready=True, well_s=100.0)
SILENT = Condition(score=0.0, silent=True, ready=False, ill_s=1.0)
ILL = Condition(score=0.3, silent=False, ready=True, ill_s=ILL_S)
NEW = Condition(score=1.0, silent=False, ready=False)


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (FINE, FINE, None),
        (FINE, None, None),
        (None, FINE, Reason.CLOSED),
        (None, SILENT, Reason.CLOSED),
        (SILENT, FINE, Reason.SILENT),
        (SILENT, SILENT, None),
        (SILENT, NEW, None),
        (ILL, FINE, Reason.UNHEALTHY),
        (ILL, NEW, None),
        (ILL, Condition(score=0.5, silent=False, ready=True), None),
        (Condition(score=0.3, silent=False, ready=True, ill_s=ILL_S / 2), FINE, None),
    ],
)
def test_the_backup_takes_over_when_it_is_better(ours, theirs, reason):
    rule = StandbyRule(return_s=10)
    conditions = {PRIMARY: ours, BACKUP: theirs}
    given_ = {role: each for role, each in conditions.items() if each is not None}
    move = rule.decide(PRIMARY, given_)
    assert move == (Move(role=BACKUP, reason=reason) if reason else None)


def test_what_does_not_send_any_more_is_left_at_once():
    at_once = {reason for reason in Reason if Move(role=BACKUP, reason=reason).at_once}
    assert at_once == {Reason.CLOSED, Reason.SILENT}


@pytest.mark.parametrize(("well_s", "returns"), [(9.9, False), (10.0, True)])
def test_the_show_returns_to_a_primary_that_has_been_well(well_s, returns):
    rule = StandbyRule(return_s=10)
    primary = Condition(score=1.0, silent=False, ready=True, well_s=well_s)
    move = rule.decide(BACKUP, {PRIMARY: primary, BACKUP: FINE})
    assert move == (Move(role=PRIMARY, reason=Reason.RETURNED) if returns else None)


def test_by_hand_it_never_returns_by_itself():
    rule = StandbyRule(return_s=None)
    assert rule.decide(BACKUP, {PRIMARY: FINE, BACKUP: FINE}) is None
    rule.choose(PRIMARY)
    move = rule.decide(BACKUP, {PRIMARY: FINE, BACKUP: FINE})
    assert move == Move(role=PRIMARY, reason=Reason.REQUESTED)


def test_a_chosen_backup_stays_until_the_choice_is_taken_back():
    rule = StandbyRule(return_s=10)
    both = {PRIMARY: FINE, BACKUP: FINE}
    rule.choose(BACKUP)
    assert rule.decide(PRIMARY, both) == Move(role=BACKUP, reason=Reason.REQUESTED)
    assert rule.decide(BACKUP, both) is None
    assert rule.preferred is BACKUP
    rule.choose(None)
    assert rule.decide(BACKUP, both) == Move(role=PRIMARY, reason=Reason.RETURNED)


def test_a_chosen_encoder_that_failed_is_returned_to_by_rule():
    rule = StandbyRule(return_s=10)
    rule.choose(BACKUP)
    assert rule.decide(BACKUP, {PRIMARY: FINE, BACKUP: FINE}) is None
    assert rule.decide(BACKUP, {PRIMARY: FINE}) == Move(role=PRIMARY, reason=Reason.CLOSED)
    back = Condition(score=1.0, silent=False, ready=True, well_s=1.0)
    assert rule.decide(PRIMARY, {PRIMARY: FINE, BACKUP: back}) is None
    assert rule.decide(PRIMARY, {PRIMARY: FINE, BACKUP: FINE}) == Move(
        role=BACKUP, reason=Reason.RETURNED
    )


def test_a_wish_dies_with_the_encoder_it_was_for():
    rule = StandbyRule(return_s=10)
    rule.choose(BACKUP)
    rule.gone(BACKUP)
    back = Condition(score=1.0, silent=False, ready=True, well_s=1.0)
    assert rule.decide(PRIMARY, {PRIMARY: FINE, BACKUP: back}) is None


CONDITIONS = st.builds(
    Condition,
    score=st.floats(0, 1),
    silent=st.booleans(),
    ready=st.booleans(),
    well_s=st.floats(0, 100),
    ill_s=st.floats(0, 100),
)


@given(
    on_air=st.sampled_from(Role),
    conditions=st.dictionaries(st.sampled_from(Role), CONDITIONS),
    return_s=st.none() | st.floats(0, 60),
    chosen=st.none() | st.sampled_from(Role),
)
def test_whatever_comes_nobody_moves_to_something_worse(on_air, conditions, return_s, chosen):
    rule = StandbyRule(return_s=return_s)
    rule.choose(chosen)
    move = rule.decide(on_air, conditions)
    if move is None:
        return
    target = conditions[move.role]
    assert move.role is other(on_air)
    if move.reason is Reason.CLOSED:
        assert on_air not in conditions
        return
    assert not target.silent
    if move.reason is Reason.REQUESTED:  # it goes on air with its key frame
        assert chosen is move.role
        return
    assert target.ready
    if move.reason is Reason.RETURNED:
        assert return_s is not None
        assert target.score >= WELL
    if move.reason is Reason.UNHEALTHY:
        assert target.score > conditions[on_air].score
