"""The ground: what every room stands on, without a network: people as vectors, files, names, checks, marks."""
