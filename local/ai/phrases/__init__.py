"""The phrases that messages are put together from, one book for each language."""

from local.ai.phrases import de, en, es, fr
from local.ai.phrases.book import Phrasebook

BOOKS: dict[str, Phrasebook] = {"en": en.BOOK, "fr": fr.BOOK, "es": es.BOOK, "de": de.BOOK}


def phrasebook(language: str | None) -> Phrasebook:
    """The book of a language tag (`fr`, `fr-CA`); English for any other."""
    return BOOKS.get((language or "en").lower()[:2], en.BOOK)


__all__ = ["BOOKS", "Phrasebook", "phrasebook"]
