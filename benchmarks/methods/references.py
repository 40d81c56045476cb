"""Neutral references that are trained on as well: those of the methods that compare DSNet with others (DSC, ISNet)."""

from collections.abc import Sequence

from dsnet_plugin import NeutralBatch, NeutralReferences


class KeptReferences(NeutralReferences):
    """References that stay in the training set, so that which of them serve depends on the utterance.

    DSNet's references are taken out; here this would cost a speaker of few neutral utterances most of that class. A
    subclass says in :meth:`beside` what stands beside an utterance; arguments and errors are those of
    :class:`dsnet_plugin.NeutralReferences`.
    """

    def beside(self, utterance: int, epoch: int = 0) -> list[int]:
        """The references of an utterance: the same number for every utterance, or an empty list."""
        raise NotImplementedError

    def training_indices(self, epoch: int = 0) -> list[int]:
        """All utterances but those of dropped speakers, in the order given."""
        references = {i for speaker in self.speakers for i in self.of(speaker, epoch)}
        return sorted({*super().training_indices(epoch), *references})

    def batch(self, indices: Sequence[int], epoch: int = 0) -> NeutralBatch:
        """The references of a batch of utterances, each distinct one once (K of them for N utterances)."""
        return NeutralBatch.of([self.beside(i, epoch) for i in indices])
