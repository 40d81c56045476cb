"""From a specification to the records of finished cells."""
