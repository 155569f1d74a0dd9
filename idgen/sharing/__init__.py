"""Handing models on: to the Hugging Face Hub, to people without idgen, to insightface."""
