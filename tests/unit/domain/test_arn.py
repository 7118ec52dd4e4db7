"""ARNs are parsed strictly, and written as they were."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isodrop.domain.arn import Arn

words = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
arns = st.builds(
    Arn,
    st.from_regex(r"aws(-[a-z]{1,8})?", fullmatch=True),
    words,
    st.just("") | words,
    st.sampled_from(["", "aws", "123456789012"]),
    st.text(min_size=1),
)


@given(arns)
def test_a_written_arn_is_parsed_to_the_same_value(arn: Arn) -> None:
    assert Arn.parse(str(arn)) == arn


@given(st.text())
def test_any_text_is_parsed_as_it_is_or_reported(text: str) -> None:
    with suppress(ValueError):
        assert str(Arn.parse(text)) == text


def test_the_parts_are_those_of_the_documentation() -> None:
    arn = Arn.parse("arn:aws-cn:states:cn-north-1:123456789012:execution:imports:one")
    assert (arn.partition, arn.service, arn.region) == ("aws-cn", "states", "cn-north-1")
    assert (arn.account, arn.resource) == ("123456789012", "execution:imports:one")


def test_an_arn_without_region_and_account_is_parsed() -> None:
    arn = Arn.parse("arn:aws:s3:::isos/Win 11:24H2.iso")
    assert (arn.region, arn.account, arn.resource) == ("", "", "isos/Win 11:24H2.iso")


@pytest.mark.parametrize(
    "text",
    [
        *("", "arn:", "isos", "arn:aws:s3:::", "arn:aws:s3::isos", "arn::s3:::isos"),
        *("arn:aws:::123456789012:isos", "ARN:aws:s3:::isos", " arn:aws:s3:::isos"),
        *("arn:azure:s3:::isos", "arn:aws:s3:EU:123456789012:isos"),
    ],
)
def test_a_value_that_is_not_an_arn_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match="not an ARN"):
        Arn.parse(text)


@given(arns, words, st.text(min_size=1))
def test_a_sibling_is_in_the_same_region_and_account(arn: Arn, service: str, name: str) -> None:
    sibling = Arn.parse(str(arn.sibling(service, name)))
    assert (sibling.service, sibling.resource) == (service, name)
    assert sibling.sibling(arn.service, arn.resource) == arn
