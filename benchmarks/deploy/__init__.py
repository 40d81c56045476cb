"""A trained model in use: predictions, exports, the demo page."""
