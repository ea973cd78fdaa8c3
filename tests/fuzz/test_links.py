"""The query of the page's address: followed, or refused in one sentence."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groupcam.errors import GroupCamError
from groupcam.ui.links import Opening, example_names, link_names, opening_of, query_of
from groupcam.ui.present import key_of
from tests.fuzz.values import numbers, outcome, texts

values = st.one_of(
    texts,
    numbers.map(str),
    st.sampled_from(["none", "crop", "fit", "raw", "default", "random", "224", *example_names()]),
)


@given(query=st.dictionaries(st.sampled_from(link_names()) | texts, values, max_size=6))
@example(query={"blur_sigma_px": "10000.00000001E-2"})  # found by it: rounded in the new link
def test_any_query_is_followed_or_refused(query: dict[str, str]) -> None:
    opening = outcome(lambda: opening_of(query), allowed=(TypeError,))

    if opening is not None and opening.config.groups < 10**6:  # more, no layer has
        assert opening.example in (None, *example_names())
        # A link says the same when it is made again of what it opened.
        again = opening_of(dict(parse_qsl(query_of(opening), keep_blank_values=True)))
        assert again in (opening, None) or again == Opening()
        outcome(lambda: key_of(opening.backbone, opening.weights, opening.input_size))


@given(text=st.text(max_size=300))
@example(text="TRACEBACK")  # found by it: repeated, as it may be
def test_any_address_is_followed_or_refused(text: str) -> None:
    query = dict(parse_qsl(text.encode("utf-8", "replace").decode(), max_num_fields=None))

    outcome(lambda: opening_of(query), allowed=(TypeError,))
    outcome(lambda: opening_of(dict.fromkeys(link_names(), text)), allowed=(TypeError,))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "cat.jpg", "cat\0", "Cat"])
def test_an_example_is_one_of_the_list_and_no_file(name: str) -> None:
    with pytest.raises(GroupCamError, match=r"example"):
        opening_of({"example": name})


def test_a_value_of_any_length_is_refused() -> None:
    assert len(urlencode({"class": "x" * 10**6})) > 10**6
    with pytest.raises(GroupCamError, match="at most 200"):
        opening_of({"class": "x" * 10**6})
