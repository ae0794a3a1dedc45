"""Where a message must say that software wrote it, whether it does, and the sentence that says so.

Sources, with what each asks for, are in docs/compliance.md. The table is cautious: it names a region as soon as a law
there may be read to cover personal messages that a model has drafted.
"""

import re
from typing import Final

from domain.compliance_text import normalise

MAX_TEXT_CHARACTERS: Final = 1_000
"""How long a message may be, in characters: the platform's limit."""

EU_AND_EEA: Final = frozenset(
    {
        *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU"),
        *("LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "IS", "LI", "NO"),
        # Parts of Finland and France with a country code of their own, and the Union as a whole.
        *("AX", "GF", "GP", "MF", "MQ", "RE", "YT", "EU"),
    }
)
"""Regulation (EU) 2024/1689 (AI Act), article 50, applicable from 2 August 2026."""

STATES: Final = frozenset({"US-CA", "US-ME", "US-NJ", "US-NY", "US-UT"})
"""California, Maine, New Jersey, New York and Utah have laws of their own."""

SENTENCES: Final = {
    "en": "Written with the help of AI.",
    "fr": "Message écrit avec l'aide d'une IA.",
    "es": "Mensaje escrito con ayuda de IA.",
    "de": "Mit Hilfe von KI geschrieben.",
    "it": "Messaggio scritto con l'aiuto dell'IA.",
    "pt": "Mensagem escrita com a ajuda de IA.",
    "nl": "Geschreven met hulp van AI.",
}

_ENGLISH = r"(?:written|made|generated|created|drafted|composed|assisted|powered|sent|produced)"
_ROMANCE = (
    r"(?:ecrite?|redigee?|generee?|creee?|escrit[oa]|redactad[oa]|generad[oa]|cread[oa]|scritt[oa]|"
    r"generat[oa]|creat[oa]|"
    r"gerad[oa]|criad[oa])"
)
_GERMAN = r"(?:geschrieben|erstellt|generiert|verfasst|erzeugt)"
_DISCLOSES = re.compile(
    rf"\b{_ENGLISH}\s(?:[a-z']+\s){{0,6}}?(?:an\s)?(?:ai\b|artificial intelligence\b|chat\s?bots?\b|software\b)"
    r"|\bai[\s-](?:generated|assisted|written|drafted|created|assistant|companion)\b"
    r"|\bi(?:'m| am) (?:an ai|a (?:chat\s?)?bot)\b"
    r"|\b(?:automated|automatic) message\b|\bvirtual assistant\b|\bnot (?:written by )?a human\b"
    rf"|\b{_ROMANCE}\s(?:[a-z']+\s){{0,5}}?(?:[a-z]{{1,4}}')?"
    r"(?:ia\b|intelligence artificielle\b|inteligencia artificial\b|"
    r"intelligenza artificiale\b)"
    r"|\bmessage automatique\b|\bmensaje automatico\b|\bmensagem automatica\b|\bmessaggio automatico\b"
    rf"|\b(?:ki|kunstlicher intelligenz)\s(?:[a-z]+\s){{0,2}}?{_GERMAN}\b"
    rf"|\b{_GERMAN}\s(?:[a-z]+\s){{0,3}}?(?:ki\b|kunstlicher intelligenz\b)"
    r"|\bki[\s-]?(?:generiert\w*|gestutzt\w*|unterstutzt\w*|erstellt\w*)\b|\bautomatische nachricht\b"
    r"|\bgeschreven (?:[a-z]+\s){0,3}?ai\b"
)


def demands_disclosure(region: str) -> bool:
    """Whether messages to ``region`` must say that AI wrote them: an ISO 3166 country or US state; "" is unknown."""
    code = region.strip().upper()
    return code in STATES or code.partition("-")[0] in EU_AND_EEA


def discloses(text: str) -> bool:
    """Whether ``text`` says that AI wrote it or helped with it, in one of the languages of ``SENTENCES``."""
    return any(sentence in text for sentence in SENTENCES.values()) or bool(_DISCLOSES.search(normalise(text)))


def disclosed(text: str, *, region: str, language: str) -> str:
    """``text`` with a sentence on a line of its own that says that AI helped, where ``region`` demands one.

    ``language`` is a tag such as "fr" or "pt-BR"; English when there is no sentence in it. The text comes back as it is
    when it has such a sentence, says nothing, or would be longer than ``MAX_TEXT_CHARACTERS``.
    """
    if not text.strip() or not demands_disclosure(region) or discloses(text):
        return text
    sentence = SENTENCES.get(re.split("[-_]", language.strip().lower())[0], SENTENCES["en"])
    # In brackets, so that it is never read together with what stands before it.
    extended = f"{text.rstrip()}\n({sentence})"
    return extended if len(extended) <= MAX_TEXT_CHARACTERS else text
