"""Texts for anybody: none that names or greets somebody reaches others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.general_text import general_text, is_personal, names_in
from domain.provider import ContentPlan, GeneralText
from local.ai.writing import general_text as simulated

LANGUAGES = ("en", "de", "fr", "es", "it", "pt")
NAMES = st.from_regex(r"[A-Z][a-z]{2,9}", fullmatch=True)


def plan(**texts: str) -> ContentPlan:
    found = tuple(GeneralText(language=language, text=text) for language, text in texts.items())
    return ContentPlan(theme="Spring", tone="warm", angle="new photos", call_to_action="look", general_texts=found)


class TestIsPersonal:
    @pytest.mark.parametrize(
        "text",
        [
            "Hello Maya, the spring set is here.",
            "Hello, Maya! The spring set is here.",
            "hello maya, the spring set is here.",
            "✨ Hey MAYA ✨ the spring set is here.",
            "The spring set is here. I made it for Maya and for you.",
            "Maya's favourite is back.",
            "Liebe Maya, das neue Set ist da.",
            "¡Hola Maya! Ya está el nuevo set.",
            "Oh hey Maya, look at this.",
        ],
    )
    def test_a_recipients_name_makes_it_so_wherever_it_stands(self, text: str) -> None:
        assert is_personal(text, ["Maya Smith"])

    @pytest.mark.parametrize(
        "text",
        [
            "Hello Kate, the spring set is here.",
            "Dear Kate, the spring set is here.",
            "Good morning, Kate!",
            "Guten Morgen Kate, das neue Set ist da.",
            "Bonjour Élodie ! Le nouveau set est là.",
            "Ciao Giulia, è arrivato il nuovo set.",
            "Olá Joana, chegou o novo set.",
            "Hello {name}, the spring set is here.",
            "Hello [first name], the spring set is here.",
            "Hey <name>!",
        ],
    )
    def test_so_does_a_greeting_with_any_name_or_room_for_one(self, text: str) -> None:
        assert is_personal(text, [])

    @pytest.mark.parametrize(
        "text",
        [
            "Hello lovely, the spring set is here and I am curious what you think.",
            "Hey Babe, look at this.",
            "Hey, I finally finished the new set.",
            "Hello! Spring is here. May I show you?",
            "Hallo Liebling, das neue Set ist da. Ich liebe Rosen.",
            "Hallo Süßer, das neue Set ist da.",
            "Coucou Chéri, le nouveau set est là.",
            "You may like what I have for you; will you look?",
            "",
        ],
    )
    def test_what_addresses_whoever_reads_it_is_not(self, text: str) -> None:
        assert not is_personal(text, ["Maya", "Will", "J."])

    @pytest.mark.parametrize("text", ["the spring set is here, i made it for maya", "MAYA asked for it", "für maya"])
    def test_a_name_that_the_brief_has_as_well_makes_it_so_however_it_is_written(self, text: str) -> None:
        assert is_personal(text, [], ["maya"])

    def test_a_word_that_is_a_name_only_in_the_audience_does_not(self) -> None:
        text = "A rose for whoever will look."
        assert not is_personal(text, ["Rose", "Will"])
        assert is_personal(text, ["Rose"], ["will"])

    @given(name=NAMES, before=st.text(max_size=30), after=st.text(max_size=30))
    def test_a_name_is_found_in_any_text(self, name: str, before: str, after: str) -> None:
        assert is_personal(f"{before} {name} {after}", [f"{name} Smith"])

    @given(st.text(max_size=60), st.sampled_from(LANGUAGES))
    def test_what_the_simulated_provider_writes_for_anybody_is_not(self, brief: str, language: str) -> None:
        assert not is_personal(simulated({"brief": brief}, language), [])


class TestNamesIn:
    def test_however_they_are_written_each_once(self) -> None:
        brief = "Say thank you to MAYA, and to kate; spring sale."
        assert names_in(brief, ["Maya Smith", "Maya", "Kate", "Zoe", "S."]) == ("kate", "maya")


class TestGeneralText:
    PLAN = plan(en="Hello lovely.", de="Hallo Maya.", fr="Bonjour à tous.")

    @pytest.mark.parametrize(("language", "text"), [("fr", "Bonjour à tous."), ("de", "Hello lovely.")])
    def test_one_that_is_about_somebody_is_as_good_as_none(self, language: str, text: str) -> None:
        assert general_text(self.PLAN, language, ["Maya"]) == text

    def test_nor_is_one_that_has_a_name_of_the_brief_in_lower_case(self) -> None:
        texts = plan(en="i made this for you.", fr="c'est pour maya.")
        assert general_text(texts, "fr", [], ["maya"]) == "i made this for you."

    def test_where_all_are_there_is_none(self) -> None:
        assert general_text(plan(en="I made this for Maya."), "en", ["Maya"]) == ""
