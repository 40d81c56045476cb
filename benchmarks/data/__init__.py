"""From audio files to the batches of one side of a fold."""
