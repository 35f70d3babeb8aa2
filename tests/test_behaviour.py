"""Which tests hold which row of the behaviour catalogue, or why there is none."""

from __future__ import annotations

import pytest

from tests.tools.catalogues import Row, missing, rows_with_tests

ROWS: dict[int, Row] = {
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
    56: "test_db::test_on_a_network_a_second_process_is_refused_with_path_owner_and_cure",
    # E. saveUninitialized
    57: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    58: "test_loading::test_the_default_leaves_an_untouched_visitor_alone",
    59: "test_loading::test_a_written_session_is_stored_and_announced",
    60: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    61: "test_session::test_a_setting_alone_does_not_make_a_new_session",
    62: (
        "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
        "test_manager::test_a_dead_cookie_is_left_alone",
    ),
    63: "test_session::test_saving_a_new_session_stores_and_announces_it",
    64: "test_middleware::test_a_commit_that_fails_leaves_with_nothing_sent",
    # F. resave and change detection
    65: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    66: "test_promises::test_an_equal_value_is_no_change",
    67: "test_manager::test_a_session_is_written_whenever_it_was_changed_and_only_then",
    68: "test_session::test_a_key_named_cookie_is_data_like_any_other",
    69: (
        "test_session::test_a_change_in_any_container_is_written",
        "test_session::test_what_changed_is_written_once",
    ),
    70: (
        "test_promises::test_an_equal_value_is_no_change",
        "test_codec::test_order_in_dicts_and_sets_is_no_difference",
    ),
    71: (
        "test_promises::test_a_request_that_does_not_look_at_its_session_costs_nothing",
        "test_session::test_only_values_that_may_have_changed_are_encoded_again_and_once",
    ),
    72: (
        "test_promises::test_a_value_that_cant_be_stored_is_named_and_nothing_is_half_written",
        "test_codec::test_a_cycle_is_refused",
    ),
    73: "testing::test_typed_values_come_back_equal_and_of_their_type",
    74: "test_manager::test_resave_of_what_another_request_changed_leaves_that_alone",
    # G. touch
    75: "test_manager::test_a_session_that_is_only_read_costs_one_look_up_and_one_touch",
    76: (
        "testing::test_a_touch_moves_the_expiry_and_nothing_else",
        "test_manager::test_a_touch_keeps_what_another_request_wrote",
    ),
    77: "testing::test_a_touch_never_recreates",
    78: "test_manager::test_a_touch_that_fails_costs_nobody_the_page",
    79: "test_session::test_saving_is_one_write_with_nothing_behind_it",
    80: "test_promises::test_touches_are_throttled",
    81: "test_session::test_touch_moves_the_end_though_it_is_throttled",
    82: "test_session::test_touch_sends_the_cookie_if_it_has_an_end",
    83: "test_contract::test_a_store_that_lacks_an_operation_cant_be_made",
    84: (
        "test_manager::test_cookie_and_record_end_in_the_same_second",
        "test_manager::test_cookie_and_record_end_in_the_same_second_after_a_slow_touch",
    ),
    # H. rolling, and when the cookie is sent
    85: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    86: "test_manager::test_rolling_sends_the_same_cookie_with_each_response",
    87: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    88: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    89: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    90: (
        "test_manager::test_rolling_moves_the_end_with_each_response",
        "test_wsgi::test_a_slow_body_is_announced_with_its_first_chunk_and_moves_the_end",
    ),
    91: "test_manager::test_the_cookie_follows_the_data_when_it_has_an_end",
    92: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    93: "test_session::test_no_end_set_by_every_request_is_sent_once",
    94: "test_session::test_a_setting_alone_is_stored_and_sent_for_a_stored_session",
    95: "test_cookie::test_a_secure_one_is_sent",
    96: "test_manager::test_a_cookie_that_cant_be_sent_makes_no_record_and_one_warning",
    97: "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
    98: (
        "test_manager::test_what_is_written_and_said_follows_the_decision_rules",
        "test_promises::test_a_regenerated_session_is_empty_and_the_old_one_is_gone",
    ),
    # I. unset
    99: "test_manager::test_unset_keep_drops_the_requests_changes",
    100: "test_manager::test_unset_keep_drops_the_requests_changes",
    101: "test_manager::test_unset_destroy_deletes_the_session_and_expires_its_cookie",
    102: "test_manager::test_unset_destroy_of_a_new_session_does_nothing",
    103: "test_middleware::test_an_unset_that_fails_leaves_with_nothing_sent",
    104: "test_manager::test_unset_destroy_expires_the_cookie_with_its_own_attributes",
    105: "test_wsgi::test_a_session_taken_out_of_the_environ_is_kept_or_destroyed",
    # J. The cookie settings
    106: "test_cookie::test_the_defaults",
    107: "test_cookie::test_the_defaults",
    108: "test_cookie::test_the_defaults",
    109: "test_cookie::test_the_defaults",
    110: "test_cookie::test_the_defaults",
    111: "test_cookie::test_no_settings_are_the_defaults",
    112: "test_cookie::test_what_is_no_settings_is_a_type_error",
    113: "test_options::test_a_misspelt_cookie_setting_is_refused",
    114: (
        "test_cookie::test_a_setting_is_kept_in_one_form",
        "test_cookie::test_a_wrong_setting_is_named",
    ),
    115: "test_session::test_a_fixed_end_reads_as_it_was_set",
    116: "test_cookie::test_a_setting_is_kept_in_one_form",
    117: "test_session::test_expires_is_when_the_session_ends",
    118: "test_session::test_max_age_counts_down_and_original_max_age_does_not",
    119: "test_cookie::test_a_wrong_setting_is_named",
    120: "test_cookie::test_a_wrong_setting_is_named",
    121: "test_cookie::test_a_setting_is_kept_in_one_form",
    122: "test_cookie::test_a_setting_is_kept_in_one_form",
    123: (
        "test_cookie::test_a_setting_is_kept_in_one_form",
        "test_cookie::test_a_wrong_setting_is_named",
    ),
    124: (
        "test_session::test_another_max_age_is_sent_stored_and_stays",
        "test_session::test_a_fixed_end_is_not_moved_by_later_requests",
    ),
    125: "test_manager::test_only_what_the_app_changed_of_the_cookie_is_stored",
    126: (
        "test_cookie::test_settings_that_contradict_each_other_are_refused",
        "test_cookie::test_a_fixed_end_of_all_sessions_is_warned_of",
    ),
    # K. Cookie attributes on the wire
    127: "test_cookie::test_by_default_it_is_httponly_lax_and_ends_with_the_browser",
    128: "test_cookie::test_by_default_it_is_httponly_lax_and_ends_with_the_browser",
    129: "test_cookie::test_what_the_app_sets_on_the_session_is_in_that_response",
    130: (
        "test_cookie::test_all_that_is_configured_is_sent",
        "test_cookie::test_what_the_app_sets_on_the_session_is_in_that_response",
    ),
    131: "test_cookie::test_priority_on_the_wire",
    132: "test_cookie::test_partitioned_on_the_wire",
    133: "test_cookie::test_partitioned_on_the_wire",
    134: (
        "test_cookie::test_partitioned_on_the_wire",
        "test_cookie::test_settings_that_contradict_each_other_are_refused",
    ),
    135: ("test_cookie::test_samesite_on_the_wire", "test_cookie::test_a_wrong_setting_is_named"),
    136: "test_cookie::test_settings_that_contradict_each_other_are_refused",
    137: "test_cookie::test_all_that_is_configured_is_sent",
    138: "test_session::test_an_end_in_the_past_ends_the_session_and_its_cookie",
    139: "test_session::test_a_wrong_setting_is_refused_where_it_is_made",
    140: "test_cookie::test_a_cookie_of_the_apps_own_stays_first_and_apart",
    141: "test_wsgi::test_the_apps_own_cookies_stay_first_and_its_list_is_not_changed",
    142: "test_cookie::test_a_cookie_of_our_name_that_the_app_set_is_warned_of",
    143: "test_cookie::test_attributes_follow_the_configuration_for_sessions_that_are_there",
    144: (
        "test_middleware::test_a_response_that_sets_the_cookie_is_private",
        "test_middleware::test_a_response_varies_by_cookie_once",
        "test_middleware::test_cache_headers_can_be_left_to_the_app",
    ),
    145: "test_options::test_the_middlewares_defaults",
    146: "test_options::test_the_key_alias_of_the_cookies_name_is_refused",
    147: "test_middleware::test_two_side_by_side_keep_two_sessions",
    # L. Secure, and whom to believe
    148: (
        "test_cookie::test_a_secure_one_is_sent",
        "test_cookie::test_all_that_is_configured_is_sent",
    ),
    149: "test_cookie::test_a_secure_one_is_sent",
    150: "test_cookie::test_a_secure_one_is_sent",
    151: "test_cookie::test_a_secure_one_is_sent",
    152: "none: trusted_proxy_count is not built; which proxies to believe is the server's setting",
    153: "test_cookie::test_a_secure_one_is_sent",
    154: "test_cookie::test_a_secure_one_is_sent",
    155: "test_cookie::test_a_secure_one_is_sent",
    156: "test_cookie::test_a_secure_one_is_sent",
    157: "test_cookie::test_a_secure_one_is_sent",
    158: "test_cookie::test_auto_makes_it_secure",
    159: "test_cookie::test_auto_makes_it_secure",
    160: "test_cookie::test_auto_makes_it_secure",
    161: "test_cookie::test_auto_makes_it_secure",
    162: "test_cookie::test_auto_is_resolved_each_time_the_cookie_is_sent",
    # M. SameSite by itself
    163: "test_cookie::test_samesite_auto_is_none",
    164: "test_cookie::test_samesite_auto_is_none",
    165: "test_cookie::test_samesite_auto_is_none",
    166: "test_cookie::test_samesite_auto_is_none",
    167: "test_cookie::test_samesite_auto_is_none",
    168: "test_cookie::test_both_auto_from_a_function_agree",
    169: "test_cookie::test_both_auto_from_a_function_agree",
    170: "test_cookie::test_settings_that_contradict_each_other_are_refused",
    171: "test_cookie::test_settings_that_contradict_each_other_are_refused",
    172: "test_cookie::test_a_secure_one_with_samesite_auto_is_none_or_not_sent",
    173: "test_cookie::test_a_secure_one_with_samesite_auto_is_none_or_not_sent",
    174: "test_cookie::test_both_auto_from_a_function_agree",
    # N. Settings that depend on the request
    175: "test_cookie::test_a_function_gets_the_environ",
    176: "test_cookie::test_a_function_gets_the_environ",
    177: (
        "test_cookie::test_a_function_is_called_once_per_request",
        "test_cookie::test_a_functions_settings_hold_for_sessions_that_are_there",
    ),
    178: "test_cookie::test_a_functions_error_leaves_before_the_app_runs",
    # O. Path and mount
    179: "test_wsgi::test_outside_the_cookies_path_there_is_no_session",
    180: "test_cookie::test_a_host_header_with_a_path_in_it_moves_nothing",
    181: "test_cookie::test_below_a_mount_the_original_path_counts",
    182: "test_cookie::test_below_a_mount_the_original_path_counts",
    183: "test_cookie::test_below_a_mount_the_original_path_counts",
    184: "test_cookie::test_below_a_mount_the_original_path_counts",
    185: "test_cookie::test_a_path_is_in_scope_by_whole_segments",
    186: (
        "test_cookie::test_a_path_is_in_scope_by_whole_segments",
        "test_wsgi::test_outside_the_cookies_path_there_is_no_session",
    ),
    187: "none: get_session is not built; outside the path the environ lacks the key, as any other",
    # P. Ids of the app's own
    188: "test_ids::test_an_id_carries_256_bits_in_a_cookies_alphabet",
    189: (
        "test_manager::test_an_id_of_the_apps_making_gets_the_environ",
        "test_cookie::test_a_value_is_the_hmac_of_the_id_and_the_id_in_base64url",
    ),
    190: "test_manager::test_what_is_no_id_is_refused_in_that_request",
    191: "test_manager::test_an_id_of_the_apps_making_gets_the_environ",
    192: "none: genid is a plain callable; there are no promises to support",
    193: "test_manager::test_no_id_is_made_for_a_session_that_is_not_stored",
    # Q. Secrets
    194: "test_cookie::test_the_first_secret_signs",
    195: "test_cookie::test_the_first_secret_signs",
    196: "test_cookie::test_every_secret_verifies",
    197: "test_cookie::test_a_cookie_signed_by_an_older_secret_is_signed_again_once",
    198: "test_cookie::test_the_cookies_of_a_dropped_secret_start_a_new_session",
    199: (
        "test_cookie::test_a_short_secret_is_warned_of_and_not_shown",
        "test_cookie::test_a_secret_of_less_than_16_bytes_is_refused",
        "test_cookie::test_a_well_known_secret_is_refused",
        "test_cli::test_secret_prints_one_line_that_can_sign",
    ),
    200: "test_cookie::test_a_forged_value_is_not_ours",
    # R. Methods of the session
    201: "test_session::test_what_is_saved_can_be_read_at_once",
    202: "test_session::test_saving_is_one_write_with_nothing_behind_it",
    203: "test_session::test_saving_is_one_write_with_nothing_behind_it",
    204: "test_session::test_saving_a_new_session_stores_and_announces_it",
    205: "test_session::test_saving_is_one_write_with_nothing_behind_it",
    206: "test_session::test_a_change_after_saving_is_written_again",
    207: "test_session::test_saving_is_one_write_with_nothing_behind_it",
    208: "test_session::test_reload_shows_what_is_stored_and_drops_what_is_not",
    209: "test_session::test_reload_changes_the_session_in_place_and_keeps_its_end",
    210: "test_session::test_reload_of_a_session_that_is_gone_says_so_and_stores_nothing",
    211: "test_session::test_reload_of_a_session_that_is_gone_says_so_and_stores_nothing",
    212: (
        "test_session::test_reload_of_a_session_that_is_gone_says_so_and_stores_nothing",
        "test_session::test_a_session_that_is_gone_can_be_begun_anew",
    ),
    213: "test_session::test_reload_shows_what_is_stored_and_drops_what_is_not",
    214: "test_session::test_regenerate_begins_an_empty_session_under_another_id",
    215: (
        "test_session::test_rotate_keeps_data_creation_and_owner_under_another_id",
        "test_session::test_what_changed_is_written_once",
        "test_manager::test_an_absolute_timeout_does_not_begin_anew_by_rotation",
    ),
    216: "test_manager::test_after_a_failure_the_session_is_as_it_was",
    217: "test_session::test_regenerating_what_was_never_stored_is_one_write",
    218: (
        "test_promises::test_they_win_if_the_other_one_rotates",
        "test_manager::test_a_dead_cookie_is_left_alone",
        "test_promises::test_a_late_request_does_not_delete_the_cookie_of_a_new_login",
    ),
    219: (
        "test_promises::test_a_logout_expires_the_cookie_and_its_replay_is_a_stranger",
        "test_session::test_destroying_what_was_never_stored_writes_nothing",
    ),
    220: "test_session::test_after_destroy_writing_says_that_it_is_gone",
    221: "test_promises::test_after_a_logout_writing_says_that_the_session_is_gone",
    222: "test_manager::test_a_thread_that_began_before_a_logout_brings_nothing_back",
    223: "none: methods return when the work is done, and take no callback",
    224: "test_session::test_methods_return_none",
    225: "test_session::test_methods_return_none",
    # S. Shape of the session
    226: "test_session::test_it_is_a_mutable_mapping_of_the_data_alone",
    227: (
        "test_session::test_it_does_what_a_dict_does_through_a_memory_store",
        "test_session::test_an_update_by_operator_changes_the_session_itself",
    ),
    228: "test_session::test_no_key_is_reserved",
    229: "test_session::test_max_age_counts_down_and_original_max_age_does_not",
    230: (
        "test_session::test_is_new_until_it_is_stored",
        "test_session::test_times_are_those_of_the_record",
        "test_session::test_modified_says_that_it_changed",
        "test_promises::test_when_a_session_was_seen_last_is_known_to_within_a_touch",
    ),
    231: "test_session::test_clear_ends_it_and_the_client_forgets_it",
    # T. Life
    232: "test_manager::test_the_whole_life_reads_the_same_in_every_request",
    233: "test_manager::test_the_whole_life_reads_the_same_in_every_request",
    234: (
        "test_manager::test_the_whole_life_reads_the_same_in_every_request",
        "testing::test_a_created_session_is_loaded_as_it_was",
    ),
    235: "test_cookie::test_max_age_and_expires_say_the_same",
    236: "test_session::test_another_max_age_is_sent_stored_and_stays",
    237: (
        "test_session::test_odd_lives_are_kept",
        "test_cookie::test_a_life_beyond_what_browsers_take_is_cut_to_400_days",
    ),
    238: "test_session::test_a_fixed_end_is_not_moved_by_later_requests",
    239: (
        "test_session::test_a_life_of_none_ends_with_the_browser",
        "test_session::test_no_end_takes_the_place_of_a_fixed_end",
    ),
    240: "test_cookie::test_a_wrong_setting_is_named",
    241: "test_session::test_times_are_those_of_the_record",
    242: (
        "test_manager::test_an_absolute_timeout_is_never_extended",
        "test_manager::test_the_cookie_does_not_outlive_the_absolute_timeout",
    ),
    # U. Order, shapes, streaming
    243: "test_middleware::test_the_store_has_committed_when_the_server_hears_of_the_response",
    244: "test_wsgi::test_a_stated_length_and_the_chunks_are_left_alone",
    245: "test_wsgi::test_a_stated_length_and_the_chunks_are_left_alone",
    246: "test_wsgi::test_a_stated_length_and_the_chunks_are_left_alone",
    247: (
        "test_manager::test_cookie_and_record_end_in_the_same_second",
        "test_manager::test_cookie_and_record_end_in_the_same_second_after_a_slow_touch",
    ),
    248: "test_wsgi::test_a_slow_body_is_announced_with_its_first_chunk_and_moves_the_end",
    249: "test_middleware::test_closing_twice_commits_once",
    250: "test_wsgi::test_an_empty_body_still_commits",
    251: (
        "test_wsgi::test_calling_start_response_twice_is_the_servers_to_refuse",
        "test_middleware::test_an_error_page_before_anything_was_sent_keeps_the_cookie",
        "test_middleware::test_an_error_page_behind_what_was_sent_is_raised",
    ),
    252: "test_middleware::test_other_middlewares_around_and_inside_make_no_difference",
    253: "test_middleware::test_other_middlewares_around_and_inside_make_no_difference",
    254: "test_wsgi::test_every_shape_of_response_is_committed_and_announced_once",
    255: (
        "test_manager::test_unset_destroy_deletes_the_session_and_expires_its_cookie",
        "test_manager::test_the_body_goes_on_behind_an_unset_session",
    ),
    256: "none: a WSGI server takes no callback that could be swallowed",
    257: "test_wsgi::test_a_stated_length_and_the_chunks_are_left_alone",
    258: (
        "test_promises::test_what_is_changed_while_the_body_streams_is_committed_at_its_end",
        "test_promises::test_what_cant_be_announced_any_more_is_refused",
    ),
    259: (
        "test_session::test_another_id_is_refused_when_it_cant_be_told",
        "test_promises::test_what_cant_be_announced_any_more_is_refused",
    ),
    260: "test_middleware::test_a_client_that_follows_a_redirect_at_once_finds_its_session",
    261: (
        "test_wsgi::test_a_client_that_goes_away_early_costs_nothing_that_was_done",
        "test_wsgi::test_an_app_that_is_closed_before_its_first_chunk_has_done_nothing",
    ),
    262: (
        "test_middleware::test_an_exception_that_escapes_commits_nothing",
        "test_middleware::test_an_error_page_made_inside_the_app_commits",
    ),
    # V. Methods and statuses
    263: (
        "test_wsgi::test_the_method_makes_no_difference",
        "test_wsgi::test_webtest_sees_a_head_request_like_a_get",
    ),
    264: "test_wsgi::test_the_method_makes_no_difference",
    265: (
        "test_wsgi::test_the_method_makes_no_difference",
        "test_wsgi::test_the_request_body_reaches_the_app",
    ),
    266: "test_wsgi::test_a_response_without_a_body_carries_the_cookie",
    267: "test_wsgi::test_the_status_makes_no_difference",
    # W. Stores
    268: "test_contract::test_a_store_that_lacks_an_operation_cant_be_made",
    269: "test_contract::test_a_store_that_lacks_an_operation_cant_be_made",
    270: (
        "testing::test_records_are_the_sessions_with_their_keys",
        "testing::test_clearing_deletes_all",
        "testing::test_expired_sessions_are_neither_counted_nor_listed",
    ),
    271: (
        "test_commit::test_after_a_failed_sync_nothing_is_written_and_reading_goes_on",
        "test_wal_store::test_each_operation_on_a_closed_store_says_so",
        "test_manager::test_an_operation_that_fails_leaves_as_it_is",
    ),
    272: "test_commit::test_a_full_disk_refuses_the_write_and_keeps_nothing_of_it",
    273: (
        "test_loading::test_data_persists_and_can_be_loaded_outside_a_request",
        "testing::test_an_update_of_another_version_is_a_conflict",
    ),
    274: "test_middleware::test_a_store_is_used_as_it_was_given",
    275: (
        "test_middleware::test_two_that_share_a_store_share_no_session_and_no_settings",
        "test_middleware::test_two_that_share_a_store_make_ids_each_its_own_way",
    ),
    276: (
        "testing::test_what_was_stored_does_not_follow_its_source",
        "testing::test_what_is_loaded_is_the_callers_own",
    ),
    277: "testing::test_a_missing_session_is_none",
    278: (
        "testing::test_deleting_what_is_not_there_is_no_error",
        "test_wal_store::test_deleting_what_is_not_there_writes_nothing",
    ),
    279: (
        "testing::test_expired_sessions_are_neither_counted_nor_listed",
        "test_memory_store::test_sessions_may_come_and_go_while_they_are_listed",
    ),
    280: "testing::test_expired_sessions_are_neither_counted_nor_listed",
    281: (
        "testing::test_clearing_deletes_all",
        "test_crash::test_no_crash_loses_what_was_acknowledged_or_shown",
    ),
    282: "test_collector::test_a_session_that_is_used_meanwhile_is_not_collected",
    283: "test_collector::test_expired_sessions_go_by_themselves",
    284: "none: stores are called and return; there are no callbacks",
    285: (
        "test_session::test_id_and_handle_name_what_is_stored",
        "test_servers::test_no_file_holds_a_session_id_or_a_cookie",
    ),
    286: "test_manager::test_no_id_cookie_or_secret_is_in_a_log_a_repr_or_an_error",
    # X. Errors at the end of a request
    287: (
        "test_middleware::test_a_commit_that_fails_leaves_with_nothing_sent",
        "test_middleware::test_a_server_turns_a_failed_commit_into_an_error_page",
    ),
    288: "test_manager::test_a_touch_that_fails_costs_nobody_the_page",
    289: "test_middleware::test_an_unset_that_fails_leaves_with_nothing_sent",
    290: (
        "test_session::test_a_wrong_setting_is_refused_where_it_is_made",
        "test_manager::test_what_is_no_id_is_refused_in_that_request",
    ),
    291: "test_middleware::test_a_commit_that_fails_at_the_first_chunk_is_raised_once_and_the"
    "_body_closed_once",
    # Y. Several middlewares, overlapping requests
    292: "test_middleware::test_one_inside_itself_is_one",
    293: "test_middleware::test_two_side_by_side_keep_two_sessions",
    294: (
        "test_manager::test_overlapping_requests_that_change_different_keys_both_win",
        "test_manager::test_of_overlapping_requests_that_change_one_key_the_last_to_end_wins",
    ),
    295: (
        "test_promises::test_a_reader_undoes_nothing",
        "test_manager::test_resave_of_what_another_request_changed_leaves_that_alone",
    ),
    # Z. WSGI alone
    296: "test_wsgi::test_every_shape_of_response_is_committed_and_announced_once",
    297: "test_wsgi::test_every_shape_of_response_is_committed_and_announced_once",
    298: (
        "test_wsgi::test_an_empty_first_chunk_is_passed_on_behind_the_commit",
        "test_wsgi::test_chunks_pass_as_they_come",
    ),
    299: "test_wsgi::test_what_was_done_before_write_is_committed_before_it_is_written",
    300: (
        "test_wsgi::test_the_apps_iterable_is_closed_once",
        "test_middleware::test_a_body_whose_close_fails_is_committed_all_the_same",
    ),
    301: (
        "test_middleware::test_several_error_pages_before_the_first_chunk_set_one_cookie",
        "test_middleware::test_an_error_page_behind_what_was_sent_is_raised",
        "test_wsgi::test_an_error_is_let_go_once_the_server_was_told_of_it",
    ),
    302: (
        "test_wsgi::test_a_file_is_handed_to_the_server_as_it_is",
        "test_wsgi::test_a_list_is_handed_to_the_server_as_it_is",
    ),
    303: "test_wsgi::test_the_apps_own_cookies_stay_first_and_its_list_is_not_changed",
    304: (
        "test_wsgi::test_a_copied_environ_has_the_same_session",
        "test_middleware::test_a_session_taken_out_of_a_copy_is_still_in_hand",
    ),
    305: (
        "test_manager::test_threads_that_change_different_keys_all_win",
        "testing::test_overlapping_updates_of_different_keys_all_win",
    ),
    306: (
        "test_db::test_a_forked_child_shares_what_its_parent_has_open",
        "test_collector::test_making_a_middleware_starts_no_thread",
    ),
    307: "test_processes::test_what_four_processes_of_eight_threads_do_has_one_order_for_each"
    "_session",
    308: "test_wsgi::test_these_tests_see_bad_manners",
    309: "none: ASGI is out of scope, and the README says so",
}


def test_every_row_of_the_groups_is_there():
    assert list(ROWS) == list(range(1, 310))


@pytest.mark.parametrize("row", rows_with_tests(ROWS))
def test_the_tests_of_each_row_exist(row):
    assert missing(ROWS[row]) == []
