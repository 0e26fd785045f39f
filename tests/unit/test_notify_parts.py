# SPDX-License-Identifier: Apache-2.0
"""The parts of the notify room that decide without talking to anybody."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.model.jsonld.context import CORE
from madang.model.subscription import Subscription
from madang.model.subscription_body import read_subscription
from madang.model.subscription_form import build
from madang.notify.http import Target
from madang.notify.intervals import Intervals
from madang.notify.messages import Form
from madang.notify.patterns import Patterns
from madang.notify.progress import Progress

SECOND = 1_000_000


def subscription(number: int = 1, uri: str = "http://example.org/", **more: Any) -> Subscription:
    endpoint = {"uri": uri, **more.pop("endpoint", {})}
    body = {
        "type": "Subscription",
        "id": f"urn:ngsi-ld:Subscription:{number}",
        "entities": [{"type": "T"}],
        "notification": {"endpoint": endpoint},
        **more,
    }
    return build("", read_subscription(body, CORE, 0), context_url=None, since_us=0)


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "head"),
    [
        ("http://example.org", False, "example.org", 80, "POST / HTTP/1.1\r\nHost: example.org\r\n"),
        ("https://example.org/a?b=c", True, "example.org", 443, "POST /a?b=c HTTP/1.1\r\nHost: example.org\r\n"),
        ("http://[::1]:8080/a", False, "::1", 8080, "POST /a HTTP/1.1\r\nHost: [::1]:8080\r\n"),
        ("http://example.org:80/%20x", False, "example.org", 80, "POST /%20x HTTP/1.1\r\nHost: example.org\r\n"),
        (
            "http://example.org/마당",
            False,
            "example.org",
            80,
            "POST /%EB%A7%88%EB%8B%B9 HTTP/1.1\r\nHost: example.org\r\n",
        ),
    ],
)
def test_target(url: str, secure: bool, host: str, port: int, head: str) -> None:
    target = Target.of(url)
    assert target.key == (secure, host, port)
    assert target.head.decode("ascii") == head + "Content-Length: "


def test_progress_stands_before_the_oldest_commit_that_is_owed() -> None:
    progress = Progress(10)
    first = progress.begin(11, 13)
    first.owed += 2
    progress.end(first)
    second = progress.begin(14, 14)
    second.owed += 1
    progress.end(second)
    progress.pass_over(20)
    assert (progress.position, progress.bookmark) == (20, 10)
    second.owed -= 1
    assert progress.bookmark == 10
    first.owed -= 2
    assert progress.bookmark == 20
    gap = progress.begin(25, 26)  # what lies between belongs to nobody
    gap.owed += 1
    progress.end(gap)
    assert progress.bookmark == 24


def test_intervals() -> None:
    intervals = Intervals()
    one = subscription(1, timeInterval=10)
    two = subscription(2, timeInterval=4)
    intervals.put(one, None, 0)
    intervals.put(two, 3 * SECOND, 5 * SECOND)
    intervals.put(subscription(3), None, 0)
    assert intervals.next_us == 7 * SECOND
    assert intervals.due(7 * SECOND) == [two.key]
    intervals.again(two, 7 * SECOND)
    assert intervals.due(11 * SECOND) == [one.key, two.key]
    intervals.again(two, 40 * SECOND)
    assert intervals.next_us == 44 * SECOND, "what was missed is not made up for"
    intervals.again(one, 40 * SECOND)
    intervals.remove(two)
    assert intervals.due(60 * SECOND) == [one.key]
    assert intervals.next_us is None
    intervals.put(two, 3 * SECOND, 500 * SECOND)
    assert intervals.next_us == 500 * SECOND, "due while the hub was down: at once"


def test_messages() -> None:
    pairs = [{"key": "Authorization", "value": "Bearer x"}]
    form = Form.of(subscription(endpoint={"receiverInfo": pairs}), "http://c/", "seoul", "urn:snapshot:1")
    assert form.headers.decode().split("\r\n") == [
        "Content-Type: application/json",
        'Link: <http://c/>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
        "NGSILD-Tenant: seoul",
        "NGSILD-Snapshot: urn:snapshot:1",
        "Authorization: Bearer x",
        "",
    ]
    assert form.body("7", [b"{}", b"{}"], "2026-01-31T08:00:00Z") == (
        b'{"id":"urn:ngsi-ld:Notification:7","type":"Notification","subscriptionId":"urn:ngsi-ld:Subscription:1",'
        b'"notifiedAt":"2026-01-31T08:00:00Z","data":[{},{}]}'
    )
    geo = Form.of(subscription(endpoint={"accept": "application/geo+json"}), "http://c/", "", None)
    assert geo.body("7", [b"{}"], "T").endswith(
        b'"data":{"type":"FeatureCollection","features":[{}],"@context":"http://c/"}}'
    )


PATTERNS = st.lists(st.sampled_from(["a", "b", "^a", "b$", "a.*b", "^(a|b)c", "(?i)A", "[ab]{2}", "c?"]), unique=True)


@settings(max_examples=200, deadline=None)
@given(PATTERNS, st.lists(st.integers(0, 8)), st.text(alphabet="abcA", max_size=6))
def test_patterns_find_what_each_alone_finds(texts: list[str], gone: list[int], text: str) -> None:
    patterns: Patterns[str] = Patterns()
    # Others around them, so that there are several groups of groups.
    filling = [f"never{number}" for number in range(40)]
    for one in (*filling, *texts):
        patterns.put(one, one)
    patterns.found_in(text)
    left = list(texts)
    for number in gone:
        if number < len(texts) and texts[number] in left:
            patterns.remove(texts[number])
            left.remove(texts[number])
    assert sorted(patterns.found_in(text)) == sorted(one for one in left if re.search(one, text))
    assert len(patterns) == len(left) + len(filling)
