"""Trained models at work.

Names are imported from the modules: ``recogniser`` needs torchaudio, ``export`` its formats' packages, ``demo_page`` Gradio.
"""
