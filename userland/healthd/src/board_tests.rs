//! The board against a simulated machine: time is a number.

use super::*;
use crate::limits::LINE_MAX;
use proptest::prelude::*;

const TIMES: Times = Times { settle_ms: 30_000, deadline_ms: 100_000 };

fn check(name: &str, rest: &str) -> Check {
    Check::parse(name, &format!("kind = verity\n{rest}")).unwrap()
}

fn board(checks: Vec<Check>) -> Board {
    Board::new(checks, Vec::new(), TIMES, |_| false, 0)
}

fn fail(why: &str) -> Found {
    Err((Outcome::Fail, why.into()))
}

fn unknown(why: &str) -> Found {
    Err((Outcome::Unknown, why.into()))
}

type Found = Result<(), (Outcome, String)>;

/// Looks at everything that is due until `until`, with these results; each new verdict, and when it came.
fn run(board: &mut Board, until: u64, found: impl Fn(&str, u64) -> Found) -> Vec<(u64, Verdict)> {
    run_from(0, board, until, found)
}

fn run_from(from: u64, board: &mut Board, until: u64, found: impl Fn(&str, u64) -> Found) -> Vec<(u64, Verdict)> {
    let mut verdicts = Vec::new();
    let (mut before, mut now) = (board.verdict().0, from);
    while let Some(next) = board.next_ms(now).filter(|&next| next <= until) {
        assert!(next > now || now == from, "time goes on");
        now = next;
        while let Some(index) = board.next_due(now) {
            let name = board.entries()[index].check.name.clone();
            board.report(index, found(&name, now), now);
        }
        board.decide(now);
        if board.verdict().0 != before {
            before = board.verdict().0;
            verdicts.push((now, before));
        }
    }
    verdicts
}

#[test]
fn all_that_hold_for_the_settling_time_are_good() {
    let mut board = board(vec![check("a", ""), check("b", "after = 5s\n")]);
    assert_eq!(run(&mut board, 200_000, |_, _| Ok(())), [(35_000, Verdict::Good)]);
    assert!(board.verdict().1.is_empty());
}

#[test]
fn one_that_failed_once_in_between_settles_anew_and_is_no_failure() {
    let mut board = board(vec![check("a", ""), check("b", "")]);
    let found = |name: &str, now| if name == "b" && now == 20_000 { fail("once") } else { Ok(()) };
    assert_eq!(run(&mut board, 90_000, found), [(60_000, Verdict::Good)]);
}

#[test]
fn one_that_held_and_fails_twice_in_a_row_is_bad_and_good_again_when_it_has_settled() {
    let mut board = board(vec![check("a", ""), check("b", "")]);
    let found = |name: &str, now| if name == "b" && (50_000..=70_000).contains(&now) { fail("gone") } else { Ok(()) };
    assert_eq!(
        run(&mut board, 200_000, found),
        [(30_000, Verdict::Good), (60_000, Verdict::Bad), (110_000, Verdict::Good)]
    );
}

#[test]
fn one_that_never_held_is_bad_at_the_deadline_with_its_reason() {
    let mut board = board(vec![check("a", ""), check("b", "")]);
    let found = |name: &str, _| if name == "b" { fail("no answer") } else { Ok(()) };
    assert_eq!(run(&mut board, 99_999, found), []);
    assert_eq!(run_from(99_999, &mut board, 200_000, found), [(100_000, Verdict::Bad)]);
    assert_eq!(board.verdict().1, ["b: no answer"]);
    assert_eq!(line(Verdict::Bad, board.verdict().1).unwrap(), "verdict bad b: no answer\n");
}

#[test]
fn what_is_not_known_is_never_good_and_never_bad() {
    let found = |name: &str, _| if name == "b" { unknown("who knows") } else { Ok(()) };
    let mut one = board(vec![check("a", ""), check("b", "")]);
    assert_eq!(run(&mut one, 300_000, found), [(100_000, Verdict::Unknown)]);
    assert_eq!(one.verdict().1, ["b: who knows"]);
    assert_eq!(line(Verdict::Unknown, one.verdict().1), None);
    // A damaged file of the base, and no required check at all.
    let damaged = vec![("c".to_string(), "no check".to_string())];
    let mut two = Board::new(vec![check("a", "")], damaged, TIMES, |_| false, 0);
    assert_eq!(run(&mut two, 300_000, |_, _| Ok(())), [(100_000, Verdict::Unknown)]);
    assert_eq!(two.verdict().1, ["c: no check"]);
    let mut three = board(vec![check("a", "severity = advisory\n")]);
    assert_eq!(run(&mut three, 300_000, |_, _| Ok(())), [(100_000, Verdict::Unknown)]);
    assert_eq!(three.verdict().1, ["no check is required"]);
}

#[test]
fn one_that_settles_late_is_good_late() {
    let mut board = board(vec![check("a", "")]);
    let found = |_: &str, now| if now < 90_000 { unknown("not yet") } else { Ok(()) };
    assert_eq!(run(&mut board, 300_000, found), [(100_000, Verdict::Unknown), (120_000, Verdict::Good)]);
}

#[test]
fn advisory_ones_change_nothing_whatever_made_them_so() {
    let on_data = Check::parse("b", "kind = write\npath = /data\n").unwrap();
    let checks = vec![check("a", ""), on_data, check("c", "severity = advisory\n"), check("d", "")];
    let mut board = Board::new(checks, Vec::new(), TIMES, |name| name == "d", 0);
    let found = |name: &str, _| match name {
        "a" => Ok(()),
        "b" => unknown("/data is not there"),
        _ => fail("broken"),
    };
    assert_eq!(run(&mut board, 200_000, found), [(30_000, Verdict::Good)]);
    assert_eq!(board.entries().iter().filter(|e| e.outcome == Outcome::Fail).count(), 2, "they are told all the same");
}

#[test]
fn lines_are_bounded_and_whole() {
    let reasons: Vec<String> = (0..40).map(|n| format!("chéck-{n}: a\nb")).collect();
    let line = line(Verdict::Bad, &reasons).unwrap();
    assert!(line.len() <= LINE_MAX && line.ends_with('\n') && line.matches('\n').count() == 1);
}

proptest! {
    /// Any course of results: good only after a whole settling time without a break, bad only after a failure that was confirmed.
    #[test]
    fn the_invariants_hold(course in prop::collection::vec((0u8..8, 0u8..8), 1..40)) {
        let mut board = board(vec![check("a", "failures = 2\n"), check("b", "failures = 2\n")]);
        let result = |n: u8| match n { 0 => fail("f"), 1 => unknown("u"), _ => Ok(()) };
        let mut held = [None::<u64>; 2];
        let mut streak = [0u32; 2];
        for (step, (a, b)) in course.iter().enumerate() {
            let now = step as u64 * 10_000;
            for (index, n) in [*a, *b].into_iter().enumerate() {
                board.next_due(now);
                board.report(index, result(n), now);
                streak[index] = if n == 0 { streak[index] + 1 } else { 0 };
                held[index] = if n > 1 { Some(held[index].unwrap_or(now)) } else { None };
            }
            let was = board.verdict().0;
            board.decide(now);
            match board.verdict().0 {
                Verdict::Good if was != Verdict::Good =>
                    prop_assert!(held.iter().all(|h| h.is_some_and(|since| now - since >= TIMES.settle_ms))),
                Verdict::Good => prop_assert!(streak.iter().all(|s| *s < 2)),
                Verdict::Bad if was != Verdict::Bad => prop_assert!(streak.iter().any(|s| *s >= 2)),
                _ => {}
            }
        }
    }
}
