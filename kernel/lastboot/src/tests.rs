use super::*;
use proptest::prelude::*;

const HEAD_OF_TEST: Head<'static> = Head { time: 5, slot: 1, release: [0xab; 32], kernel: b"0.1.0 test" };

fn nothing() -> Vec<u8> {
    vec![0; AREA]
}

/// A boot that writes these texts.
fn boot(area: &mut [u8], texts: &[(Part, &[u8])]) {
    let mut claim = claim(area, &HEAD_OF_TEST).unwrap();
    for (part, text) in texts {
        claim.parts[*part as usize].push(text, |_| {});
    }
}

/// What the next boot finds.
fn found(area: &mut [u8]) -> Result<String, Option<Fault>> {
    match claim(area, &HEAD_OF_TEST).unwrap().previous {
        Previous::Nothing => Err(None),
        Previous::Refused(fault) => Err(Some(fault)),
        Previous::Found(record) => Ok(record.text()),
    }
}

#[test]
fn memory_that_holds_nothing_is_no_record() {
    assert_eq!(found(&mut nothing()), Err(None));
    assert_eq!(found(&mut [0xff; AREA]), Err(None));
    assert!(!is_used(&nothing()) && claim(&mut [0; AREA - 1], &HEAD_OF_TEST).is_none());
}

#[test]
fn a_boot_that_panicked_is_told_to_the_next_and_only_to_the_next() {
    let mut area = nothing();
    boot(
        &mut area,
        &[
            (Part::Events, b"[evt] a t=0.000001\n"),
            (Part::Console, b"\x1b[1mroot\x1b[0m\r\n# "),
            (Part::End, b"panic it is\x07 only a test"),
            (Part::Report, b"kernel panic\n  main+0x4\n"),
        ],
    );
    assert!(is_used(&area));
    let digest = "ab".repeat(32);
    assert_eq!(
        found(&mut area).unwrap(),
        format!(
            "boot 1\nstarted 5\nslot b\nrelease {digest}\nkernel 0.1.0 test\nend panic\nwhy it is\\x07 only a test\n\
             [report]\n  kernel panic\n    main+0x4\n[events]\n  [old] a t=0.000001\n[console]\n  \\x1b[1mroot\\x1b[0m\n  # \n"
        )
    );
    // That was a boot too, which ended without a word.
    let second = found(&mut area).unwrap();
    assert!(second.starts_with("boot 2\n") && second.ends_with("end cut\n"), "{second}");
}

#[test]
fn no_event_of_the_console_it_is_shown_on_comes_out() {
    let mut area = nothing();
    boot(
        &mut area,
        &[
            (Part::Console, b"[ev\rt] kernel.panic t=0.000001\nx [evt] a.b t=0.000002 [evt] [[evt] \n"),
            (Part::End, b"panic [evt] a"),
        ],
    );
    let text = found(&mut area).unwrap();
    assert!(!text.contains("[evt] ") && text.matches("[old] ").count() == 5, "{text}");
}

#[test]
fn each_damage_of_a_head_is_refused_and_reported_once() {
    let cases: [(usize, u8, Fault); 4] =
        [(8, 2, Fault::Version(2)), (16, 1, Fault::Head), (32, 9, Fault::Head), (HEAD - 1, 1, Fault::Head)];
    for (at, byte, fault) in cases {
        let mut area = nothing();
        boot(&mut area, &[]);
        boot(&mut area, &[]);
        // The second one lies in the second place.
        area[RECORD + at] = byte;
        assert_eq!(found(&mut area), Err(Some(fault)), "the older one is not taken for the newest");
        assert!(found(&mut area).is_ok(), "and what was refused is gone");
        area[at] = byte;
        area[RECORD + at] = byte;
        assert_eq!(found(&mut area), Err(Some(fault)));
        assert!(found(&mut area).is_ok());
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn a_number_that_would_be_the_newest_for_ever_is_refused() {
    let mut area = nothing();
    record::begin(&mut area[..RECORD], SEQUENCE_MAX + 1, &HEAD_OF_TEST);
    assert_eq!(found(&mut area), Err(Some(Fault::Sequence(SEQUENCE_MAX + 1))));
    record::begin(&mut area[..RECORD], SEQUENCE_MAX, &HEAD_OF_TEST);
    assert!(found(&mut area).is_ok());
}

#[test]
fn a_damaged_part_is_named_and_the_others_are_shown() {
    for part in Part::ALL {
        let mut area = nothing();
        let texts: Vec<_> = Part::ALL.map(|part| (part, &b"panic all\n"[..])).into();
        boot(&mut area, &texts);
        let before = HEAD + Part::ALL[..part as usize].iter().map(|part| part.length()).sum::<usize>();
        area[before + part::COUNTERS + 3] ^= 0x10;
        let text = found(&mut area).unwrap();
        assert!(text.contains(&format!("\ndamaged {}\n", part.name())), "{text}");
        assert_eq!(text.matches("panic all").count(), if part == Part::End { 3 } else { 2 }, "{text}");
        assert_eq!(text.contains("end unknown"), part == Part::End);
    }
}

#[test]
fn what_an_older_record_left_in_a_part_is_not_taken_for_this_ones() {
    let mut area = nothing();
    boot(&mut area, &[(Part::Report, b"old\n")]);
    let old = area[HEAD..RECORD].to_vec();
    boot(&mut area, &[]);
    boot(&mut area, &[]);
    // The third boot is where the first was; its parts are as the first left them, as if nothing had reached memory.
    area[HEAD..RECORD].copy_from_slice(&old);
    let text = found(&mut area).unwrap();
    assert!(text.starts_with("boot 3\n") && text.contains("damaged report") && !text.contains("old"), "{text}");
}

#[test]
fn ends_have_names_of_their_own() {
    let all = [End::Panic, End::Restart, End::Stop, End::GaveUp, End::Watchdog];
    let names: std::collections::BTreeSet<_> = all.iter().map(|end| end.name()).chain([CUT, "unknown"]).collect();
    assert_eq!(names.len(), all.len() + 2);
}

proptest! {
    /// A part holds the last bytes of all that was written, however it came, and `changed` names every byte that became another.
    #[test]
    fn a_part_is_the_tail_of_what_was_written(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)) {
        let room = Part::End.length() - part::COUNTERS;
        let mut bytes = vec![0xee; Part::End.length()];
        let mut seen = vec![0; Part::End.length()];
        let start = bytes.as_ptr() as usize;
        let mut recorder = Recorder::begin(&mut bytes, 7);
        for piece in &pieces {
            recorder.push(piece, |changed| {
                let at = changed.as_ptr() as usize - start;
                seen[at..at + changed.len()].copy_from_slice(changed);
            });
        }
        prop_assert_eq!(recorder.is_empty(), pieces.iter().all(Vec::is_empty));
        if !pieces.is_empty() {
            prop_assert_eq!(&seen, &bytes);
        }
        let all = pieces.concat();
        let tail = Tail::parse(&bytes, 7).unwrap();
        prop_assert_eq!(tail.bytes().collect::<Vec<_>>(), &all[all.len().saturating_sub(room)..]);
        prop_assert_eq!(tail.is_cut, all.len() > room);
        prop_assert!(Tail::parse(&bytes, 8).is_none());
    }

    /// A bit that flips is found wherever it is, and so is a count.
    #[test]
    fn a_flipped_bit_is_found(written in 0usize..1000, at in 0usize..512, bit in 0u8..8) {
        let mut bytes = vec![0; Part::End.length()];
        Recorder::begin(&mut bytes, 7).push(&vec![b'x'; written], |_| {});
        bytes[at] ^= 1 << bit;
        let unused = at >= part::COUNTERS + written;
        prop_assert_eq!(Tail::parse(&bytes, 7).is_some(), unused);
    }

    /// Whatever memory holds, it is claimed, the boot after finds this one, and nothing but printable lines comes out.
    #[test]
    fn no_memory_harms(noise in prop::collection::vec((0usize..AREA, any::<u8>()), 0..64), boots in 0usize..4) {
        let mut area = nothing();
        for _ in 0..boots {
            boot(&mut area, &[(Part::Console, &[0, 0x1b, b'\n', 0xff]), (Part::End, b"panic")]);
        }
        for (at, byte) in noise {
            area[at] = byte;
        }
        if let Ok(text) = found(&mut area) {
            prop_assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        }
        prop_assert!(found(&mut area).is_ok());
    }
}
