//! What was found by those who attacked an early version, row by row, and by which tests each stays shut: those of this
//! suite, of the system tests, and unit tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

struct Row {
    name: &'static str,
    what: &'static str,
    tests: &'static [&'static str],
}

const ROWS: [Row; 14] = [
    Row {
        name: "V1",
        what: "a caller names any path: an export becomes a script of the box's",
        tests: &[
            "a_call_names_files_below_what_the_owner_has_listed_and_no_others",
            "only_regular_files_below_what_is_listed_are_read",
            "nothing_that_is_there_is_written_to",
            "what_is_handed_over_opens_no_more_than_its_opener_could",
            "an_export_becomes_no_script_of_the_boxs",
            "every_call_is_answered_whatever_it_says",
        ],
    },
    Row {
        name: "V2",
        what: "a caller reads any file of the box as a first-boot script",
        tests: &[
            "a_first_boot_script_is_its_text_and_never_a_path",
            "a_first_boot_script_reads_no_file_of_the_boxs",
        ],
    },
    Row {
        name: "V3",
        what: "who may write UCI moves lxcpath into a guest, or storage to /tmp",
        tests: &[
            "what_others_could_have_laid_down_is_not_taken_over",
            "what_callers_may_write_moves_neither_lxcs_directory_nor_the_storage",
            "the_mode_of_a_directory_of_somebody_elses_stays",
            "what_is_the_owners_alone_is_moved_once_to_a_file_of_its_own",
            "each_method_is_granted_either_to_readers_or_to_writers",
        ],
    },
    Row {
        name: "V4",
        what: "after a kill a helper keeps the lock, and no daemon can start any more",
        tests: &[
            "a_holder_has_none_of_our_descriptors",
            "no_program_gets_a_descriptor_of_ours",
            "a_program_dies_with_the_thread_that_started_it",
            "whatever_is_killed_nothing_is_lost_risen_half_made_or_left_over",
        ],
    },
    Row {
        name: "V5",
        what: "a guest's process is called like LXC's monitor, and the next daemon waits for it",
        tests: &["a_guests_process_is_never_taken_for_lxcs_monitor", "only_the_boxs_own_processes_are_believed"],
    },
    Row {
        name: "V6",
        what: "a guest has addresses without end, and those of others",
        tests: &[
            "a_guest_with_addresses_without_end_fails_no_list",
            "a_guest_with_very_many_addresses_has_sixteen",
            "only_what_can_be_a_guests_is_believed",
            "what_a_guest_changes_by_itself_is_written_once_in_five_seconds",
            "who_asks_for_little_is_answered_soon_whatever_the_others_do",
        ],
    },
    Row {
        name: "V7",
        what: "a guest's tree is deeper than a stack, and than there are descriptors",
        tests: &[
            "whatever_tree_a_guest_makes_it_is_copied_and_removed",
            "ten_thousand_in_one_another_are_walked_and_removed_on_a_small_stack",
            "a_tree_that_changes_while_it_is_copied_and_removed_harms_nobody",
            "odd_trees_of_all_kinds",
        ],
    },
    Row {
        name: "V8",
        what: "who asks for much at once makes all others wait, and takes memory and disk",
        tests: &[
            "who_asks_for_little_is_answered_soon_whatever_the_others_do",
            "many_looks_share_answers_and_of_one_caller_few_wait",
            "a_server_that_leads_elsewhere_or_never_ends_is_left",
        ],
    },
    Row {
        name: "V9",
        what: "a guest freezes its own groups, and cannot be ended",
        tests: &[
            "a_guest_that_freezes_its_own_groups_is_ended_by_force",
            "what_a_guest_has_frozen_itself_is_killed_all_the_same",
        ],
    },
    Row {
        name: "V10",
        what: "a guest speaks for others on the wire",
        tests: &[
            "what_a_guest_says_of_others_reaches_neither_them_nor_the_box",
            "what_is_not_its_own_reaches_nobody",
        ],
    },
    Row {
        name: "V11",
        what: "a guest makes control groups and keys, which no limit counts",
        tests: &[
            "what_the_kernel_has_for_all_a_guest_does_not_get",
            "a_guests_groups_are_bounded",
            "what_a_guest_is_refused",
        ],
    },
    Row {
        name: "V12",
        what: "a guest takes all inotify instances of the box's root",
        tests: &[
            "when_a_guest_has_all_inotify_instances_the_box_goes_on_and_says_so",
            "inotify_instances_are_counted_before_they_are_none",
        ],
    },
    Row {
        name: "V13",
        what: "a server brings an old image back, by an old list that is rightly signed",
        tests: &[
            "an_older_version_does_not_come_back_and_an_index_binds_its_lists",
            "an_old_list_brings_no_old_image_back",
        ],
    },
    Row {
        name: "V14",
        what: "descriptors that are inherited, files that are none, leases, texts for a terminal, what a kill leaves",
        tests: &[
            "a_program_in_a_guest_has_three_descriptors",
            "what_is_no_regular_file_or_too_large_is_refused_at_once",
            "only_regular_files_of_few_bytes_are_read",
            "replies_that_others_made_too_long_are_shortened",
            "a_guest_that_rages_leaves_the_others_and_the_box_alone",
            "a_terminal_is_not_to_be_commanded",
            "archives_of_strangers_become_whole_containers_or_none",
            "a_temporary_file_that_stays_is_swept",
        ],
    },
];

/// The names of all tests below `dir`.
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for test in text.split("#[test]").skip(1) {
                let name = test.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                found.extend(name.map(String::from));
            }
        }
    }
}

#[test]
fn every_row_is_held_by_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for dir in ["src", "tests", "crates"] {
        tests_below(&root.join(dir), &mut found);
    }
    for Row { name, what, tests } in &ROWS {
        assert!(!tests.is_empty(), "{name}: {what}");
        for test in *tests {
            assert!(found.contains(*test), "{name}: {what}: there is no test {test}");
        }
    }
}
