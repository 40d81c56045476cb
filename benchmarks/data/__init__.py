"""From audio to what an encoder takes: recordings read in blocks, features cached, corpora described."""
