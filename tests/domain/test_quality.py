"""The quality score is a mean of four parts, each of which does what it says."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.quality import combined, quality_score

SCORES = st.floats(0, 1)


class TestQualityScore:
    @given(st.text(max_size=1_000), st.text(max_size=20))
    def test_it_lies_between_zero_and_one(self, text: str, name: str) -> None:
        assert 0 <= quality_score(text, name) <= 1

    @given(st.text("abc def", min_size=1, max_size=500))
    def test_calling_the_fan_by_name_is_worth_a_quarter(self, text: str) -> None:
        assume(text.strip())
        with_name, without = quality_score(text, text.strip()[0]), quality_score(text, "Zoë")
        assert with_name - without == pytest.approx(1 / 4, abs=1e-3)

    @pytest.mark.parametrize(
        ("text", "name", "score"),
        [
            ("", "Maya", 0.0),
            ("!!!", "Maya", 0.0),
            ("Maya, a new set of photos is waiting for you, with love", "maya", 1.0),
            ("A new set of photos is waiting for you, with lots of love", "Maya", 0.75),
            ("Léa, une nouvelle série de photos t'attend. Dis-moi ce que tu en penses !", "Léa", 1.0),
            ("Leo, las fotos nuevas ya te esperan aquí. Dime cuál te gusta más.", "Leo", 1.0),
            ("Jan, die neuen Bilder warten auf dich. Sag mir, welches du magst.", "Jan", 1.0),
        ],
    )
    def test_examples(self, text: str, name: str, score: float) -> None:
        assert quality_score(text, name) == pytest.approx(score, abs=1e-3)

    def test_a_name_that_is_empty_personalises_nothing(self) -> None:
        assert quality_score("A new set of photos is waiting for you, with love", " ") == 0.75

    def test_saying_the_same_again_is_worse(self) -> None:
        once = "Maya, the new set is here and I love it so much. "
        assert quality_score(once * 4, "Maya") < quality_score(once, "Maya")

    def test_one_endless_sentence_of_long_words_is_worse_than_short_ones(self) -> None:
        plain = "Maya, the set is done. I like the red one best. Tell me yours."
        heavy = "Maya, notwithstanding considerable organisational difficulties, photographic documentation concluded"
        assert quality_score(heavy, "Maya") <= quality_score(plain, "Maya") - 0.2

    @given(st.integers(min_value=400, max_value=1_200))
    def test_beyond_400_characters_longer_is_never_better(self, size: int) -> None:
        assert quality_score("y" * (size + 1), "Maya") <= quality_score("y" * size, "Maya")


class TestCombined:
    @given(SCORES)
    def test_without_a_judge_the_score_stays(self, score: float) -> None:
        assert combined(score, None) == score

    @given(SCORES, SCORES)
    def test_it_lies_between_the_two(self, score: float, judged: float) -> None:
        assert min(score, judged) - 1e-4 <= combined(score, judged) <= max(score, judged) + 1e-4

    @pytest.mark.parametrize(("judged", "result"), [(1.0, 0.8333), (0.0, 0.1667), (7.0, 0.8333), (-1.0, 0.1667)])
    def test_the_judge_counts_two_thirds(self, judged: float, result: float) -> None:
        assert combined(0.5, judged) == result
