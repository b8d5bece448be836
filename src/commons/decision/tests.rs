use super::*;

const COUNT: usize = 2;

fn other(rank: usize, state: Option<MemberState>) -> Other {
    Other {
        rank,
        state,
        behind: false,
        restored: 0,
        unheard: false,
        made_since: 0,
        given_up_until: 0,
        absent_at: NEVER,
        heard_until: NEVER,
        heard_since: Some(0),
        known_since: 0,
    }
}

fn mine(rank: usize, phase: Phase) -> Mine {
    Mine {
        rank: Some(rank),
        not: false,
        phase,
        first: false,
        ran: false,
        evicted: false,
        restored: 0,
        surplus_since: None,
    }
}

const LINK: Link = Link { settled: true, alone_since: None, return_until: 0, foreign: false, unheard: false };
const WANTED: Wanted = Wanted { count: COUNT, on_loss: OnLoss::Replace };
/// Late enough that nothing of the beginning matters.
const LATER: u64 = 48 * 60 * MINUTE;

use MemberState::{
    Claimed, Creating, Failed, Gone, Pulling, Ready, Refused, Retiring, Spare, Starting, Stopped,
};

fn at(now: u64, mine: Mine, others: &[Other], link: Link) -> (Verdict, Option<u64>) {
    let mut moment = Moment::new(now);
    let (verdict, _) = decide(WANTED, mine, others, link, &mut moment);
    (verdict, moment.next())
}

fn told(mine: Mine, others: &[Other]) -> Verdict {
    at(LATER, mine, others, LINK).0
}

#[test]
fn who_holds_a_place() {
    let since = |at, state| Other { made_since: at, ..other(0, Some(state)) };
    let cases = [
        (other(0, Some(Ready)), true),
        (other(0, Some(Failed)), true),
        (other(0, Some(Refused)), false),
        (other(0, Some(Spare)), false),
        (other(0, Some(Retiring)), false),
        (other(0, Some(Gone)), false),
        (other(0, Some(Stopped)), false),
        (since(LATER, Claimed), true),
        (since(LATER, Pulling), true),
        (since(LATER, Creating), true),
        (since(LATER - MADE_WITHIN + 1, Starting), true),
        (since(LATER - MADE_WITHIN, Starting), false),
        (Other { given_up_until: LATER + 1, ..since(LATER, Starting) }, false),
        (Other { given_up_until: LATER, ..since(LATER, Starting) }, true),
        // Given up is who was not ready. Once it is, it is.
        (Other { absent_at: LATER, ..other(0, Some(Ready)) }, false),
        (Other { absent_at: LATER + 1, ..other(0, Some(Ready)) }, true),
        // Stopped with all others, and not yet told to run.
        (Other { behind: true, known_since: LATER, ..other(0, Some(Stopped)) }, true),
        (Other { behind: true, known_since: LATER - SILENCE, ..other(0, Some(Stopped)) }, false),
        // One of the first who says nothing is waited for: until it has been heard for a while, or is absent.
        (Other { heard_since: None, ..other(1, None) }, true),
        (Other { heard_since: Some(LATER - SILENCE + 1), ..other(1, None) }, true),
        (Other { heard_since: Some(LATER - SILENCE), ..other(1, None) }, false),
        (Other { heard_since: None, absent_at: LATER, ..other(1, None) }, false),
        (Other { heard_since: None, ..other(2, None) }, false),
    ];
    for (other, holds) in cases {
        assert_eq!(other.holds(COUNT, &mut Moment::new(LATER)), holds, "{other:?}");
    }
}

#[test]
fn a_spare_claims_when_too_few_hold() {
    let ready = other(0, Some(Ready));
    let spare = |rank| other(rank, Some(Spare));
    // Of two there are two.
    assert_eq!(told(mine(2, Phase::Idle), &[ready, other(1, Some(Ready))]), Verdict::Rest);
    // One is short: it waits for those before it who are due.
    for (others, wait) in [
        (vec![ready], 0),
        (vec![ready, other(1, Some(Refused))], 0),
        (vec![ready, spare(1)], 1),
        (vec![ready, spare(1), spare(3)], 1),
        (vec![spare(0), spare(1), other(3, Some(Ready))], 2),
        // Who is absent, was given up, stopped by its owner or failed is not due.
        (vec![ready, Other { absent_at: LATER, ..spare(1) }], 0),
        (vec![ready, Other { given_up_until: NEVER, ..spare(1) }], 0),
        (vec![ready, other(1, Some(Stopped))], 0),
        // Nor is who said nothing for too long; but it may wake up.
        (vec![ready, other(1, None)], 1),
        // Anywhere in the list.
        (vec![other(5, Some(Ready)), Other { absent_at: LATER, ..ready }], 0),
    ] {
        assert_eq!(told(mine(2, Phase::Idle), &others), Verdict::Claim(wait * CLAIM_STEP), "{others:?}");
    }
    // Not if it may not.
    for (what, link) in [
        ("unsettled", Link { settled: false, ..LINK }),
        ("foreign", Link { foreign: true, ..LINK }),
        ("unheard", Link { unheard: true, ..LINK }),
    ] {
        assert_eq!(at(LATER, mine(2, Phase::Idle), &[ready], link).0, Verdict::Rest, "{what}");
    }
    for me in [
        Mine { evicted: true, ..mine(2, Phase::Idle) },
        Mine { not: true, ..mine(2, Phase::Idle) },
        Mine { rank: None, ..mine(2, Phase::Idle) },
    ] {
        assert_eq!(told(me, &[ready]), Verdict::Rest);
    }
}

#[test]
fn a_claim_is_looked_at_again() {
    let claimed = Phase::Claimed { since: LATER, wait: CLAIM_STEP };
    let again = LATER + CLAIM_STEP;
    let ready = other(0, Some(Ready));
    let made = |rank, state| Other { made_since: LATER, ..other(rank, Some(state)) };
    assert_eq!(at(LATER, mine(2, claimed), &[ready], LINK), (Verdict::Rest, Some(again)));
    for (others, verdict) in [
        (vec![ready], Verdict::Begin),
        (vec![ready, made(1, Claimed)], Verdict::Withdraw),
        (vec![ready, made(3, Claimed)], Verdict::Begin),
        (vec![ready, made(3, Creating)], Verdict::Withdraw),
        (vec![ready, other(3, Some(Ready))], Verdict::Withdraw),
        (vec![ready, Other { made_since: LATER - MADE_WITHIN, ..made(1, Creating) }], Verdict::Begin),
    ] {
        assert_eq!(at(again, mine(2, claimed), &others, LINK).0, verdict, "{others:?}");
    }
    // What it was based on may be wrong by now.
    let unsettled = Link { settled: false, ..LINK };
    assert_eq!(at(again, mine(2, claimed), &[ready], unsettled).0, Verdict::Withdraw);
}

/// The first placement, when nobody has a state yet: the first of the list begin, all others wait for them.
#[test]
fn case_04_the_first_begin_at_once_and_no_others() {
    let silent = |rank| Other { heard_since: None, absent_at: 15 * MINUTE, ..other(rank, None) };
    for rank in 0..6 {
        let others: Vec<Other> = (0..6).filter(|other| *other != rank).map(silent).collect();
        let me = Mine { first: true, ..mine(rank, Phase::Idle) };
        let expected = if rank < COUNT { Verdict::Begin } else { Verdict::Rest };
        for now in [0, SECOND, MINUTE, 14 * MINUTE] {
            assert_eq!(at(now, me, &others, LINK).0, expected, "{rank} at {now}");
        }
        // Not settled, either: it is no replacement.
        assert_eq!(at(0, me, &others, Link { settled: false, ..LINK }).0, expected);
    }
}

/// A better one that never says anything is waited for a minute, and one that never becomes ready a quarter of an hour.
#[test]
fn case_05_who_is_silent_or_slow_is_not_waited_for_for_ever() {
    let ready = other(0, Some(Ready));
    let silent = Other { heard_since: Some(LATER), ..other(1, None) };
    assert_eq!(
        at(LATER, mine(2, Phase::Idle), &[ready, silent], LINK),
        (Verdict::Rest, Some(LATER + SILENCE))
    );
    assert_eq!(
        at(LATER + SILENCE, mine(2, Phase::Idle), &[ready, silent], LINK).0,
        Verdict::Claim(CLAIM_STEP)
    );
    let slow = Other { made_since: LATER, ..other(1, Some(Pulling)) };
    let due = LATER + MADE_WITHIN;
    assert_eq!(at(LATER, mine(2, Phase::Idle), &[ready, slow], LINK), (Verdict::Rest, Some(due)));
    assert_eq!(at(due, mine(2, Phase::Idle), &[ready, slow], LINK).0, Verdict::Claim(0));
}

/// A first boot that crashes does so on every box: no spare is burnt.
#[test]
fn case_05_a_fault_of_the_guest_moves_nothing() {
    assert_eq!(told(mine(2, Phase::Idle), &[other(0, Some(Ready)), other(1, Some(Failed))]), Verdict::Rest);
}

/// What is too many goes by itself, each for itself, when enough better ones have been ready for a while.
#[test]
fn case_09_each_that_is_too_many_goes_by_itself() {
    let ready: Vec<Other> = (0..100).map(|rank| other(rank, Some(Ready))).collect();
    for rank in [COUNT, 50, 99] {
        let others: Vec<Other> = ready.iter().filter(|other| other.rank != rank).copied().collect();
        let mut me = mine(rank, Phase::Runs);
        let mut moment = Moment::new(LATER);
        let (verdict, since) = decide(WANTED, me, &others, LINK, &mut moment);
        assert_eq!((verdict, since, moment.next()), (Verdict::Rest, Some(LATER), Some(LATER + SURPLUS)));
        me.surplus_since = since;
        assert_eq!(at(LATER + SURPLUS, me, &others, LINK).0, Verdict::Retire(Why::Surplus));
        // One that is heard no more is none, and the wait begins anew.
        let mut less = others.clone();
        less.iter_mut().skip(1).for_each(|other| other.heard_until = 0);
        let told = decide(WANTED, me, &less, LINK, &mut Moment::new(LATER + SURPLUS));
        assert_eq!(told, (Verdict::Rest, None));
    }
    for rank in 0..COUNT {
        let others: Vec<Other> = ready.iter().filter(|other| other.rank != rank).copied().collect();
        let me = Mine { surplus_since: Some(0), ..mine(rank, Phase::Runs) };
        assert_eq!(told(me, &others), Verdict::Rest, "{rank}");
    }
}

#[test]
fn who_is_dropped_goes_when_others_are_ready_and_who_shall_not_at_once() {
    let others = [other(0, Some(Ready)), other(1, Some(Ready))];
    let dropped = Mine { rank: None, surplus_since: Some(0), ..mine(0, Phase::Runs) };
    assert_eq!(told(dropped, &others), Verdict::Retire(Why::Dropped));
    assert_eq!(told(dropped, &others[..1]), Verdict::Rest);
    let not = Mine { not: true, ..mine(0, Phase::Runs) };
    for link in [LINK, Link { settled: false, ..LINK }, Link { foreign: true, ..LINK }] {
        assert_eq!(at(LATER, not, &[], link).0, Verdict::Retire(Why::Not));
    }
    for link in [Link { settled: false, ..LINK }, Link { foreign: true, ..LINK }] {
        assert_eq!(at(LATER, dropped, &others, link).0, Verdict::Rest);
    }
}

/// One that hears others and is heard by nobody ranks last; of two copies of one's data there must not be two.
#[test]
fn case_08_who_is_not_heard_ranks_last() {
    let others = [other(1, Some(Ready)), other(2, Some(Ready))];
    let unheard = Link { unheard: true, ..LINK };
    let me = Mine { surplus_since: Some(0), ..mine(0, Phase::Runs) };
    assert_eq!(at(LATER, me, &others, unheard).0, Verdict::Retire(Why::Surplus));
    assert_eq!(at(LATER, me, &others, LINK).0, Verdict::Rest);
    assert_eq!(at(LATER, me, &others[..1], unheard).0, Verdict::Rest);
    let restore = Wanted { on_loss: OnLoss::Restore, ..WANTED };
    let verdict = decide(restore, me, &[], unheard, &mut Moment::new(LATER)).0;
    assert_eq!(verdict, Verdict::Retire(Why::Unheard));
    // Who says so of itself ranks last for others as well.
    let says = Other { unheard: true, ..other(0, Some(Ready)) };
    let me = Mine { surplus_since: Some(0), ..mine(2, Phase::Runs) };
    assert_eq!(told(me, &[says, other(1, Some(Ready))]), Verdict::Rest);
}

/// A later copy wins over a better rank: newer data is not lost by rank.
#[test]
fn case_23_a_later_copy_wins_over_rank() {
    let one = Wanted { count: 1, on_loss: OnLoss::Restore };
    let copy = Other { restored: 5, ..other(3, Some(Ready)) };
    let me = Mine { surplus_since: Some(0), ..mine(0, Phase::Runs) };
    let decide = |me, others: &[Other]| decide(one, me, others, LINK, &mut Moment::new(LATER)).0;
    assert_eq!(decide(me, &[copy]), Verdict::Retire(Why::Surplus));
    assert_eq!(decide(Mine { restored: 6, ..me }, &[copy]), Verdict::Rest);
    assert_eq!(decide(Mine { restored: 5, ..mine(3, Phase::Runs) }, &[other(0, Some(Ready))]), Verdict::Rest);
}

/// Put out is put out for a day, even where it makes the slice short.
#[test]
fn case_28_who_was_put_out_does_not_come_back_at_once() {
    let evicted = Mine { evicted: true, ran: true, first: true, ..mine(0, Phase::Idle) };
    assert_eq!(told(evicted, &[]), Verdict::Rest);
    // Who retired is a spare as all others.
    assert_eq!(told(mine(0, Phase::Idle), &[]), Verdict::Claim(0));
}

#[test]
fn what_ran_comes_back_unless_its_place_was_taken() {
    let ran = Mine { ran: true, ..mine(0, Phase::Idle) };
    let ready = [other(1, Some(Ready)), other(2, Some(Ready))];
    assert_eq!(told(ran, &ready), Verdict::Withdraw);
    assert_eq!(told(ran, &ready[..1]), Verdict::Begin);
    // A state that a broker kept is no proof that its box is there: it counts until the box could have been heard.
    let kept = |rank| Other { heard_since: None, heard_until: 0, ..other(rank, Some(Ready)) };
    let link = Link { return_until: LATER + RETURN, ..LINK };
    assert_eq!(at(LATER, ran, &[kept(1), kept(2)], link), (Verdict::Rest, Some(LATER + RETURN)));
    assert_eq!(at(LATER + RETURN, ran, &[kept(1), kept(2)], link).0, Verdict::Begin);
    let unsettled = Link { settled: false, ..link };
    assert_eq!(at(LATER, ran, &[], unsettled).0, Verdict::Rest);
    // Of two that come back together the better one goes first, and the other waits for it.
    let returns = |rank| Other { made_since: LATER, ..other(rank, Some(Claimed)) };
    let one = Wanted { count: 1, ..WANTED };
    let told_one = |rank, other| {
        let me = Mine { ran: true, ..mine(rank, Phase::Idle) };
        decide(one, me, &[other], LINK, &mut Moment::new(LATER)).0
    };
    assert_eq!((told_one(0, returns(1)), told_one(1, returns(0))), (Verdict::Begin, Verdict::Rest));
    assert_eq!(told_one(1, other(0, Some(Ready))), Verdict::Withdraw);
    // Nobody to ask: after a minute.
    let alone = Link { settled: false, alone_since: Some(LATER), ..LINK };
    assert_eq!(at(LATER, ran, &ready, alone), (Verdict::Rest, Some(LATER + NO_BROKER)));
    assert_eq!(at(LATER + NO_BROKER, ran, &ready, alone).0, Verdict::Begin);
    let foreign = Link { foreign: true, ..alone };
    assert_eq!(at(LATER + NO_BROKER, ran, &ready, foreign).0, Verdict::Rest);
    // What did not run before does not begin.
    assert_eq!(at(LATER + NO_BROKER, mine(0, Phase::Idle), &[], alone).0, Verdict::Rest);
}

/// With `keep` who is absent keeps its place.
#[test]
fn absence_alone_makes_nobody_due_who_shall_be_kept() {
    let gone = |absent_at| Other { absent_at, heard_until: 0, ..other(0, Some(Ready)) };
    assert_eq!(told(mine(2, Phase::Idle), &[gone(LATER), other(1, Some(Ready))]), Verdict::Claim(0));
    assert_eq!(told(mine(2, Phase::Idle), &[gone(NEVER), other(1, Some(Ready))]), Verdict::Rest);
}

/// Images change one after the other: better ones that are there first, and no further where a guest failed.
#[test]
fn case_22_an_image_changes_one_after_the_other() {
    let behind = |rank| Other { behind: true, ..other(rank, Some(Ready)) };
    let after = |rank, state| other(rank, Some(state));
    for (others, at, goes) in [
        (vec![], 0, true),
        (vec![after(0, Ready)], 0, true),
        (vec![behind(0)], 0, false),
        (vec![behind(0)], ROLL_STEP, true),
        (vec![behind(0), behind(1)], ROLL_STEP, false),
        (vec![behind(0), behind(1)], 2 * ROLL_STEP, true),
        (vec![after(0, Creating)], 0, false),
        (vec![behind(3)], 0, true),
        (vec![Other { absent_at: 0, ..behind(0) }], 0, true),
        (vec![after(0, Refused)], 0, true),
        (vec![after(0, Spare)], 0, true),
        (vec![after(0, Failed)], 100 * ROLL_STEP, false),
        // That one failed before the change.
        (vec![Other { behind: true, ..after(0, Failed) }], 0, true),
    ] {
        let mut moment = Moment::new(at);
        assert_eq!(may_roll(2, &others, 0, &mut moment), goes, "{others:?}");
    }
}
