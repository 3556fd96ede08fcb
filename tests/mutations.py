"""Named mistakes in the guard and the chain, each with the test that must notice it.

    python tests/mutations.py [NAME…]     makes each mistake in a copy and runs its test

A mistake is a replacement in one module's text, made while a forked process imports it. It is
found when its test turns red; a replacement that no longer fits is an error as well.
"""

# ruff: noqa: E501 (a table)

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent
QUOTA = "codesearch_resources.quota"
GUARD, WINDOWS = "tests/test_guard.py", "tests/test_windows.py"
METERED, LEDGER, CHAIN = "tests/test_metered.py", "tests/test_ledger.py", "tests/test_chain.py"
FIXTURES = ("tests/test_slices.py",)  # modules whose tests need conftest
SECONDS = 60  # for one test; a mistake that hangs is found as well


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in `module`; `test` is a pytest node id."""

    name: str
    module: str
    old: str
    new: str
    test: str


def _of(name: str, module: str, old: str, new: str, test: str) -> Mutation:
    return Mutation(name, f"{QUOTA}.{module}", old, new, test)


def _chain(name: str, module: str, old: str, new: str, test: str) -> Mutation:
    return Mutation(name, f"codesearch_resources.{module}", old, new, test)


MUTATIONS = (
    _of("W-1 class by label", "windows", "kind = kind_of(length)",
        'kind = {"primary": "5h"}.get(label, "week")', f"{WINDOWS}::test_w1_swapped_positions_change_nothing"),
    _of("W-1 no tolerance", "windows", "TOLERANCE = 0.05", "TOLERANCE = 0.0",
        f"{WINDOWS}::test_w1_the_class_is_by_length"),
    _of("W-2 first place is 5h", "windows", "kind = kind_of(length)",
        'kind = "5h" if label == "primary" else kind_of(length)',
        f"{GUARD}::test_02_a_week_in_the_first_place_is_held_to_the_weeks_reserve"),
    _of("W-3 one window is enough", "guard", "for window in binding:", "for window in binding[:1]:",
        f"{GUARD}::test_02_month_and_week_are_both_enforced"),
    _of("W-4 no reserve for the unknown", "rules", "max(self.reserve.values(), default=0.0) if",
        "0.0 if", f"{GUARD}::test_w4_a_window_of_unknown_length_is_held_to_the_strictest_reserve"),
    _of("W-5 length is believed", "windows", "left > length * (1 + TOLERANCE)", "False",
        f"{WINDOWS}::test_w5_a_reset_beyond_the_window_discredits_its_length"),
    _of("W-6 scale by size", "fields", "share(fields.get(name), 100) for name in USED",
        "share(fields.get(name), 100 if (number(fields.get(name)) or 0) > 1 else 1) for name in USED",
        f"{WINDOWS}::test_w6_the_name_decides_the_scale"),
    _of("W-6 left is used", "fields", "inverse = 1 - left if", "inverse = left if",
        f"{GUARD}::test_04_ninety_means_what_its_name_says"),
    _of("W-6 the lower counts", "fields", "return max(direct, inverse)", "return min(direct, inverse)",
        f"{WINDOWS}::test_w6_of_two_that_differ_the_higher_use_counts"),
    _of("W-7 none is zero", "fields", "return None if found is None or found < 0 else found / full",
        "return max(0.0, found or 0.0) / full", f"{WINDOWS}::test_w7_what_is_no_use_is_none"),
    _of("W-7 over the limit is cut", "fields", "else found / full", "else min(1.0, found / full)",
        f"{WINDOWS}::test_w7_above_the_limit_is_kept"),
    _of("W-8 milliseconds are seconds", "fields", "found /= 1000", "pass",
        f"{GUARD}::test_06_resets_in_every_form"),
    _of("W-8 the earlier counts", "fields", "return max(at, after)", "return min(at, after)",
        f"{WINDOWS}::test_w8_moment_and_delay"),
    _of("W-9 own clock", "windows", "return server_clock - here", "return 0.0",
        f"{GUARD}::test_07_a_wrong_clock_decides_the_same"),
    _of("W-10 sparse readings drop", "meter", "if not report.full and successor is None:",
        "if False:", f"{WINDOWS}::test_w10_a_sparse_reading_drops_nothing"),
    _of("W-10 never dropped", "meter", "if old.missing_since is None:", "if True:",
        f"{WINDOWS}::test_w10_a_window_is_dropped_when_two_full_readings_lack_it"),
    _of("W-11 place is identity", "windows", "return self.feature, f\"{self.kind}:{self.label}\" if self.kind == UNKNOWN else self.kind",
        "return self.feature, self.label", f"{WINDOWS}::test_w11_a_place_that_changes_its_class_is_another_window"),
    _of("W-12 one reading is enough", "meter", "if due or _confirms(old.pending, new):", "if True:",
        f"{GUARD}::test_08_a_transient_zero_lets_nothing_through"),
    _of("W-12 never believed", "meter", "return new.heard_at - pending.heard_at >= CONFIRM_AFTER",
        "return False", f"{GUARD}::test_09_a_real_reset_is_taken_up_after_two_readings"),
    _of("W-12 any boundary agrees", "meter", "return same_boundary and", "return",
        f"{WINDOWS}::test_w12_the_second_reading_must_name_the_same_boundary"),
    _of("W-12 use falls", "meter", "used=max(old.used, new.used),", "used=new.used,",
        f"{WINDOWS}::test_w12_noise_below_five_points_is_no_reset"),
    _of("W-13 late readings count", "meter", "report.heard_at < state.heard_at", "False",
        f"{WINDOWS}::test_w13_older_readings_and_other_accounts_are_ignored"),
    _of("W-13 any account counts", "meter", "report.account != state.account", "False",
        f"{WINDOWS}::test_w13_older_readings_and_other_accounts_are_ignored"),
    _of("W-13 old readings hold", "guard", "too_old = age > rules.unknown_after or age < -FROM_THE_FUTURE",
        "too_old = False", f"{GUARD}::test_11_a_reading_ages_to_unknown"),
    _of("W-13 unknown is free", "guard", "if not binding and rules.shared:", "if False:",
        f"{GUARD}::test_11_a_meter_that_cannot_be_read_denies_a_subscription"),
    _of("W-14 the meter beats a reading's refusal", "guard", "if state.refused:", "if False:",
        f"{GUARD}::test_10_what_a_reading_refuses_is_denied_whatever_its_percentages"),
    _of("W-14 the meter beats a 429", "books", 'self.breakers["refused"] = Breaker("refused", why, now, until, told)',
        "pass", f"{GUARD}::test_10_a_refusal_beats_the_meter_and_retry_after"),
    _of("W-14 the shorter wait counts", "books", "until, told = old.until, old.told", "pass",
        f"{GUARD}::test_10_a_refusal_beats_the_meter_and_retry_after"),
    _of("W-15 extra limits bind all", "rules", "return named == plain_name(model) or not named.startswith(\"gpt-\")",
        "return True", f"{GUARD}::test_w15_an_extra_limit_binds_its_model_alone_and_an_unknown_one_binds_all"),
    _of("W-15 unknown features bind none", "rules", "or not named.startswith(\"gpt-\")", "",
        f"{GUARD}::test_w15_an_extra_limit_binds_its_model_alone_and_an_unknown_one_binds_all"),
    _of("W-16 null is zero", "readers.ollama_usage", "if not _is_none(limit)", "if True",
        f"{WINDOWS}::test_w16_ollamas_limits_are_shares_and_null_is_no_limit"),
    _of("R-1 no reserve", "guard", "    return 1 - floor", "    return 1.0",
        f"{GUARD}::test_01_each_class_has_its_reserve"),
    _of("R-2 the shortest wait counts", "guard", "found.until > wait.until", "found.until < wait.until",
        f"{GUARD}::test_01_the_5h_window_waits_for_its_own_reset"),
    _of("R-3 no pace", "guard", "elif rules.pace and", "elif False and",
        f"{GUARD}::test_r3_pace_spreads_the_allowance_over_the_window"),
    _of("R-4 every hour", "guard", "if rules.hours is not None:", "if False:",
        f"{GUARD}::test_r4_quiet_hours"),
    _of("R-5 no consideration", "guard", "most = rules.unobserved / 2 if person else rules.unobserved",
        "most = rules.unobserved", f"{GUARD}::test_14_a_person_halves_what_may_be_ahead_of_the_meter"),
    _of("R-5 a person is a fault", "movement", "if self._is_excess(key, now) and not doubt:",
        "if True:", f"{GUARD}::test_l3_a_meter_that_goes_on_moving_is_somebody_else"),
    _of("L-2 no check of a call", "books", "if excess:", "if False:",
        f"{GUARD}::test_12_a_call_that_is_charged_many_times_over_stops_the_job_at_the_twentieth"),
    _of("L-2 output is not looked at", "books", '(("input", self.inputs), ("output", self.outputs))',
        '(("input", self.inputs),)', f"{GUARD}::test_12_hidden_output_counts_as_well"),
    _of("L-3 no check of the meter", "movement", "self.suspect_since = now", "pass",
        f"{GUARD}::test_l3_the_meter_against_the_books"),
    _of("L-3 no verdict", "movement", "verdict = verdict or self._words(moved)", "pass",
        f"{GUARD}::test_l3_the_meter_against_the_books"),
    _of("L-4 only the reading counts", "guard", "used + unobserved * per_cost * CAUTION", "used",
        f"{GUARD}::test_l4_what_was_sent_since_the_reading_counts_half_as_much_again"),
    _of("L-4 no caution", "guard", "CAUTION = 1.5", "CAUTION = 1.0",
        f"{GUARD}::test_l4_what_was_sent_since_the_reading_counts_half_as_much_again"),
    _of("L-5 no cap", "guard", "unobserved * bound > most + _ROUNDING", "False",
        f"{GUARD}::test_l5_the_cap_follows_the_tightest_window"),
    _of("L-5 no quantum", "movement", "moved.crossed * self.rules.quantum", "0",
        f"{GUARD}::test_l5_the_cap_follows_the_tightest_window"),
    _of("L-5 answers are observed at once", "books", "through = heard_at - self.rules.settle",
        "through = heard_at", f"{GUARD}::test_l6_twenty_then_settle_then_double"),
    _of("L-6 no slow start", "guard", "if sent >= quota:", "if False:",
        f"{GUARD}::test_l6_twenty_then_settle_then_double"),
    _of("L-6 a pause is none", "books", "now - start.last_at > LONG_PAUSE", "False",
        f"{GUARD}::test_l6_a_new_model_and_a_long_pause_start_again"),
    _of("L-6 no stages", "books", "return None if self.stage > ROUNDS else", "return None and",
        f"{GUARD}::test_l6_a_new_model_and_a_long_pause_start_again"),
    _of("L-7 missing is free", "books", "expected * MISSING_COST if taken is None else taken",
        "taken or 0.0", f"{GUARD}::test_l7_answers_without_usage_cost_half_as_much_again_and_stop_a_subscription"),
    _of("L-7 missing for ever", "books", "if missing and self.rules.shared:", "if False:",
        f"{GUARD}::test_l7_answers_without_usage_cost_half_as_much_again_and_stop_a_subscription"),
    _of("L-8 a fall gives back", "books", "self._exhausted = any(", "self.spent *= 0.5\n        self._exhausted = any(",
        f"{GUARD}::test_l8_a_meter_that_falls_gives_nothing_back"),
    _of("H-3 no budget of a day", "guard", "daily is not None and", "False and",
        f"{GUARD}::test_h3_a_budget_is_each_meters_own"),
    _of("H-10 a redeemed reset changes nothing", "books", 'self.breakers.pop("refused", None)', "pass",
        f"{GUARD}::test_10_a_redeemed_reset_closes_the_breaker_when_it_is_confirmed"),
    _of("consent is not asked", "guard", "if rules.shared and not rules.allowed:", "if False:",
        f"{GUARD}::test_a_subscription_is_drawn_on_only_when_the_entry_says_so"),
    _of("bought credits are spent", "guard", "if rules.shared and state.credits and not rules.bought:",
        "if False:", f"{GUARD}::test_bought_credits_are_not_reached_by_a_reserve_of_nothing"),
    _of("a person's money is no breaker", "guard", "yield Deny(breaker.why)", "pass",
        f"{GUARD}::test_21_what_breaks_the_money_stops_everything"),
    _of("no price is free", "guard", "if expected is None:", "if False:",
        f"{GUARD}::test_23_the_fast_tier_by_model_and_no_price_is_no_yes"),
    _of("cached above input", "rates", "cached = min(cached, whole_input)", "pass",
        f"{GUARD}::test_24_parts_larger_than_their_whole_are_cut_and_flagged"),    _of("L-3 a lag is a person", "movement", "SHOWN, LOOK = 2.4, 1.0", "SHOWN, LOOK = 2.0, 1.0",
        f"{GUARD}::test_l3_what_shows_after_half_an_hour_is_nobody_else"),
    _of("every part is the run's purse", "metered", "if self._tally.calls + len(self._pending) >= most:", "if False:",
        f"{METERED}::test_a_key_without_a_meter_is_held_to_the_runs_purse"),
    _of("any entry may draw on a subscription", "metered", "if desk.rules.shared and not self._allowed[estimate.provider]:",
        "if False:", f"{METERED}::test_the_yes_of_one_provider_is_not_that_of_another"),
    _of("other processes do not count", "desk", "rows = [row for row in rows if row.owner != self._owner or first]",
        "rows = []", f"{METERED}::test_what_other_processes_send_counts"),
    _of("H-9 a pause is forgotten", "desk", "for kind in (PAUSED, *SOUND):", "for kind in SOUND:",
        f"{METERED}::test_a_pause_holds_over_restarts_and_in_every_process"),
    _of("H-9 a breaker is forgotten", "desk", "self._kept.mark(self.rules.meter, kind, breaker.why, now)", "pass",
        f"{METERED}::test_what_stopped_a_meter_stops_it_after_a_restart_until_a_person_resumes_it"),
    _of("W-14 a refusal is one process's own", "desk", "self._kept.refuse(self.rules.meter, refusal)", "pass",
        f"{METERED}::test_w14_a_refusal_closes_the_meter_in_every_process_and_after_a_restart"),
    _of("W-14 a refusal outlives the reset", "desk", "self._kept.lift(self.rules.meter, found)\n            found = None", "pass",
        f"{METERED}::test_w14_a_reset_that_another_process_saw_lifts_the_refusal"),
    _of("W-14 any window's reset lifts a refusal", "books", "not told or reset.longest or _same(reset.due, until)", "True",
        f"{METERED}::test_w14_the_reset_of_another_window_lifts_no_refusal"),
    _of("W-14 calls under way together double each for itself", "books", "if began > self.refused_at:", "if True:",
        f"{METERED}::test_calls_that_were_refused_together_close_the_meter_once"),
    _of("W-14 any reset time is believed", "desk", "if now < at < now + FURTHEST:", "if True:",
        f"{METERED}::test_a_reset_time_that_cannot_be_is_waited_for_by_probes"),
    _of("W-14 each process doubles for itself", "desk", "self.books.count_refusal(row.began_at, ended)", "pass",
        f"{METERED}::test_the_pause_after_refusals_without_a_time_goes_on_doubling_after_a_restart"),
    _of("L-8 a model that left took nothing", "books", "self.rules.taken(estimate.model, usage, dollars)", "self.rules.charged(estimate.model, usage)",
        f"{METERED}::test_calls_of_a_model_that_left_the_settings_keep_their_price"),
    _of("L-8 old calls by the card alone", "rules", "if rate is None and dollars is not None:", "if False:",
        f"{METERED}::test_calls_of_a_model_that_left_the_settings_keep_their_price"),
    _chain("L-8 the embedder's price is nobody's", "summarizers.chain", "[*self._beside, *(", "[*(",
        f"{METERED}::test_what_an_embedder_takes_of_a_shared_meter_is_known_to_the_chain"),
    _of("H-3 a batch of texts is a run", "metered", "prices, tally or Tally())", "prices, Tally())",
        "tests/test_one_run.py::test_vectors_of_all_repositories_share_the_limits_of_a_run"),
    _chain("H-1 a secret blames the model", "summarizers.shift", "self._order.results.quarantine, self._caller.place", "self._order.results.quarantine, self._settings.model",
        f"{CHAIN}::test_a_secret_found_stays_here_and_is_written_by_the_same_model_at_home"),
    _chain("H-1 the first provider or none", "summarizers.chain",
        "link.summarize(tuple(left.values()), order, guard)", "self.links[0].summarize(tuple(left.values()), order, guard)",
        f"{METERED}::test_12_the_canary_stops_at_twenty_and_the_next_provider_finishes"),
    _chain("H-2 a provider that was left is asked again", "summarizers.chain",
        "if self.name in order.remainder.closed or order.late:", "if order.late:",
        f"{METERED}::test_h2_a_provider_that_was_left_stays_left_for_the_slice"),
    _chain("H-4 nobody knows when to go on", "summarizers.order", "self.next_at = min(self.next_at or until, until)",
        "pass", f"{METERED}::test_16_every_provider_denied_leaves_a_remainder_and_the_right_time"),
    _chain("H-5 what was paid for is not kept", "ledger", "                **_usage_columns(usage),\n            )\n            keep(connection, written)",
        "                **_usage_columns(usage),\n            )", f"{LEDGER}::test_an_answer_settles_its_row_and_its_summary_at_once"),
    _chain("H-6 no leases", "ledger", "if _any_key(connection, tables.leases, keys):", "if False:",
        f"{LEDGER}::test_a_key_is_written_by_one_and_known_to_all_after_that"),
    _chain("H-7 nobody knows who wrote it", "summarizers.call", 'Summary(text, "model", name, model, prompt.PROMPT_VERSION)',
        'Summary(text, "model", name, "", prompt.PROMPT_VERSION)', f"{CHAIN}::test_every_piece_is_written_once_and_says_who_wrote_it"),
    _chain("W-14 Retry-After beats the reset", "summarizers.troubles", "if resets_at is not None and now < resets_at < now + FARTHEST_RESET:",
        "if False:", f"{CHAIN}::test_a_reset_time_beats_whatever_retry_after_says"),
    Mutation("H-8 no stand-ins", "codesearch_assets.summaries", "    _project(store, results, repo, wanted, known, result)\n",
        "", "tests/test_slices.py::test_without_any_time_every_chunk_has_its_stand_in_all_the_same"),
)  # fmt: skip


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds one module and loads it with the mistake in it."""

    def __init__(self, mutation: Mutation) -> None:
        self.mutation = mutation

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.mutation.module:
            return None
        file = ROOT / Path(*fullname.split(".")).with_suffix(".py")
        return importlib.util.spec_from_file_location(fullname, file, loader=self)

    def get_source(self, fullname: str) -> str:
        return mutated(self.mutation)


def mutated(mutation: Mutation) -> str:
    """The module's text with the mistake. Raises ValueError where it no longer fits."""
    text = (ROOT / Path(*mutation.module.split(".")).with_suffix(".py")).read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: {text.count(mutation.old)} places to make the mistake")
    return text.replace(mutation.old, mutation.new)


def survives(mutation: Mutation) -> str | None:
    """Why the mistake was not found; None when its test turned red."""
    try:
        mutated(mutation)
    except ValueError as error:
        return str(error)
    child = os.fork()
    if child == 0:
        _run(mutation)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == 1 else f"{mutation.name}: {mutation.test} ended with {code}"
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def _run(mutation: Mutation) -> None:
    import pytest

    sys.meta_path.insert(0, _Mutated(mutation))
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    code = 3
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            # Without conftest, which imports Dagster: that would be most of the time.
            flags = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
            flags += [] if mutation.test.startswith(FIXTURES) else ["--noconftest"]
            code = int(pytest.main([*flags, mutation.test]))
    finally:
        os._exit(code)


def main(names: Sequence[str]) -> int:
    # Loaded once, before the forks; none of it is ours.
    import hypothesis
    import pytest

    assert hypothesis
    assert pytest
    chosen = [m for m in MUTATIONS if not names or any(name in m.name for name in names)]
    alive = [found for found in map(survives, chosen) if found]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mistakes were found")
    for found in alive:
        print(f"  {found}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
