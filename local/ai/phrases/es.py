"""Spanish."""

from local.ai.phrases.book import Phrasebook

BOOK = Phrasebook(
    nameless="cielo",
    openings=(
        "¡Hola {name}!",
        "Hola {name}, ¿qué tal va tu semana?",
        "{name}, justo pensaba en ti.",
        "Qué alegría verte por aquí, {name}.",
        "Buenas, {name}, una notita de mi parte.",
        "¡{name}! Tengo novedades para ti.",
        "Muy buenas, {name}.",
        "¿Sabes qué, {name}?",
        "Mira, {name}, esto es para ti.",
        "{name}, ¿tienes un minuto?",
    ),
    bodies=(
        "Pasé todo el fin de semana con una serie nueva y estoy orgullosa.",
        "Hay algo nuevo en mi página y me encantaría tu opinión.",
        "Elegí el tema de hoy pensando en ti.",
        "La nueva serie quedó incluso mejor de lo que esperaba.",
        "Últimamente estoy probando un estilo muy distinto.",
        "Entre bastidores fue un caos, pero el resultado es precioso.",
        "Acabo de terminar la edición y quería contártelo.",
        "Mi próxima publicación es mi favorita del mes.",
        "Estoy planeando las próximas semanas y tu gusto me importa.",
        "Hicieron falta tres intentos con la luz, y valió la pena.",
        "Tengo una pequeña sorpresa preparada en mi página.",
        "Leí tus comentarios antiguos y me sacaron una sonrisa.",
        "Este mes va de colores, y los primeros ya están en línea.",
    ),
    by_type={
        "welcome": (
            "Te doy la bienvenida, me alegra que estés aquí.",
            "Tómate tu tiempo para mirar.",
            "Significa mucho que hayas llegado.",
        ),
        "follow_up": (
            "Quería retomar nuestra charla.",
            "Tu último mensaje se me quedó grabado.",
            "Prometí volver a escribirte sobre esto.",
        ),
        "promotional": (
            "Está en línea desde hoy.",
            "Quería que lo supieras muy pronto.",
            "Guardé lo mejor para el final.",
        ),
        "custom": (
            "Esto lo escribí solo para ti.",
            "Queda entre nosotros dos.",
            "Espero que te alegre el día.",
        ),
    },
    by_audience={
        "vip": (
            "Tu apoyo de estos meses ha sido increíble.",
            "Me has acompañado en muchísimas de estas.",
            "Con gente como tú todo es más divertido.",
        ),
        "new": (
            "Como acabas de llegar, pregúntame lo que quieras.",
            "Todavía te estoy conociendo.",
            "Cuéntame qué te trajo por aquí.",
        ),
        "regular": (
            "Siempre es lindo leer tu nombre.",
            "Tú siempre notas los detalles.",
            "Me gusta tu curiosidad.",
        ),
        "away": (
            "Ha pasado un tiempo y lo noté.",
            "Te has perdido unas cuantas buenas.",
            "Esto estuvo muy tranquilo sin ti.",
        ),
    },
    points=(
        "Una pista: {point}.",
        "En pocas palabras: {point}.",
        "Lo que te espera: {point}.",
        "La idea: {point}.",
        "Va de esto: {point}.",
    ),
    closings=(
        "¡Échale un vistazo cuando puedas!",
        "Dime qué te parece.",
        "¿Cuál es tu favorita?",
        "Tengo ganas de leerte.",
        "Respóndeme si te gusta.",
        "Disfruta y que tengas un lindo día.",
        "¿Qué te gustaría ver después?",
        "¡Te espero en mi página!",
        "Tu opinión vale mucho para mí.",
        "¡Hablamos pronto!",
    ),
)
