"""Datasets of people: a plan → shards made by any number of workers → Parquet with a card."""
