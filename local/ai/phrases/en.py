"""English."""

from local.ai.phrases.book import Phrasebook

BOOK = Phrasebook(
    nameless="friend",
    openings=(
        "Hey {name}!",
        "Hi {name}, how is your week going?",
        "{name}, I was just thinking of you.",
        "Good to see you here, {name}.",
        "Hello {name}, a little note from me.",
        "{name}! I have some news for you.",
        "Hi there {name}.",
        "Guess what, {name}?",
        "Dear {name}, this one is for you.",
        "{name}, got a minute?",
    ),
    bodies=(
        "I spent the whole weekend on a new set and I am really proud of it.",
        "There is something new on my page and I would love your opinion.",
        "I picked today's theme with you in mind.",
        "The new series turned out even better than I had hoped.",
        "I have been trying a completely different style lately.",
        "Behind the scenes it was pure chaos, but the result is lovely.",
        "I just finished editing and could not wait to tell you.",
        "My next post is my favourite of the month so far.",
        "I am planning the coming weeks and your taste matters to me.",
        "It took three tries to get the light right, and it was worth it.",
        "I have a small surprise lined up on my page.",
        "I went through your old comments and they made me smile.",
        "This month is all about colours, and the first ones are online.",
    ),
    by_type={
        "welcome": (
            "Welcome, I am so glad that you joined.",
            "Take your time to look around.",
            "It means a lot that you are here.",
        ),
        "follow_up": (
            "I wanted to pick up where we left off.",
            "Your last message stayed with me.",
            "I promised to come back to you on this.",
        ),
        "promotional": (
            "It is online from today.",
            "You are among the first to hear about it.",
            "I kept the best part for the end.",
        ),
        "custom": (
            "I wrote this one by hand for you.",
            "This is just between the two of us.",
            "I hope that it brightens your day.",
        ),
    },
    by_audience={
        "vip": (
            "Your support over the months has been amazing.",
            "You have been with me for so many of these.",
            "People like you make this so much fun.",
        ),
        "new": (
            "Since you are new here, ask me anything.",
            "I am still getting to know you.",
            "Tell me what brought you here.",
        ),
        "regular": (
            "It is always nice to read your name.",
            "You always notice the details.",
            "I like how curious you are.",
        ),
        "away": (
            "It has been a while and I noticed.",
            "You have missed a few good ones.",
            "It was quiet here without you.",
        ),
    },
    points=(
        "Think: {point}.",
        "What to expect: {point}.",
        "A little hint: {point}.",
        "It is all about this: {point}.",
        "In short: {point}.",
    ),
    closings=(
        "Have a look when you have a moment!",
        "Tell me what you think.",
        "Which one is your favourite?",
        "I am curious what you say.",
        "Write me back if you like it.",
        "Enjoy, and have a lovely day.",
        "What would you like to see next?",
        "See you on my page!",
        "Your feedback means a lot to me.",
        "Talk soon!",
    ),
)
