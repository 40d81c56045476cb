"""The benchmark suite: corpora, protocols, methods, training, scores and the ``dsnet`` command."""
