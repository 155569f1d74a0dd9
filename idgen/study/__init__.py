"""What sets of faces are worth: recognisers trained on each, tested on the same people, over several seeds."""
