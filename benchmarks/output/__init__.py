"""What every room writes with; it knows nothing of speech.

Names are imported from the modules: ``files``, ``run_folder``, ``typed_json``, ``table``, ``formats``, ``environment``.
"""
