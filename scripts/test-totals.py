#!/usr/bin/env python3
"""Passes on what test programs say on its input, and ends with what failed, what was skipped and why, and the totals.

    ... | scripts/test-totals.py [FILE]

Understands `cargo test -- --show-output` and node's TAP. A Rust test has no way to say that it is skipped: ours print a line
`skipped: REASON` and return, or `skipped in part: REASON` and go on, which counts as passed. FILE has a line for each
program that did not end well. The status is 1 if anything failed.
"""

import os
import re
import sys

RESULT = re.compile(r"test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored")
OUTPUT_OF = re.compile(r"---- (.*) stdout ----$")
VERDICT = re.compile(r"test (.*) \.\.\. (FAILED|ignored(?:, (.*))?)$")
TAP_VERDICT = re.compile(r"\s*(ok|not ok) \d+ - (.*?)(?: # SKIP(.*))?$")
TAP_COUNT = re.compile(r"# (pass|fail|cancelled) (\d+)$")

passed = failed = 0
failures = []
skipped = []
in_part = []

test = ""
# The output of tests that passed is not for people: only what they skipped is.
in_successes = False
for line in sys.stdin:
    line = line.rstrip("\n")
    if line == "successes:":
        in_successes = True
    elif line == "failures:" or RESULT.match(line):
        in_successes = False
    if not in_successes:
        print(line, flush=True)
    if found := OUTPUT_OF.match(line):
        test = found[1]
    elif in_successes and line.startswith("skipped: ") and test:
        skipped.append((test, line.removeprefix("skipped: ")))
        passed -= 1
        # A second line of the same test counts no second time.
        test = ""
    elif in_successes and line.startswith("skipped in part: "):
        in_part.append((test, line.removeprefix("skipped in part: ")))
    elif found := RESULT.match(line):
        passed += int(found[1])
        failed += int(found[2])
    elif found := VERDICT.match(line):
        if found[2] == "FAILED":
            failures.append(found[1])
        else:
            skipped.append((found[1], found[3] or "no reason is given"))
    elif found := TAP_COUNT.match(line):
        if found[1] == "pass":
            passed += int(found[2])
        else:
            failed += int(found[2])
    elif found := TAP_VERDICT.match(line):
        if found[3] is not None:
            skipped.append((found[2], found[3].strip() or "no reason is given"))
        elif found[1] == "not ok":
            failures.append(found[2])

if len(sys.argv) > 1 and os.path.exists(sys.argv[1]):
    with open(sys.argv[1]) as lines:
        programs = lines.read().splitlines()
    # Each has told of its tests, unless it did not get that far.
    if programs and not failed:
        failed = len(programs)
        failures = programs

print()
for name in failures:
    print(f"failed: {name}")
for name, reason in skipped:
    print(f"skipped: {name}: {reason}")
for name, reason in in_part:
    print(f"skipped in part: {name}: {reason}")
print(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
sys.exit(failed > 0)
