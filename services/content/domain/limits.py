"""How long a note and its parts may be, in characters as people see them."""

SHORTEST, LONGEST = 80, 120
# A note that mentions a value needs a few words of its own: "I woke up thinking".
LONGEST_VALUE = LONGEST - 20
MOST_SENTENCES = 2
