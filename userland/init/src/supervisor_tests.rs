//! The supervisor against a simulated system: time is a number, processes are a list.

use super::*;
use proptest::prelude::*;

fn service(name: &str, rest: &str) -> Service {
    Service::parse(name, &format!("exec = /bin/{name}\n{rest}")).unwrap()
}

fn new(services: Vec<Service>) -> (Supervisor, Vec<Event>) {
    let mut log = Vec::new();
    (Supervisor::new(services, false, &mut log), log)
}

fn lines(log: &mut Vec<Event>) -> Vec<String> {
    log.drain(..).map(|e| e.line().into()).collect()
}

/// Starts all that is due, with process ids from `pid` on; which services were started.
fn start_all(s: &mut Supervisor, now: u64, mut pid: u32, log: &mut Vec<Event>) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((index, service)) = s.next_start(now, log) {
        names.push(service.name.clone());
        s.started(index, pid, now, log);
        pid += 1;
    }
    names
}

#[test]
fn services_start_in_the_order_of_after_once_those_are_up() {
    let (mut s, mut log) = new(vec![
        service("a", "after = c\n"),
        service("b", "ready = notify\nrequired_for_ready = yes\n"),
        service("c", "after = b\n"),
    ]);
    assert_eq!(start_all(&mut s, 5, 10, &mut log), ["b"]);
    s.announce(&mut log);
    s.ready(1);
    assert_eq!(start_all(&mut s, 6, 11, &mut log), ["c", "a"]);
    s.announce(&mut log);
    s.announce(&mut log);
    assert_eq!(
        lines(&mut log),
        [
            "service.start name=b pid=10 restarts=0",
            "service.start name=c pid=11 restarts=0",
            "service.start name=a pid=12 restarts=0",
            "boot.ready services=3",
        ]
    );
}

#[test]
fn each_state_has_its_word() {
    let (mut s, mut log) = new(vec![
        service("a", "ready = exit\nrestart = never\n"),
        service("b", "ready = notify\n"),
        service("c", "after = b\n"),
        service("d", "after = nobody\n"),
        service("e", "ready = exit\nrestart = never\n"),
    ]);
    assert_eq!(start_all(&mut s, 0, 7, &mut log), ["a", "b", "e"]);
    s.exited(7, 0, 1, &mut log);
    s.exited(9, 1, 1, &mut log);
    assert_eq!(s.states(), "a done 0 0\nb starting 8 0\nc waiting 0 0\nd failed 0 0\ne failed 0 0\n");
    s.ready(1);
    s.exited(8, 1, 2, &mut log);
    assert_eq!(s.states().lines().nth(1), Some("b waiting 0 1"));
}

#[test]
fn the_wait_doubles_to_its_maximum_and_the_limit_ends_it() {
    let (mut s, mut log) = new(vec![service(
        "x",
        "restart = always\nbackoff = 100ms\nbackoff_max = 350ms\nrestart_limit = 4\nrequired_for_ready = yes\n",
    )]);
    let (mut now, mut waits) = (0, Vec::new());
    loop {
        let started = start_all(&mut s, now, 7, &mut log);
        assert_eq!(started, ["x"]);
        assert!(s.exited(7, 1, now, &mut log));
        let Some(due) = s.next_due_ms() else { break };
        assert!(start_all(&mut s, due - 1, 7, &mut log).is_empty(), "nothing starts early");
        waits.push(due - now);
        now = due;
    }
    assert_eq!(waits, [100, 200, 350, 350]);
    let all = lines(&mut log);
    assert_eq!(
        all[all.len() - 2..],
        [
            "service.exit name=x pid=7 status=1 restarts=4",
            "service.failed name=x what=restart why=\"ended 5 times in a row within 5000 ms\"",
        ]
    );
}

#[test]
fn a_long_run_starts_again_at_once_and_forgets_the_failures() {
    let (mut s, mut log) = new(vec![service("x", "restart = always\nrestart_limit = 2\n")]);
    for (now, lasted, wait) in [(0, 10, 100), (1_000, 10, 200), (2_000, 5_000, 0), (9_000, 10, 100), (10_000, 0, 200)] {
        assert_eq!(start_all(&mut s, now, 3, &mut log), ["x"]);
        assert!(s.exited(3, 0, now + lasted, &mut log));
        assert_eq!(s.next_due_ms(), Some(now + lasted + wait));
    }
}

#[test]
fn each_policy_does_what_it_says() {
    for (policy, status, again, failed) in [
        ("always", 0, true, false),
        ("always", 3, true, false),
        ("on-failure", 0, false, false),
        ("on-failure", 3, true, false),
        ("never", 0, false, false),
        ("never", 137, false, true),
    ] {
        let (mut s, mut log) = new(vec![service("x", &format!("restart = {policy}\n"))]);
        start_all(&mut s, 0, 3, &mut log);
        s.exited(3, status, 10, &mut log);
        assert_eq!(s.next_due_ms().is_some(), again, "{policy} {status}");
        assert_eq!(lines(&mut log).iter().any(|l| l.starts_with("service.failed")), failed, "{policy} {status}");
    }
}

#[test]
fn a_one_shot_is_up_when_it_has_ended_well() {
    let (mut s, mut log) = new(vec![
        service("once", "ready = exit\nrestart = never\nrequired_for_ready = yes\n"),
        service("then", "after = once\n"),
    ]);
    assert_eq!(start_all(&mut s, 0, 3, &mut log), ["once"]);
    s.announce(&mut log);
    s.exited(3, 0, 1, &mut log);
    s.announce(&mut log);
    assert_eq!(start_all(&mut s, 1, 4, &mut log), ["then"]);
    assert_eq!(
        lines(&mut log)[1..],
        [
            "service.exit name=once pid=3 status=0 restarts=0",
            "boot.ready services=1",
            "service.start name=then pid=4 restarts=0"
        ]
    );
}

#[test]
fn a_failure_reaches_all_that_wait_for_it_and_the_boot() {
    let (mut s, mut log) = new(vec![
        service("a", "after = b\n"),
        service("b", "after = c\nrequired_for_ready = yes\n"),
        service("c", "ready = exit\nrestart = never\n"),
    ]);
    assert_eq!(start_all(&mut s, 0, 3, &mut log), ["c"]);
    s.exited(3, 2, 1, &mut log);
    assert!(start_all(&mut s, 1, 4, &mut log).is_empty());
    s.announce(&mut log);
    assert_eq!(
        lines(&mut log)[2..],
        [
            "service.failed name=c what=exit why=\"ended with status 2\"",
            "service.failed name=b what=after why=\"'c' failed\"",
            "service.failed name=a what=after why=\"'b' failed\"",
            "boot.failed what=services why=\"'b' failed\"",
        ]
    );
}

#[test]
fn circles_and_unknown_names_fail_and_leave_the_rest_alone() {
    let (mut s, mut log) = new(vec![
        service("a", "after = b\n"),
        service("b", "after = a\n"),
        service("c", "after = nobody\n"),
        service("d", ""),
    ]);
    assert_eq!(start_all(&mut s, 0, 3, &mut log), ["d"]);
    assert_eq!(
        lines(&mut log)[..3],
        [
            "service.failed name=c what=after why=\"there is no service 'nobody'\"",
            "service.failed name=a what=after why=\"waits for itself by way of other services\"",
            "service.failed name=b what=after why=\"waits for itself by way of other services\"",
        ]
    );
}

#[test]
fn a_boot_of_which_nothing_is_known_is_not_ready() {
    for (broken, services, why) in [
        (true, vec![service("x", "required_for_ready = yes\n")], "\"a service file is not valid\""),
        (false, vec![service("x", "")], "\"no service is required_for_ready\""),
    ] {
        let mut log = Vec::new();
        let mut s = Supervisor::new(services, broken, &mut log);
        start_all(&mut s, 0, 3, &mut log);
        s.announce(&mut log);
        assert_eq!(lines(&mut log).last().unwrap(), &format!("boot.failed what=services why={why}"));
    }
}

#[test]
fn a_program_that_cannot_run_is_a_failed_run() {
    let (mut s, mut log) = new(vec![service("x", "restart_limit = 1\nrequired_for_ready = yes\nready = notify\n")]);
    for wait in [Some(100), None] {
        let now = s.next_due_ms().unwrap();
        let (index, _) = s.next_start(now, &mut log).unwrap();
        s.not_started(index, "exec", "ENOENT", now, &mut log);
        assert_eq!(s.next_due_ms().map(|due| due - now), wait);
    }
    s.announce(&mut log);
    assert_eq!(lines(&mut log).last().unwrap(), "boot.failed what=services why=\"'x' failed\"");
}

#[test]
fn a_stranger_is_reaped_without_a_word() {
    let (mut s, mut log) = new(vec![service("x", "")]);
    start_all(&mut s, 0, 3, &mut log);
    log.clear();
    assert!(!s.exited(99, 0, 1, &mut log));
    assert!(log.is_empty());
    assert_eq!(s.running().collect::<Vec<_>>(), [(3, false)]);
}

proptest! {
    /// Any course of exits: one process each, waits within bounds, one announcement.
    #[test]
    fn the_invariants_hold(
        course in prop::collection::vec((0usize..3, 0u32..3, 0u64..8_000), 0..60),
        policies in prop::collection::vec(0usize..3, 3),
    ) {
        let policy = ["always", "on-failure", "never"];
        let services = (0..3).map(|i| {
            let name = ["a", "b", "c"][i];
            service(name, &format!("restart = {}\nbackoff_max = 2s\nrequired_for_ready = yes\n", policy[policies[i]]))
        });
        let (mut s, mut log) = new(services.collect());
        let (mut now, mut pid, mut announced) = (0, 100, 0);
        for (which, status, passed) in course {
            now += passed;
            let before = s.running().count();
            let started = start_all(&mut s, now, pid, &mut log).len();
            pid += 3;
            prop_assert_eq!(s.running().count(), before + started);
            let chosen = s.running().nth(which);
            if let Some((running, _)) = chosen {
                prop_assert!(s.exited(running, status, now, &mut log));
                prop_assert!(!s.exited(running, status, now, &mut log));
            }
            if let Some(due) = s.next_due_ms() {
                prop_assert!(due <= now + 2_000);
            }
            s.announce(&mut log);
            announced += lines(&mut log).iter().filter(|l| l.starts_with("boot.")).count();
            prop_assert!(announced <= 1);
        }
    }
}
