"""Rules of style: what they find lowers the score and does not block."""

from typing import Final

from domain.compliance_rule import Rule, Severity

STYLE_RULES: Final = (
    Rule(
        id="pressure",
        clause="deceptive-practices",
        severity=Severity.WARN,
        remedy="Say what is offered without false urgency or guarantees.",
        phrases={
            "en": (
                "(last|final|only) (chance|warning|call|opportunity)",
                "act (now|fast|quick|quickly)",
                "only today",
                "guarantee(d|s)",
                "now or never",
                "(you('ll| will)|or) regret (it|this|not|missing)",
                "(offer|deal|sale|price|discount)? ?(ends|expires|gone|over) in (\\d+|five|ten|two|three|one|"
                "a few) (minutes?|mins?|seconds?|secs?)",
                "(before|until) it'?s too late",
                "(hurry|act|buy|unlock|order) (up )?(now )?before",
                "once in a lifetime",
                "risk ?free",
            ),
            "fr": (
                "plus que (\\d+|deux|trois|cinq|dix|quelques) (minutes|heures|secondes),? (après|avant|et après)",
                "dernière (chance|occasion|opportunité)",
                "(seulement|uniquement|que) aujourd'hui",
                "(maintenant|aujourd'hui) ou jamais",
                "(c'est )?garantie?",
                "avant qu'il (ne )?soit trop tard",
                "tu (vas|le) (le )?regretter(as)?",
            ),
            "es": (
                "última (oportunidad|chance|llamada|ocasión)",
                "(solo|sólo|únicamente) (por )?hoy",
                "ahora o nunca",
                "garantizad[oa]",
                "antes de que sea (demasiado )?tarde",
                "te arrepentirás",
            ),
            "de": (
                "(aller)?letzte (chance|gelegenheit|warnung|möglichkeit)",
                "(nur|ausschließlich) (noch )?heute",
                "jetzt oder nie",
                "garantiert",
                "bevor es zu spät ist",
                "(wirst|du wirst) es bereuen",
            ),
            "it": (
                "ultima (occasione|possibilità|chance)",
                "solo (per )?oggi",
                "(ora|adesso) o mai più",
                "garantit[oa]",
                "prima che sia troppo tardi",
            ),
            "pt": (
                "última (chance|oportunidade)",
                "(só|somente|apenas) (por )?hoje",
                "(agora|é agora) ou nunca",
                "garantid[oa]",
                "antes que seja tarde",
            ),
        },
        harmless=("only today (i|it|is|was|did)", "(solo|sólo) hoy (me|te|he)", "nur heute (mal|habe)"),
    ),
    Rule(
        id="shouting",
        clause="spam",
        severity=Severity.WARN,
        remedy="One exclamation mark is enough.",
        patterns=(r"!{3,}", r"\${2,}"),
    ),
)
