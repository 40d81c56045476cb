"""What a method costs."""
