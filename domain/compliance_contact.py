"""Rules against contact details and against naming other services."""

from typing import Final

from domain.compliance_rule import Rule

_MAIL_HOSTS = (
    r"(?:g\s?mail|googlemail|hotmail|outlook|yahoo|icloud|proton\s?mail|proton|gmx|web|aol|live|orange|free|laposte|"
    r"libero|uol|bol|terra|mail|yandex|tutanota)"
)
_ENDINGS = r"(?:com|net|org|fr|es|de|it|pt|br|uk|co|io|eu|info|me|ru|ch|at|be|nl|pl)"
_AT = r"(?:at|arroba|arobase|aet|klammeraffe|chiocciola)\b\}?\]?\)?"
_DOT_WORD = r"\(?\[?\{?\b(?:dot|point|punto|punkt|ponto)\b\}?\]?\)?"
_DOT = rf"(?:\.|{_DOT_WORD})"
_MAIL_DOMAIN = (
    rf"(?:{_MAIL_HOSTS}\s{{0,3}}{_DOT}\s{{0,3}}|"
    # any other host: "look at her. It was …" and "at some point it …" are no addresses
    rf"(?!(?:some|this|that|what|which|any|one|no) point)[a-z0-9-]{{2,63}}(?:\.|"
    rf"\s{{0,3}}{_DOT_WORD}\s{{0,3}})){_ENDINGS}\b"
)
_HOSTS = (
    r"(?:linktr\.ee|allmylinks|beacons\.ai|bit\.ly|tinyurl|cutt\.ly|t\.me|wa\.me|m\.me|fb\.me|snipfeed|carrd\.co|"
    r"youtu\.be|goo\.gl|t\.co|bio\.link|solo\.to|getallmylinks|hoo\.be|msha\.ke)"
)
_CLEAR_ENDINGS = (
    r"(?:com|net|org|io|ly|gg|link|xyz|eu|info|biz|app|tv|ee|gl|co|uk|fr|ru|pl|nl|ch|online|site|website|shop|store|"
    r"vip|xxx|cam|porn|sexy|page|club|pro|top)"
)
_WORDLIKE_ENDINGS = r"(?:de|es|it|me|pt|br|to|in|is|be|live|chat|fans|bio|life|world|art|fun|one)"

CONTACT_RULES: Final = (
    Rule(
        id="contact-email",
        clause="contact-details",
        remedy="Remove the e-mail address; keep the conversation on the platform.",
        phrases={
            "any": ("gmail", "hotmail", "protonmail", "my g ?mail", "icloud mail"),
            "en": (
                "mail(ing)? me (at|on|there|instead|directly|works)",
                "mailing me",
                "e? ?mail me",
                "my e? ?mail( address)? (is|in|at|on)",
                "(your|drop) (your )?e? ?mail( address)?",
                "(shoot|send|drop|write) me an? e? ?mail",
                "by e? ?mail",
            ),
            "fr": (
                "envoie( |s? )moi un (e? ?mail|courriel)",
                "(mon|ton) (adresse )?(e? ?mail|courriel|adresse mail)",
                "par (e? ?mail|courriel)",
                "adresse (e? ?mail|électronique)",
            ),
            "es": (
                "(mándame|envíame|escríbeme) un (correo|e? ?mail)",
                "(mi|tu) (correo|e? ?mail)( electrónico)?",
                "por (correo|e? ?mail)",
                "correo electrónico",
            ),
            "de": (
                "schick* mir (eine|ne|per) e? ?mail",
                "(meine|deine) (e? ?mail|mail ?adresse|e? ?mail ?adresse)",
                "per (e? ?mail)",
                "mailadresse",
                "mail mir",
            ),
            "it": ("(la )?(mia|tua) (e? ?mail)", "(mandami|scrivimi) una (e? ?mail)", "via e? ?mail"),
            "pt": ("(meu|seu|teu) e? ?mail", "manda* um e? ?mail", "por e? ?mail"),
        },
        patterns=(
            r"\(\s?(?:at|arroba|arobase|aet|chiocciola)\s?\)\s?[a-z0-9-]{2}",
            r"@(?:(?<=[\w.+-]@)|(?<=[\w.+-]\s@))\s?[\w-]{1,63}(?:\.[\w-]{1,63}){0,3}\s?\.\s?[a-z]{2}",
            rf"@\s{{0,3}}{_MAIL_DOMAIN}",
            rf"\b{_AT}\s{{0,3}}{_MAIL_DOMAIN}",
        ),
        harmless=("e mail (notifications|from the platform)",),
    ),
    Rule(
        id="contact-phone",
        clause="contact-details",
        remedy="Remove the phone number; keep the conversation on the platform.",
        phrases={
            "en": (
                "(my|your|ur|a) (phone|cell|mobile|telephone|whats ?app|private) ?(number|no|nr|num)",
                "(my|your|ur) (digits|cell)( (is|are|here))?",
                "(text|call|ring|phone) me on (my|the) (cell|phone|mobile|number)",
                "my number (is|here|below|in)( my)? (bio|profile|on|at|zero|one|two|three|four|five|six|seven|eight|"
                "nine)",
                "(give|send|drop|text|tell) me your (number|digits|phone|cell)",
                "(have|want|take|here is|here's) my (number|digits)",
                "(shoot|send|drop) me a text",
                "call me (tonight )?on (the|my) phone",
            ),
            "fr": (
                "(mon|ton|un) numéro (de )?(téléphone|tél|portable|perso)",
                "(donne|envoie|file|laisse|passe)( |s? )moi ton (numéro|num|06|tél*|portable)",
                "mon (06|07|num|portable|tél)",
                "(voici|voilà|prends) mon numéro",
                "mon numéro c'?est",
            ),
            "es": (
                "(mi|tu|un) número de (teléfono|móvil|celular)",
                "(pásame|dame|mándame|envíame) tu (número|teléfono|móvil|celular)",
                "mi (teléfono|móvil|celular) es",
                "(te (doy|paso)|aquí tienes|apunta) mi (número|teléfono|móvil|celular)",
                "mi número es el",
            ),
            "de": (
                "(meine|deine) (handy|telefon|mobil|festnetz|private) ?(nummer|nr)",
                "(gib|schick*|sag|schreib*) mir deine (handy|telefon)?(nummer|nr)",
                "(hier ist|das ist) meine (nummer|nr)",
                "ruf* mich (auf dem handy )?an",
            ),
            "it": (
                "(mio|tuo) numero di (telefono|cellulare)",
                "(dammi|mandami|passami) il tuo (numero|cellulare|telefono)",
                "ecco il mio numero",
            ),
            "pt": (
                "(meu|seu|teu) número de (telefone|celular|telemóvel)",
                "(me (dá|passa|manda)|dá me|passa me) (o )?(seu|teu) (número|telefone|celular)",
                "(esse|este|aqui) (é|está) (o )?meu número",
            ),
        },
        patterns=(
            r"(?<![\w.])(?:\+|00)?\(?\d(?:[\s().-]{0,2}\d){8,13}(?![\w])",
            r"\b(?<!\.)0\d{2,4}/\d{6,8}(?!\d)",
            r"\b(?:text|call|ring|phone|tel|cell|number|numero|nummer|telefono|ligar?)\b\W{0,3}(?:me\b)?\W{0,3}"
            r"(?:(?:on|at|is|es|ist|est|e|au|al|no|le|el|o|:)\b)?\W{0,3}\d(?:[\s().-]{0,2}\d){6,}",
        ),
        harmless=(
            r"\d{1,2}(?<![./-]\d)(?<![./-]\d\d)[./-]\d{1,2}[./-]\d{2,4}(?![./-]?\d)",
            r"\d{4}[./-]\d{1,2}[./-]\d{1,2}",
            r"\d{1,2}[:h]\d{2}",
            r"\d{1,3}([., ]000){2,4}",
            "(10 )?9 8 7 6 5 4 3 2 1( 0)?",
            "1 2 3 4 5 6 7 8 9( 10| 0)?",
            "(favou?rite|lucky|number one) (phone )?number",
        ),
    ),
    Rule(
        id="contact-link",
        clause="contact-details",
        remedy="Remove the link; media and offers belong into the platform's own fields.",
        phrases={
            "any": ("all ?my ?links", "link ?tree"),
            "en": (
                "(the )?link (is )?(in|on|at|below) (my )?(bio|profile|description|comments)",
                "(click|tap|follow|open|use) (on )?(the|my|this) link",
                "(my|the) (own |private |personal |other |new )?(website|web site|web page|homepage|url)",
                "(visit|check out|see|on|to|at) my (own |private |other )?site",
            ),
            "fr": (
                "lien (est )?(dans|en|sur) (ma |mon )?(bio|profil)",
                "(clique|cliquez|clic) (sur )?(le|ce|mon) lien",
                "(mon|ma) (propre )?(site|page) (internet|web|perso*)",
                "(va|viens|allez|venez) (voir |sur )?mon site",
            ),
            "es": (
                "(enlace|link) (está )?(en|de) (mi )?(bio*|perfil)",
                "(haz|dale|pincha|entra) (clic )?(a|en|al) (el |mi |este )?(enlace|link)",
                "mi (propia )?(página|sitio) web",
                "visita mi (página|sitio|web)",
            ),
            "de": (
                "link (ist )?(in|im|auf) (meine[mr]? )?(bio|profil)",
                "klick* (auf )?(den|meinen|diesen) link",
                "(meine[rm]?|eigene[rn]?|private[rn]?) (webseite|website|homepage|internetseite)",
            ),
            "it": ("link (è )?(in|nella) (mia )?bio", "clicca (sul|il) link", "(mio|sul) sito( web| internet)?"),
            "pt": ("link (está )?(na|da) (minha )?bio", "clica (no|nesse) link", "meu site"),
        },
        patterns=(
            r"\bh(?:tt|xx)ps?\s?[:/]\S|\bwww\s?\.\s?\S",
            rf"\b(?<![@.]){_HOSTS}",
            rf"\.(?<=[a-z0-9-]{{2}}\.){_CLEAR_ENDINGS}(?!\w)",
            r"[a-z0-9-]{2} ?(?: \. |[(\[{] ?(?:dot|punkt|punto|point|ponto) ?[)\]}] ?)(?:com|net|org|xyz|io|me|"
            r"link)\b",
            rf"\.(?<=[a-z0-9-]{{3}}\.){_WORDLIKE_ENDINGS}/\w",
            r"\b(?:auf|unter|bei|su|sur|sul|em|en|on|at|to|no|visita|besuch\w*|visit|vai|entra)\s+"
            rf"[a-z0-9-]{{4,40}}\.{_WORDLIKE_ENDINGS}\b",
            r"\b(?<=[a-z0-9-]{3} )(?:(?:dot|punkt|punto|point|ponto) (?:com|net|org)|"
            r"dot (?:co|io|me|xyz|uk|fr|de|es|it|tv|app|link)|punkt (?:de|at|ch|eu)|point (?:fr|be|eu))\b",
        ),
    ),
    Rule(
        id="contact-handle",
        clause="contact-details",
        remedy="Remove the name or handle under which you are found elsewhere.",
        phrases={
            "en": (
                "(my|same) (@|at|tag|handle|nick ?name|nick|user ?name|screen ?name|user|profile name|name)…… "
                "(everywhere|anywhere else|elsewhere|on (all|every|any|most)( of)?( my| the)?( other)? (apps?|sites?|"
                "platforms?|socials?|networks?))",
                "i (go by|am called|am known as)…… (everywhere else|elsewhere|on (all|every|the) other (apps?|sites?|"
                "platforms?|socials?))",
                "my (handle|user ?name|screen ?name) (is|there|elsewhere)",
                "(same|my) (user ?name|user|handle|name) (over there|there|everywhere|elsewhere)",
                "same (user ?name|user|handle|name) on",
                "that'?s my (user|user ?name|handle|name) (there|on)",
                "(find|add|follow|search|look) (for )?me (everywhere else|elsewhere|(over )?there|on the other)",
                "on the other (app|site|platform|one)",
            ),
            "fr": (
                "mon (pseudo|@|arobase|identifiant|nom|compte)…… (partout|ailleurs|sur (les autres|tous les|toutes "
                "les) (applis?|sites?|réseaux|plateformes))",
                "mon (pseudo|identifiant|nom d'utilisateur) (c'?est|est|là-bas|sur|ailleurs)",
                "(même|mon) (pseudo|nom) (là-bas|ailleurs|partout|sur)",
                "(ajoute|suis|cherche)( |-)?moi (ailleurs|là-bas|sur l'autre)",
            ),
            "es": (
                "mi (@|arroba|usuario|nick|nombre)…… (en todas partes|en todos lados|en (otras|las demás|todas las) "
                "(redes|apps?|plataformas))",
                "mi (usuario|nick|nombre de usuario) (es|allí|en|allá)",
                "(mismo|mi) usuario (allí|en|allá)",
                "(búscame|agrégame|sígueme) (allí|allá|en (la|el) otr[oa])",
            ),
            "de": (
                "(mein (@|name|nick|nickname|benutzername|nutzername) (ist|lautet)|ich heiße)…… (überall|woanders|"
                "auf (allen|anderen|den anderen) (apps?|plattformen|seiten|netzwerken))",
                "mein (benutzername|nutzername|username|nick*) (ist|dort|da|auf)",
                "(gleicher|selber|mein) (benutzername|name|nick) (dort|überall)",
                "(folg*|such|find*|add|adde) (mir|mich) (dort|drüben|auf der anderen|woanders)",
            ),
            "it": (
                "il mio (nick*|nome utente|user*) (è|lì|su)",
                "(cercami|seguimi|aggiungimi) (lì|là|altrove|sull'altr[oa])",
            ),
            "pt": (
                "meu (usuário|nick|user|nome de usuário) (é|lá|no)",
                "me (segue|procura|acha|adiciona) (lá|no outro|na outra)",
            ),
        },
        patterns=(
            r"@(?<![\w@.]@)\s?(?=[a-z0-9._]{0,30}[a-z])[a-z0-9_][a-z0-9._]{2}",
            r"\b(?:add|find|follow|search(?: for)?|look up|ajoute|suis|cherche|busca|agrega|sigue|folg\w*|such\w*|"
            r"cerca|"
            r"segui|procura)\b[^.!?]{0,20}?(?<![\w.])(?=\w{0,30}[a-z])(?:[a-z]+[0-9]*[_.][a-z0-9_.]*[a-z0-9]|"
            r"[a-z]{3,}\d{2,})\b"
            r"(?! ?%)",
        ),
        harmless=(
            "my name (is|was)…… (everywhere i (go|look)|on (every|any) (cup|mug|list|door))",
            r"@ ?\d{0,3}(the|a|my|me|your|least|most|home|work|last)",
            "same name (on|over) (the list|my list)",
        ),
    ),
    Rule(
        id="contact-messenger",
        clause="contact-details",
        remedy="Do not name other messengers, networks or sites.",
        phrases={
            "any": (
                "whats ?app*",
                "wh?ats? ?ap",
                "wasap",
                "guasap",
                "watsap",
                "telegram*",
                "snap ?chat*",
                "kik",
                "insta ?gram",
                "insta",
                "discord",
                "we ?chat",
                "wickr",
                "viber",
                "skype*",
                "face ?time me",
                "let'?s face ?time",
                "facetime",
                "face ?book",
                "fb messenger",
                "messenger",
                "twitter",
                "tik ?tok*",
                "reddit",
                "tinder",
                "bumble",
                "fansly",
                "fan ?vue",
                "many ?vids",
                "patreon",
                "loyal ?fans",
                "chatur ?bate",
                "my ?free ?cams",
                "only ?fans (alternative|copy)",
                "sext ?panther",
                "snap ?premium",
                "premium snap",
                "google (chat|meet|hangouts)",
                "hangouts",
                "zangi",
                "session app",
                "threema",
                "imessage",
                "linked ?in",
                "vk ?(com|ontakte)",
            ),
            "en": (
                "(what'?s|what is|give me|gimme|drop|share|send|send me|add|want|need) (your|ur) (snap|sc|ig|tg|wa|"
                "signal|insta|whats)",
                "signal me",
                "(on|over|via|use|have|got|download|my|to) (signal|sc|tg|ig|wa|fb)",
                "(my|add me|add my|me|moved?|come|am|i'm|free|chat|talk) (to )?(on )?snap",
                "(my|the) ig (is|has|for|dm*|page|account|name)",
                "(on|over|via|have a) zoom( call)?",
                "(dm|hmu|hit me up|message|msg|text|write|find|add|follow|talk to|catch) me (up )?(on|over) "
                "(my )?(ig|sc|tg|wa|x|fb|line|snap|signal|threads|the gram|the app)",
                "video call (me )?on",
                "(do you have|have you got|you got|got|do you use|you use|you on|are you on) (snap|signal|ig|tg|zoom|"
                "line)",
            ),
            "fr": (
                "(sur|mon|ton|via|par) (snap|signal|insta|ig|wa|tg|x|zoom)",
                "(ajoute|rejoins) moi (sur )?(snap|insta)",
                "(tu as|t'as|as tu|utilises) (un )?(snap|signal|ig)",
            ),
            "es": (
                "(en|por|mi|tu) (snap|signal|ig|wa|tg|x|face|zoom|wsp)",
                "mi insta",
                "(tienes|usas) (snap|signal|ig|zoom)",
            ),
            "de": (
                "(dein|deinen|deine) (snap|ig|tg|wa|insta)",
                "(auf|per|über|mein|bei|zu|via) (snap|signal|ig|wa|tg|x|zoom|fb)",
                "mein insta",
                "(hast du|nutzt du|benutzt du) (snap|signal|ig|zoom)",
            ),
            "it": ("(su|il mio|via) (snap|signal|ig|wa|tg|x|zoom)",),
            "pt": ("(no|pelo|meu|seu|pro) (snap|signal|ig|wa|tg|x|zap|zapzap|whats|face|zoom)", "zap ?zap"),
        },
        patterns=(
            r"\b(?:snap|snp|sc|ig|tg|wa|insta|kik|fb)\s?[:=]\s?@?[a-z0-9][\w.]{2,}",
            r"\b(?:sc|ig|tg|snap)\s+(?=\w*[0-9_])[a-z]\w{3,}|\bhmu on (?:sc|ig|tg|x|fb)\b",
        ),
        harmless=(
            "kik off*",
            "(your|ur) (snap|insta) (judg*|decision|shots?|answer|reaction|smile|coup|pot)",
            "insta coup",
            "old telegram",
            "telegram from (my|his|her|the|a)",
            "(family|some|any|no) discord (between|in)",
            "birds? twitter",
            "twitter(ing)? (birds?|outside)",
            "(a|the) messenger of",
            "facetime with the sun",
            "(to|my|a|the) signal (from|strength|was|fire)",
            "line (up|between|of|by)",
        ),
        squeezed=("telegram(?!m)", "whatsapp(?!h|ea)", "instagram", "snapchat"),
    ),
)
