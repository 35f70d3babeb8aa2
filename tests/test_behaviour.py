"""Which test holds which row of the behaviour catalogue, groups A to D, or why there is none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROWS: dict[int, str] = {
    # A. Construction
    1: "test_loading::test_the_building_blocks_are_public",
    2: "test_options::test_a_wrong_option_of_the_middleware_is_named",
    3: "test_options::test_unset_none_means_keep",
    4: "test_cookie::test_no_secret_is_refused",
    5: "test_options::test_secret_and_store_are_required",
    6: "none: the secret belongs to the middleware, never to a request",
    7: "test_loading::test_the_default_leaves_an_untouched_visitor_alone",
    8: "test_loading::test_the_default_leaves_an_untouched_visitor_alone",
    9: "test_cookie::test_the_callers_list_of_secrets_is_left_as_it_was",
    10: "test_loading::test_a_memory_store_under_several_processes_is_warned_of_once",
    11: "test_options::test_the_key_alias_of_the_cookies_name_is_refused",
    12: "test_options::test_a_misspelt_cookie_setting_is_refused",
    13: "test_loading::test_rolling_must_be_a_boolean_and_the_environ_key_a_name",
    14: "test_cookie::test_a_prefix_whose_rules_the_settings_break_is_refused",
    # B. Cookie parsing and signature
    15: "test_loading::test_data_persists_and_can_be_loaded_outside_a_request",
    16: "test_loading::test_a_bare_id_selects_nothing",
    17: "test_loading::test_a_bad_signature_does_not_reach_the_store",
    18: "test_cookie::test_junk_is_not_ours_and_no_error",
    19: "none: WebOb compares signatures in constant time; a test of timing would be noise",
    20: "test_loading::test_data_persists_and_can_be_loaded_outside_a_request",
    21: "test_cookie::test_secrets_that_are_no_text_can_sign",
    22: "test_cookie::test_our_cookie_is_found_whatever_stands_beside_it",
    23: "test_loading::test_a_foreign_cookie_disturbs_nothing",
    24: "test_loading::test_two_live_sessions_at_once_are_none_and_the_client_forgets_them",
    25: "test_cookie::test_our_cookie_is_found_whatever_stands_beside_it",
    26: "test_cookie::test_a_value_is_the_hmac_of_the_id_and_the_id_in_base64url",
    27: "test_cookie::test_a_header_without_our_cookie_carries_no_id",
    28: "none: cookies that others have parsed are never trusted",
    29: "none: as row 28",
    30: "none: as row 28",
    31: "none: as row 28",
    # C. Creation, loading, id
    32: "test_loading::test_a_written_session_is_stored_and_announced",
    33: "test_loading::test_two_clients_have_two_sessions",
    34: "test_loading::test_data_persists_and_can_be_loaded_outside_a_request",
    35: "test_promises::test_the_same_middleware_twice_is_one",
    36: "test_loading::test_an_empty_url_is_the_root",
    37: "test_loading::test_a_cookie_that_is_well_signed_and_unknown_begins_a_new_session_with"
    "_another_id",
    38: "test_loading::test_a_cookie_that_is_well_signed_and_unknown_begins_a_new_session_with"
    "_another_id",
    39: "test_loading::test_the_id_can_be_read_and_not_set",
    40: "test_wsgi::test_the_store_is_in_the_environ",
    41: "test_loading::test_the_id_can_be_read_and_not_set",
    42: "test_loading::test_an_id_that_cant_pass_through_a_header_is_refused",
    43: "test_loading::test_an_id_that_is_taken_is_asked_for_again",
    44: "test_ids::test_ten_thousand_ids_are_different",
    45: "test_promises::test_a_request_that_does_not_look_at_its_session_costs_nothing",
    # D. Store read results
    46: "test_loading::test_a_store_that_fails_surfaces_where_the_app_first_looks",
    47: "none: absent is None, and only that; an error of a store is never taken for absence",
    48: "test_promises::test_a_session_expires_exactly_at_its_end",
    49: "test_loading::test_a_cookie_that_is_well_signed_and_unknown_begins_a_new_session_with"
    "_another_id",
    50: "test_promises::test_a_session_expires_exactly_at_its_end",
    51: "test_promises::test_a_session_expires_exactly_at_its_end",
    52: "test_loading::test_a_record_that_a_store_hands_back_after_its_end_is_not_believed",
    53: "test_loading::test_a_record_that_makes_no_sense_is_absent_and_logged",
    54: "test_loading::test_no_key_is_reserved",
    55: "test_loading::test_the_id_can_be_read_and_not_set",
    56: "test_engine_db::test_on_a_network_a_second_process_is_refused_with_path_owner_and_cure",
}


def test_every_row_of_the_groups_is_there():
    assert list(ROWS) == list(range(1, 57))


@pytest.mark.parametrize("row", [row for row in ROWS if not ROWS[row].startswith("none: ")])
def test_the_test_of_each_row_exists(row):
    module, _, name = ROWS[row].partition("::")
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
