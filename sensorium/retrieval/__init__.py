"""An index of embeddings on disk, and search by any subset of modalities."""
