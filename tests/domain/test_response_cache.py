"""A cached answer is found by the same question of the same owner, and by nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from domain.rate_limit import MessageType
from domain.response_cache import plan_key

# Few letters, quotes and separators among them: parts that run into one another are likely.
WORDS = st.text('a1",[] \\', max_size=4)
QUESTIONS = st.tuples(
    WORDS, WORDS, st.sampled_from(MessageType), st.lists(st.sampled_from(["en", "fr", "de"]), max_size=3), WORDS
)


@given(QUESTIONS, QUESTIONS)
def test_different_questions_have_different_keys(
    one: tuple[str, str, MessageType, list[str], str], other: tuple[str, str, MessageType, list[str], str]
) -> None:
    same = (*one[:3], set(one[3]), one[4]) == (*other[:3], set(other[3]), other[4])
    assert (plan_key(*one) == plan_key(*other)) is same


def test_the_order_of_languages_does_not_matter() -> None:
    def key(*languages: str) -> str:
        return plan_key("user-1", "Spring sale", MessageType.CUSTOM, languages, "plan.v1")

    assert key("en", "fr", "en") == key("fr", "en")


def test_owner_and_brief_do_not_run_into_one_another() -> None:
    def key(owner: str, brief: str) -> str:
        return plan_key(owner, brief, MessageType.CUSTOM, ["en"], "plan.v1")

    assert len({key("user-1", "0 x"), key("user-10", " x"), key("user-1", '0","x'), key('user-1","0', "x")}) == 4


def test_nothing_can_be_read_from_a_key() -> None:
    key = plan_key("user-1", "Spring sale", MessageType.CUSTOM, ["en"], "plan.v1")
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")
