"""The words of the pocket world: plain English, each group with the meaning that the grammar gives it."""

from __future__ import annotations

WOMEN = ("anna", "mary", "lucy", "emma", "sara", "kate", "rosa", "nina")
MEN = ("ben", "tom", "sam", "paul", "jack", "max", "hugo", "omar")
NAMES: tuple[str, ...] = WOMEN + MEN

ROOMS = ("kitchen", "garden", "park", "school", "hall", "office", "forest", "museum")
JOBS = ("baker", "doctor", "farmer", "teacher", "driver", "painter")
ACTS = ("sleeping", "singing", "reading", "cooking", "running", "dancing")
COLOURS = ("red", "blue", "green", "white", "black", "yellow")
# A thing has a kind: "anna has a drum" entails "anna has a toy".
KINDS = {
    "toy": ("ball", "kite", "drum", "doll"),
    "pet": ("dog", "cat", "bird", "horse"),
    "fruit": ("apple", "pear", "plum", "lemon"),
    "tool": ("hammer", "spade", "saw", "rake"),
}
THINGS = tuple(thing for things in KINDS.values() for thing in things)
KIND_OF = {thing: kind for kind, things in KINDS.items() for thing in things}
PLURAL = {thing: thing + "s" for thing in THINGS} | {"fruit": "fruits", "toy": "toys", "pet": "pets", "tool": "tools"}
NUMBERS = tuple(str(n) for n in range(1, 7))

# Reviews: what is judged, which parts of it, and the two moods. Index 0 is bad and 1 is good, as in SST-2.
SHOWS = ("film", "show", "book", "play", "meal", "trip")
ASPECTS = ("story", "end", "start", "music", "food", "service", "idea", "cast")
ADJECTIVES = (
    ("bad", "dull", "cold", "slow", "ugly", "weak", "silly", "awful"),
    ("good", "warm", "funny", "lovely", "bright", "clever", "fresh", "sweet"),
)
FEELINGS = (("hated", "disliked", "regretted"), ("loved", "enjoyed", "praised"))
VERDICTS = ("terrible", "great")

# Embedding verbs: what "anna … that P" says about P. Order and numbers as in CB.
COMMITMENTS = (
    ("knows", "sees", "remembers", "learned"),  # P holds
    ("wrongly thinks", "wrongly says", "pretends", "falsely claims"),  # P does not hold
    ("thinks", "hopes", "says", "guesses"),  # P may hold
)

# Scenes (for similarity): every slot has values, every value two words that mean the same.
AGENTS = (("woman", "lady"), ("man", "fellow"), ("boy", "lad"), ("girl", "lass"), ("child", "kid"), ("chef", "cook"))
DEEDS = (
    ("washing", "cleaning"),
    ("carrying", "bearing"),
    ("pulling", "dragging"),
    ("buying", "purchasing"),
    ("building", "making"),
    ("throwing", "tossing"),
)
GOODS = (("car", "auto"), ("stone", "rock"), ("box", "crate"), ("cup", "mug"), ("picture", "photo"), ("rug", "carpet"))
SITES = (
    ("street", "road"),
    ("yard", "lawn"),
    ("woods", "grove"),
    ("shop", "store"),
    ("town", "city"),
    ("beach", "shore"),
)
SYNONYMS = {
    word: other for group in (AGENTS, DEEDS, GOODS, SITES) for a, b in group for word, other in ((a, b), (b, a))
}

# Words with two senses; a sense is a domain, and a domain is known by its cues.
DOMAINS = {
    "water": ("river", "lake", "boat", "fish", "sea", "bridge"),
    "money": ("coin", "price", "loan", "bill", "tax", "purse"),
    "sport": ("goal", "team", "coach", "race", "court", "medal"),
    "music": ("song", "piano", "choir", "tune", "stage", "violin"),
    "wild": ("wolf", "bear", "deer", "owl", "cave", "nest"),
    "house": ("door", "wall", "roof", "window", "stairs", "shelf"),
    "body": ("arm", "foot", "hand", "skin", "neck", "finger"),
    "class": ("lesson", "pencil", "desk", "test", "chalk", "essay"),
}
SENSES = {
    "bank": ("water", "money"),
    "bat": ("wild", "sport"),
    "note": ("music", "class"),
    "seal": ("water", "class"),
    "key": ("music", "house"),
    "nail": ("body", "house"),
    "chest": ("body", "house"),
    "organ": ("music", "body"),
    "pupil": ("class", "body"),
    "bass": ("water", "music"),
    "pool": ("water", "money"),
    "check": ("money", "class"),
    "trunk": ("body", "wild"),
    "pitch": ("sport", "music"),
    "match": ("sport", "house"),
    "score": ("sport", "music"),
}
