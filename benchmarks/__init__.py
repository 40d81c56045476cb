"""The benchmark suite behind the ``dsnet`` command, in rooms.

From the top to the bottom; a room imports from itself and from those below it, and ``errors.py`` lies below them all:

- ``wrap_sweep``: wraps every model at hand, and checks what ``wrap`` promises of it.
- ``commands``: the command line, one file a command.
- ``studies``: scripts that put the suite itself to the test: its defaults, its readers; and the tables of what they found.
- ``deploy``: a trained model at work: predictions, exported files, the demo page.
- ``report``: finished lines as tables, figures and one page.
- ``grid``: a specification, its plan, its cells, and the records that they leave.
- ``cost``: parameters and MACs, speed, memory.
- ``training``: the one loop that trains all methods, and the model it leaves.
- ``scores``: UAR, predictions, statistics, probes.
- ``data``: audio as features, a corpus in memory, the batches of one side of a fold.
- ``methods``: the methods under comparison, one file each.
- ``corpora``: folders on disk as utterances, one file a corpus.
- ``output``: whole files, typed JSON, tables and their formats, the environment of a result.
- ``presets``: the specifications that come with the package.
"""
