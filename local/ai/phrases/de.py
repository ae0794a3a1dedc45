"""German."""

from local.ai.phrases.book import Phrasebook

BOOK = Phrasebook(
    nameless="du",
    openings=(
        "Hey {name}!",
        "Hi {name}, wie läuft deine Woche?",
        "{name}, ich habe gerade an dich gedacht.",
        "Schön, dass du da bist, {name}.",
        "Hallo {name}, eine kleine Nachricht von mir.",
        "{name}! Ich habe Neuigkeiten für dich.",
        "Na, {name}, alles gut bei dir?",
        "Rate mal, {name}.",
        "Servus {name}, das hier ist für dich.",
        "{name}, hast du kurz Zeit?",
    ),
    bodies=(
        "Ich habe das ganze Wochenende an einer neuen Serie gearbeitet.",
        "Auf meiner Seite gibt es etwas Neues, und deine Meinung zählt.",
        "Das heutige Thema habe ich mit dir im Kopf ausgesucht.",
        "Die neue Serie ist noch schöner geworden als gehofft.",
        "Gerade probiere ich einen ganz anderen Stil aus.",
        "Hinter den Kulissen war es chaotisch, das Ergebnis ist toll.",
        "Ich bin eben mit dem Schnitt fertig und musste es dir erzählen.",
        "Mein nächster Beitrag ist mein liebster in diesem Monat.",
        "Ich plane die nächsten Wochen, und dein Geschmack ist mir wichtig.",
        "Das Licht hat drei Versuche gebraucht, und es hat sich gelohnt.",
        "Auf meiner Seite wartet eine kleine Überraschung.",
        "Ich habe deine alten Kommentare gelesen und musste lächeln.",
        "Dieser Monat dreht sich um Farben, die ersten sind schon online.",
    ),
    by_type={
        "welcome": (
            "Willkommen, ich freue mich sehr über dich.",
            "Schau dich ganz in Ruhe um.",
            "Es bedeutet mir viel, dass du hier bist.",
        ),
        "follow_up": (
            "Ich wollte an unser Gespräch anknüpfen.",
            "Deine letzte Nachricht ging mir nicht aus dem Kopf.",
            "Ich hatte versprochen, mich noch einmal zu melden.",
        ),
        "promotional": (
            "Ab heute ist es online.",
            "Du erfährst es ganz früh.",
            "Das Beste habe ich für den Schluss aufgehoben.",
        ),
        "custom": (
            "Das habe ich nur für dich geschrieben.",
            "Das bleibt unter uns.",
            "Ich hoffe, es macht deinen Tag heller.",
        ),
    },
    by_audience={
        "vip": (
            "Deine Unterstützung in all den Monaten ist großartig.",
            "Du warst schon bei so vielen dabei.",
            "Mit Menschen wie dir macht das richtig Spaß.",
        ),
        "new": (
            "Du bist neu hier, also frag mich gern alles.",
            "Ich lerne dich gerade erst kennen.",
            "Erzähl mir, was dich hergeführt hat.",
        ),
        "regular": (
            "Deinen Namen lese ich immer gern.",
            "Dir fallen immer die Details auf.",
            "Ich mag deine Neugier.",
        ),
        "away": (
            "Es ist eine Weile her, das habe ich gemerkt.",
            "Du hast ein paar schöne Sachen verpasst.",
            "Ohne dich war es hier ziemlich ruhig.",
        ),
    },
    points=(
        "Kurz gesagt: {point}.",
        "Ein kleiner Hinweis: {point}.",
        "Darum geht es: {point}.",
        "Die Idee: {point}.",
        "Das erwartet dich: {point}.",
    ),
    closings=(
        "Schau vorbei, wenn du magst!",
        "Sag mir, was du denkst.",
        "Welches ist dein Favorit?",
        "Ich bin gespannt auf deine Antwort.",
        "Schreib mir, wenn es dir gefällt.",
        "Viel Freude und einen schönen Tag.",
        "Was möchtest du als Nächstes sehen?",
        "Bis bald auf meiner Seite!",
        "Deine Meinung ist mir viel wert.",
        "Bis ganz bald!",
    ),
)
