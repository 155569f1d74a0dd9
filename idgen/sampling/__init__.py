"""People who do not exist, and variations of a person: vectors only."""
