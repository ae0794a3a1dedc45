"""French."""

from local.ai.phrases.book import Phrasebook

BOOK = Phrasebook(
    nameless="toi",
    openings=(
        "Coucou {name} !",
        "Salut {name}, comment se passe ta semaine ?",
        "{name}, je pensais justement à toi.",
        "Ravie de te lire, {name}.",
        "Bonjour {name}, un petit mot de ma part.",
        "{name} ! J'ai des nouvelles pour toi.",
        "Hello {name}.",
        "Devine quoi, {name} ?",
        "Tiens, {name}, voici pour toi.",
        "{name}, tu as une minute ?",
    ),
    bodies=(
        "J'ai passé le week-end sur une nouvelle série et j'en suis fière.",
        "Il y a du nouveau sur ma page et ton avis compte.",
        "J'ai choisi le thème du jour en pensant à toi.",
        "La nouvelle série est encore plus belle que prévu.",
        "En ce moment j'essaie un style complètement différent.",
        "En coulisses c'était le chaos, mais le résultat est superbe.",
        "Je viens de finir le montage et je voulais te le dire.",
        "Ma prochaine publication est ma préférée du mois.",
        "Je prépare les prochaines semaines et tes goûts m'intéressent.",
        "Il a fallu trois essais pour la lumière, et ça valait la peine.",
        "Une petite surprise se prépare sur ma page.",
        "J'ai relu tes anciens commentaires et ils m'ont fait sourire.",
        "Ce mois-ci, place aux couleurs : les premières sont en ligne.",
    ),
    by_type={
        "welcome": (
            "Bienvenue, je suis heureuse que tu sois là.",
            "Prends le temps de tout découvrir.",
            "Ta présence me touche beaucoup.",
        ),
        "follow_up": (
            "Je voulais reprendre notre conversation.",
            "Ton dernier message m'est resté en tête.",
            "J'avais promis de revenir vers toi.",
        ),
        "promotional": (
            "C'est en ligne dès aujourd'hui.",
            "Tu fais partie des premiers au courant.",
            "J'ai gardé le meilleur pour la fin.",
        ),
        "custom": (
            "Je l'ai écrit rien que pour toi.",
            "Cela reste entre nous deux.",
            "J'espère que cela égayera ta journée.",
        ),
    },
    by_audience={
        "vip": (
            "Ton soutien depuis des mois est formidable.",
            "Tu as suivi tant de mes projets.",
            "Grâce à des gens comme toi, c'est un plaisir.",
        ),
        "new": (
            "Tu viens d'arriver : pose-moi toutes tes questions.",
            "J'apprends encore à te connaître.",
            "Raconte-moi ce qui t'amène ici.",
        ),
        "regular": (
            "Lire ton nom me fait toujours plaisir.",
            "Tu remarques toujours les détails.",
            "J'aime ta curiosité.",
        ),
        "away": (
            "Cela fait un moment, je l'ai remarqué.",
            "Tu as manqué quelques belles choses.",
            "C'était calme ici sans toi.",
        ),
    },
    points=(
        "Au programme : {point}.",
        "Un petit indice : {point}.",
        "En bref : {point}.",
        "L'idée : {point}.",
        "Ce qui t'attend : {point}.",
    ),
    closings=(
        "Jette un œil quand tu veux !",
        "Dis-moi ce que tu en penses.",
        "Laquelle préfères-tu ?",
        "Hâte de te lire.",
        "Réponds-moi si ça te plaît.",
        "Profite bien, et belle journée.",
        "Que veux-tu voir ensuite ?",
        "À bientôt sur ma page !",
        "Ton retour compte beaucoup.",
        "On se parle vite !",
    ),
)
