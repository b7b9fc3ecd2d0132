//! What is wrong after a cut is told: the sweep says no when the log, the promises or the model are not those of the run.

use std::rc::Rc;
use std::sync::Arc;

use datafs::ROOT;
use datatool::sweep::cut::Effort;
use datatool::sweep::log::{Look, sweep_log};
use datatool::sweep::pair::Claim;
use datatool::sweep::record::{Event, Site, sites};
use datatool::sweep::run::{Plan, Run, sweep};
use datatool::sweep::workloads;

const PREFIXES: Effort = Effort { window_max: 0, subsets: 0, sectors: 0, torn: 0, stride: 1 };
const PLAN: Plan = Plan { cuts: PREFIXES, first: 0, recover: 10, again: 1, seed: 1 };

fn wrong(run: &Run) -> String {
    sweep(run, None, &PLAN).expect_err("nothing is found to be wrong").what
}

/// Flips a bit of the write that is this far before the first flush of a kind.
fn flip(run: &mut Run, site: Site, before: usize) {
    let recording = &mut run.recording;
    let flush =
        sites(&recording.log, &recording.geometry.unwrap()).into_iter().find(|flush| flush.1 == site).unwrap().0;
    let Event::Write { bytes, .. } = &mut recording.log[flush - before] else { panic!("no write") };
    Arc::make_mut(bytes)[300] ^= 1;
}

#[test]
fn other_bytes_of_a_file() {
    let mut run = workloads::replace(2);
    flip(&mut run, Site::Data, 1);
    assert!(wrong(&run).contains("sector 0 holds version None"), "{}", wrong(&run));
}

#[test]
fn a_record_that_is_torn() {
    let mut run = workloads::replace(2);
    flip(&mut run, Site::Record, 1);
    assert!(wrong(&run).contains("was promised"), "{}", wrong(&run));
}

#[test]
fn damage_at_home() {
    let mut run = workloads::replace(2);
    flip(&mut run, Site::Homes, 1);
    assert!(wrong(&run).contains("checksum"), "{}", wrong(&run));
}

#[test]
fn a_promise_that_was_not_kept() {
    let mut run = workloads::replace(2);
    let record = *run.history.states.keys().next_back().unwrap();
    run.history.claims.insert(1, Claim { time: 2, record });
    assert!(wrong(&run).contains("was promised"), "{}", wrong(&run));
}

#[test]
fn a_record_that_leads_elsewhere() {
    type Edit = fn(&mut datatool::sweep::model::Node);
    let edits: [(Edit, &str); 3] = [
        (|root| root.names.extend([(b"ghost".to_vec(), 9)]), "names"),
        (|root| root.attributes.modified += 1, "attributes"),
        (|root| root.xattrs.extend([(b"user.ghost".to_vec(), vec![1])]), "extended attributes"),
    ];
    for (edit, what) in edits {
        let mut run = workloads::replace(2);
        let mut entry = run.history.states.last_entry().unwrap();
        edit(Rc::make_mut(entry.get_mut().nodes.get_mut(&ROOT).unwrap()));
        assert!(wrong(&run).contains(what), "{}", wrong(&run));
    }
}

/// Without a model the flushes say what was promised, and a recovery must lead to what was found.
#[test]
fn a_recording_of_which_nothing_else_is_known() {
    let cuts = Effort { window_max: 5, subsets: 4, ..PREFIXES };
    let run = workloads::storm(3);
    let look = Look { cuts, first: 0, one_in: 1, seed: 1 };
    let tried = |run: &Run| sweep_log(&run.recording, &[], &look, &mut |_| Ok(()));
    let counts = tried(&run).unwrap_or_else(|violation| panic!("{violation:?}"));
    assert!(counts.states > 100 && counts.second_cuts > 0, "{counts:?}");
    for site in [Site::Record, Site::Homes] {
        let mut run = workloads::storm(5);
        flip(&mut run, site, 1);
        assert!(tried(&run).is_err(), "{site:?}");
    }
}
