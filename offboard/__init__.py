"""The training server: source stage, generation, ingest, online fine-tuning, publishing."""
