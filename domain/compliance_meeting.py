"""Rules against meetings in person and against services in person."""

from typing import Final

from domain.compliance_rule import Rule

MEETING_RULES: Final = (
    Rule(
        id="meet-up",
        clause="meetings-and-escorting",
        remedy="Do not offer or suggest meeting in person.",
        phrases={
            "en": (
                "(we|let'?s|shall we|wanna|how about we|you and (i|me)|i'?d love to) (could |can |should |might |"
                "just |maybe |go |all )*(grab|get|have|go for|go out for|share|do) (a |an |some )?(coffees?|drinks?|"
                "dinner|lunch|brunch|breakfast|bite|beers?|wine|cocktails?|food)… (in real life|in the flesh|offline|"
                "next (week|weekend|month|time)|this (week|weekend|evening)|tomorrow|tonight|sometime|someday|"
                "somewhere|one day|soon|on (monday|tuesday|wednesday|thursday|friday|saturday|sunday)|downtown|in "
                "(town|the city)|near (you|me|your))",
                "(grab|get|have|coffee|drinks?|dinner|lunch|brunch|date|party|dance|cuddle|kiss|touch)… (in real "
                "life|in the flesh)",
                "(i|we|you) (could|can|will|would|might|'?ll|'?d)( also)? (be|come|stand|knock|show up|turn up)( "
                "right| soon)? (at|to|on) (your|my) (door|doorstep|place|house|hotel|flat|apartment)",
                "meet ?(up|me|in person|irl|in real life|face to face|offline)",
                "meet (you|each other|us|somewhere|sometime)( up)? ?(in person|irl|in real life|at|in|for|tonight|"
                "tomorrow|this|next|soon|there|"
                "after|later|outside)",
                "(let'?s|wanna|want to|could|can|should|shall|would|we|love to) (just |finally |all )?meet",
                "(see|date|touch|hold|kiss|hug|hang out|hang|get together|be together|catch up|spend time)… "
                "(in person|irl|face to face|for real tonight)",
                "(see|meet|date|have|feel|get) (me|you|u) (in|for) (real life|real|the flesh)",
                "irl",
                "hook(ing)? ?up (when|tonight|with me|later|in|at|this|sometime)",
                "hook ?up$",
                "(come|comin|coming|get|drop|stop|swing) (over|round|by) (tonight|to my|to your|later|now|and|this|"
                "tomorrow|here|mine|my place)",
                "(let me|can i|i('?ll| will| can| could| want to)?) come (over )?to (you|your)( place| house| hotel|"
                " flat| apartment)?",
                "(come|visit|join|find|see|sleep|stay)… (to|at|in) my (hotel|place|flat|apartment|house|room|"
                "bed tonight|suite)",
                "(your|my) (place|hotel|house|flat|room|apartment) (or|to) (mine|yours|my place)",
                "(come|visit) (see |visit )?(me )?(at|to|in) (my )?(place|house|flat|apartment|hotel|home)",
                "visit me (at|in)",
                "(book|get|rent|grab) (us )?(a|the|an) (hotel|airbnb|motel|hotel room|room)( room)?( (for|near|so))?",
                "(at|to|in) (a|the|your) (hotel|motel|airbnb) (tonight|together|room together|with (me|you))",
                "(what'?s|what is|send|give|tell|drop|share)( me)? your (home )?(address|location|room number)",
                "(grab|get|have|go for|out for) (a |some )?(coffee|drinks?|dinner|lunch|brunch) (together|with me|"
                "in town|tonight|sometime)",
                "(real|actual|proper|blind) (life )?date,? (just|with|in|the two)",
                "go (out )?on a (real )?date",
                "(take|taking) me out( (to|for|on))?",
                "pick me up (at|from|in|tonight|after|later)",
                "(i|i'?ll|can|could|will|i'?d) (also )?(travel|fly|drive) to (you|your (city|town|place))",
                "(fly|drive) (me )?(out )?to (you|see (me|you))",
                "(who|anyone|anybody) (wants?|up|down|free) (to|for|for a) (meet|meeting|a meet|meet up|hook up|date)",
                "(dinner|lunch|brunch|drinks?|coffee) (on|this|next|tonight|tomorrow)…(you and (me|i)|with me|"
                "together|the two of us)",
                "meet ?(&|and|n) ?(greet|fuck|play)",
                "(overnight|sleep ?over) (together|with me|at)",
                "spend (the|a) (night|evening|weekend) (together|with (me|you)$|at my (place|flat|house|hotel))",
                "(private|in person|real|discreet|paid) (meetings?|meet ?ups?|meets?|encounter|rendez ?vous|date)",
            ),
            "fr": (
                "(on )?(se|nous|te|me|vous|s') ?(voir|rencontr*|retrouver|rejoindre|croiser|voit|voie|voyait|verrait|"
                "retrouvait) (en vrai|ce|"
                "demain|dans|irl|à l'|au|chez|pour|"
                "quelque part|autour|un de ces|en ville|en personne|samedi|dimanche|vendredi|la semaine|ensemble)",
                "(on se|se|nous|te) rencontr(er?|erait|era|ons)",
                "en (vrai|personne|face à face|chair et en os)",
                "(viens|venir|passe|passer|dors|dormir|rejoins( |-)?moi|retrouve( |-)?moi|invite) (ce soir |me voir |"
                "me rejoindre )?"
                "(chez (moi|toi)|à (l'|mon )?hôtel|dans (ma chambre|mon appart*|mon lit))",
                "(rejoins|retrouve|rejoindre|attends)( |-)?moi (au|à l'|à la|devant|chez|dans) (hôtel|bar|gare|café|"
                "resto*|parking|ma|mon|parc|moi)",
                "(rendez ?vous|rdv) (à l'hôtel|chez (moi|toi)|dans (mon|ma|ton|un)|au bar|en ville|discret|privé|"
                "réel|coquin chez)",
                "(me |peux )(déplacer|déplace|venir) chez toi",
                "je (viens|passe|peux venir|me déplace) chez toi",
                "je me déplace",
                "(donne|envoie|file|dis|c'est quoi)( |-)?(moi )?ton adresse",
                "(boire|prendre|aller boire|manger) (un |une )?(verre|café|pot|coup|resto*|morceau) (ensemble|"
                "avec (moi|toi)|en ville|tous les deux)",
                "plan (cul|direct|réel)",
                "dans (mon|ton) appartement",
                "passer (la|une) (nuit|soirée) (chez (moi|toi)|avec (moi|toi)$)",
            ),
            "es": (
                "(quedamos|quedar|vemos)… (para|y) (tomar|cenar|comer|un café|una copa)",
                "(quedamos|quedemos|quedar|quedas) (en persona|este|esta|para|mañana|hoy|el|un día|en el|conmigo|"
                "tú y yo|y)",
                "en persona",
                "en (la )?vida real",
                "(nos (vemos|encontramos|juntamos)|verte|vernos|encontrarnos|vente|ven|veámonos|te veo) (en|a) (mi|"
                "tu|el|un|la) "
                "(casa|hotel|piso|apartamento|depa|habitación|bar|centro|cuarto|cama)",
                "(ven|vente|vienes|vengas|venir|pásate) (a|por) (mi )?(casa|piso|hotel|habitación|apartamento|depa)",
                "(voy|puedo ir) a tu (casa|hotel|piso|ciudad)",
                "(dame|pásame|mándame|dime|cuál es) tu (dirección|ubicación)",
                "(tomar|beber|cenar|comer) (algo|un café|una copa|unas copas|juntos) (juntos|en el centro|conmigo|"
                "este|esta|contigo)",
                "conocernos (en persona|fuera|este|de verdad|cara a cara)",
                "cara a cara",
                "pasar (la|una) noche (conmigo|en mi (casa|hotel|piso)|juntos)",
            ),
            "de": (
                "(sehen|treffen) wir uns… (in der stadt|bei (mir|dir)|im (café|hotel|park|restaurant)|in der bar|"
                "persönlich|in echt|zum (kaffee|essen))",
                "(wollen|sollen|gehen|lass uns)( wir)?… (kaffee|wein|bier|was|etwas) (trinken|essen) gehen",
                "(wollen|können|lass|lasst|sollen|möchten|werden|würden|wann|wo|magst du|willst du|"
                "dürfen)( wir)? (uns|dich|mich|euch) "
                "(mal |heute |morgen |doch |bald |endlich |im hotel |in echt |irgendwo |privat )*(treffen|sehen|"
                "kennenlernen)",
                "treffen wir uns",
                "(triff|treffe|treff) (mich|dich|uns) (am|im|in|an|bei|mit|heute|morgen|um|vor|doch|mal|real|privat)",
                "(uns|dich|mich) (im|in einem|am) (hotel|bahnhof|café|bar|park|auto)( treffen| sehen)?",
                "(im|in) (echten|realen|wirklichen|richtigen) leben",
                "(persönlich|real|live und in farbe|in echt|in natura) (treffen|kennenlernen|kennen|sehen|begegnen)",
                "(komm|kommst du|fahr|besuch|schlaf)( doch| mich| heute| abend| nacht| morgen| mal| einfach)* "
                "(zu mir|bei mir|vorbei|rüber|in mein hotel|ins hotel|nach hause zu mir)",
                "(ich )?(komme?|fahre?|besuche?) (ich )?(dich |heute |gerne? |auch )*(zu dir|bei dir|vorbei)",
                "(gib|sag|schick*|nenn|verrat)( mir)? (deine|die) (adresse|anschrift|standort)",
                "(auf einen|einen|was|etwas) (kaffee|drink|trinken|essen)( gehen)? (zusammen|mit mir|gehen wir|"
                "wir zwei)",
                "real ?treffen",
                "(kommst du|komm|besuchst du) mich… besuchen",
                "besuchst? du mich",
                "bei (mir|dir) zu hause treffen",
                "(die|eine) nacht (bei|mit) (mir|dir) verbringen",
            ),
            "it": (
                "(vediamoci|incontriamoci|vederci|incontrarci|vedersi|ci vediamo|ci incontriamo|incontrarti|vederti|"
                "conoscerci) "
                "(di persona|dal vivo|in (albergo|hotel|centro|città|un)|da (me|te)|a casa|stasera (da|in|a)|per|al|"
                "questo)",
                "di persona",
                "(vieni|passa|venire|dormi) (a casa mia|da me|a trovarmi|nel mio (letto|hotel|albergo)|in (albergo|"
                "hotel))",
                "(dammi|mandami|dimmi) il tuo indirizzo",
                "(prendere|bere|prendiamo) (un|qualcosa|un caffè)… (insieme|con me|in centro)",
                "(vengo|posso venire) (da te|a casa tua)",
            ),
            "pt": (
                "(nos encontrar|se encontrar|encontrar(mos)?|nos ver|te ver|te conhecer|ver você|"
                "vamos nos ver)( a gente)? "
                "(pessoalmente|ao vivo|de verdade|no|na|hoje|em|esse)",
                "(nos|se|me|te) encontr(ar|o|a|amos) (no|na|em|pessoalmente|hoje) *(hotel|motel|casa|bar|shopping)?",
                "pessoalmente",
                "(vem|venha|passa|dorme|vir) (aqui )?(na|em|para|pra|à) (minha|a minha) (casa|cama|ap*)",
                "(vem|vamos) (pro|para o|pra um|num|no) (hotel|motel)",
                "(me (passa|dá|manda)|qual (é )?(o )?) ?(o )?seu (endereço)",
                "(tomar|beber) (um|uma|algo)… (juntos|comigo|pessoalmente)",
            ),
        },
        harmless=(
            "(nice|lovely|great|happy|good|pleased|glad|pleasure|wonderful|sweet|delighted) to (finally )?meet (you|"
            "me|all of you)( (here|in))?",
            "meet me (here|in (the|my|your|our) (new |newest |latest |next |first |last |little )*(video|clip|"
            "set|post|story|stories|photos?|pictures?|series|shoot|feed|chat|dms?|inbox|messages|stream|live|"
            "live ?stream|dreams|comments)|"
            "on (the|my) "
            "(live|stream|live ?stream|page|feed))",
            "meet (up )?(with )?(your|my|the|their|own|all) (own )?(wishes|expectations|needs|standards|deadline|"
            "goals?|criteria|demands)",
            "meet ?up with my own",
            "(you|you'?ll|we|we'?ll|all|fans|i) meet (here|on here|on the (live|stream))",
            "(come|coming) (over|round) to (my|your|the|this) (side|page|profile|inbox|live|stream|world|dms?|feed|"
            "account)",
            "(come|visit|see)… (at|in|to) my (place|house) of (dreams|fantasy)",
            "(look|looks|looking|even (better|prettier|hotter|sweeter)|so good|prettier|better|shy|funny|tall|"
            "short) …(in person|in real life|irl)",
            "meet me @ (the|my) (live|stream|live stream)",
            "(ravie?|contente?|heureu(x|se)|enchantée?|plaisir) de (te|vous) (rencontrer|voir)( ici)?",
            "treffen wir uns (hier|im (chat|stream|live ?stream|live))",
            "(wir )?(sehen|treffen) uns (hier|im (chat|stream|live|livestream|live stream))",
            "schön dich( endlich| hier)? kennenzulernen",
            "(rendez ?vous|on se (voit|retrouve)) (ici|en live|en direct|dans (mes|le|tes) (dm|message|live|"
            "direct)*s?|en story)",
            "(on se |se )(retrouve|voit|retrouver) (ici|en live|en direct|dans le live|sur le live|demain ici|"
            "ce soir (ici|en live|en direct))",
            "(viens|venir)… (voir|découvrir|lire|regarder)",
            "ci vediamo (in diretta|qui|in live|stasera (in diretta|qui|in live))",
            "(nos vemos|te espero|te veo) (en (el|mi|la) (directo|live|stream|chat)|aquí|por aquí)",
            "te vejo (na|aqui|no) *(live|chat|stream)?",
            "(take|taking) me out of (my|this|the) (comfort|bed|here|mood|context)",
            "hook(ed)? ?up (my|the|a|some)",
            "(get|drop|come|stop) by (my|the) (page|profile|live|stream|inbox|dms?)",
            "in (chair|vrai) j'",
        ),
    ),
    Rule(
        id="escorting",
        clause="meetings-and-escorting",
        remedy="Nothing in person may be offered for money; offer content on the platform instead.",
        phrases={
            "any": (
                "escort*",
                "escorte",
                "gfe",
                "in ?calls?",
                "out ?calls?",
                "call ?girls?",
                "rent ?boys?",
                "cash ?meets?",
                "pay (for|per) (meet|play|a date|my (company|time in person))",
                "ppm meet",
                "full service",
                "girl ?friend experience",
            ),
            "en": (
                "(an|one|two|three|half an|\\d+) ?(hours?|hrs?|h|nights?) (at|in) (your|my|a|the) (hotel|place|flat|"
                "apartment|room|suite|house)… (for|\\d|cash|€)",
                "cash up ?front",
                "(hourly|overnight|hour|night|in person) (rates?|fees?|prices?)",
                "(my )?rates? (is |are |per )?(for|per|an|by|in)? ?(the |a )?(hour|hours|night|overnight|in person|"
                "visit|meeting|incall|outcall)",
                "(dm|message|ask|text|hmu) (me )?for (my )?(hourly |meeting |in person |outcall |full )?(rates|"
                "donations?)",
                "(rates|prices) (in|by|via) (dms?|message|private)",
                "sex (for|in exchange for|against) (money|cash|pay|payment|rent|gifts|\\d+)",
                "(buy|pay for|paid) sex( with me)?",
                "prostitut*",
                "hookers?",
                "whores? for (hire|rent)",
                "(book|hire|rent) me (for|tonight|this|by|out)",
                "brothel*",
                "(erotic|sensual|nuru|tantra|happy ending) massages? (in|at|by|for|offered|available|with)",
                "happy ending massage",
                "\\d+ (dollars |bucks |euros? |pounds )?(an|per|/) ?(hour|hr|night|visit)",
                "sex ?work(er)? (in|available|at your)",
                "companionship (for|by|rates|services?)",
                "(at|in) your hotel,? (two|one|\\d+) hours?",
            ),
            "fr": (
                "je reçois (chez moi|à domicile|en appart*|discrètement|à l'hôtel)",
                "\\d+ (€ |euros )?(la|par|une) demi( |-)?heure",
                "(150|200|250|300|400|500) (€ |euros )?la visite",
                "escort(es?|ing|girls?|boys?)?",
                "prostitu*",
                "(mes )?tarifs? (à l'|de l'|pour une |par )(heure|nuit|passe)",
                "(une|la|de|faire une) passe( à| de| d'une)?",
                "service complet",
                "\\d+ (€ |euros )?(de l'|l'|par |la |pour une )(heure|nuit|passe)",
                "(relation|sexe|rapport) tarifée?s?",
                "(sexe|amour) contre (de l')?argent",
                "accompagnatrice",
            ),
            "es": (
                "(prepago|prepagos)",
                "prostitu*",
                "servicio (completo|de acompañante*)",
                "(mis )?(tarifas?|precios?) (por|la|de la|de|a la) (hora|noche|encuentro|servicio)s?",
                "acompañantes? (de lujo|disponible|vip|en|para|sexual*)",
                "(dama|chica|señorita) de compañía",
                "\\d+ (€ |euros |dólares )?(la|por|una) (hora|noche)",
                "sexo (por|a cambio de) dinero",
                "putas? (en alquiler|disponible)",
            ),
            "de": (
                "(eine|die|halbe|ganze) (stunde|nacht) (mit mir |bei mir |bei dir )*(kostet|für) \\d+",
                "(begleit|escort|hostessen) ?(service|dame|agentur|damen)",
                "haus ?(und|&) ?hotel ?besuche?",
                "(haus|hotel) ?besuche?( möglich| gerne)?",
                "käuflich(er|e|en)? (sex|liebe|dame)",
                "prostitu*",
                "stundenpreis*",
                "(preise?|tarife?|honorar) (pro|für die|die|für eine|je) (stunde|nacht)",
                "\\d+ (€ |euro )?(die|pro|für die|für eine|je) (stunde|nacht)",
                "sex (gegen|für) (geld|bezahlung|bares|taschengeld)",
                "taschengeld ?(treffen|ladies|lady)?",
                "hure[n]? (für|zu)",
                "nutten?",
            ),
            "it": (
                "accompagnatric[ei]",
                "prostitut[ae]",
                "(tariff[ae]|prezz[oi]) (all'|per |a )(ora|notte|incontro)",
                "\\d+ (€ |euro )?(all'|l'|per )(ora|notte)",
                "servizio completo",
                "incontri a pagamento",
                "sesso (a pagamento|per soldi)",
            ),
            "pt": (
                "acompanhantes?",
                "garot[ao]s? de programa",
                "(faço|fazer|faz) programa",
                "prostitut[ao]s?",
                "\\d+ (reais |euros |€ )?(a|por|à) (hora|noite)",
                "(cachê|tarifa|preço) por (hora|noite|encontro)",
                "sexo por dinheiro",
            ),
        },
        harmless=(
            "(full service|service complet|servicio completo) (for|to|at|pour|para) (my|the|a|mes|mis) (plants?|car|"
            "bike|garden|restaurant|gas station|"
            "laundry|hair|skin)",
            "ford escort",
            "escort (rs|mk)",
            "escorted (tour|to my seat|out|home)",
            "(sleep|speed|heart|km|miles|rest|calories|\\d+ km) \\d+ (per|an) hour",
            "\\d+ (km|miles|kilometers|pictures|photos|messages|times|kmh|texts|likes|calories|steps) (an|per) hour",
        ),
    ),
)
