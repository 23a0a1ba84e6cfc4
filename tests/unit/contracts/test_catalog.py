"""The catalog: subjects, durables and the permissions derived from them."""

from __future__ import annotations

import pytest

from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS, SERVICES, Stream
from loopline.contracts.permissions import RETRIERS, permissions
from loopline.store.logstore import matches


def test_no_two_events_share_a_subject() -> None:
    subjects = [event.subject("w") for event in EVENTS]
    assert len(set(subjects)) == len(subjects)


def test_every_subject_belongs_to_the_stream_the_catalog_names_and_no_other() -> None:
    for event in EVENTS:
        tokens = {token: "x" for token in event.tokens if token != "workspace"}
        subject = event.subject("w", **tokens)
        streams = [s for s in Stream if any(matches(p, subject) for p in catalog.subjects(s))]
        assert streams == [event.stream]


def test_commits_carry_a_commit() -> None:
    for event in catalog.COMMITS:
        assert "commit" in event.message.DESCRIPTOR.fields_by_name, event.key


def test_missing_tokens_become_wildcards() -> None:
    assert catalog.ALIAS_MOVED.subject("w", model="m") == "loopline.w.alias.m.*.moved"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_publish_its_own_events_and_no_others(service: str) -> None:
    allowed = permissions(service).publish
    for event in EVENTS:
        subject = event.subject("default", **{t: "x" for t in event.tokens if t != "workspace"})
        may = any(matches(pattern, subject) for pattern in allowed)
        is_queue = event.stream in (Stream.WORK, Stream.RELABEL)
        puts_back = service in RETRIERS and is_queue  # dead letters
        assert may == (service in event.publishers or puts_back), (service, event.key)


def test_an_external_publisher_may_send_public_commands_and_read_nothing() -> None:
    granted = permissions("external")
    assert all(not subject.startswith("$JS") for subject in granted.publish)
    assert granted.subscribe == ("_INBOX.external.>",)
