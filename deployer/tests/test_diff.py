"""The three-way comparison, as a table: the file, the server, and what was applied last."""

import pytest

from yeedu_deployer.planned.plan import changed_fields, fingerprint, fingerprints


@pytest.mark.parametrize(
    ("field", "desired", "observed", "applied", "written"),
    [
        # field, in the file, on the server, applied last (... = never), written
        ("tags", ["a"], ["a"], ["a"], False),
        ("tags", ["b"], ["a"], ["a"], True),
        ("tags", ["a"], ["edited"], ["a"], False),
        ("tags", ["b"], ["edited"], ["a"], True),
        ("tags", ["a"], ["other"], ..., True),
        ("tags", ["a"], ["a"], ..., False),
        ("description", None, "theirs", ..., False),
        ("description", None, "ours", "ours", True),
        ("description", None, "edited", None, False),
        ("paused", False, True, ..., False),
        ("paused", False, True, False, False),
        ("paused", False, True, True, True),
        ("active", True, False, ..., False),
        ("active", False, True, True, True),
        ("parameters", {"a": 1, "b": 2}, {"b": 2, "a": 1}, ..., False),
    ],
)
def test_only_what_the_file_newly_says_is_written(field, desired, observed, applied, written):
    recorded = {} if applied is ... else {field: fingerprint(applied)}

    changes = changed_fields({field: desired}, {field: observed}, recorded)

    assert [(change.field, change.old, change.new) for change in changes] == (
        [(field, observed, desired)] if written else []
    )


def test_a_field_that_the_server_does_not_know_counts_as_empty():
    assert changed_fields({"a": None}, {}, {}) == ()
    assert [change.field for change in changed_fields({"a": 1}, {}, {})] == ["a"]


def test_fingerprints_tell_values_apart_and_ignore_the_order_of_keys():
    values = [None, "", 0, False, [], {}, "0", [0], {"a": None}, "a"]
    assert len(set(map(fingerprint, values))) == len(values)
    assert fingerprints({"x": {"a": 1, "b": 2}}) == fingerprints({"x": {"b": 2, "a": 1}})
