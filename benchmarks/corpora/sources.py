"""Where the open corpora are downloaded from."""

from dataclasses import dataclass

_CREMA_D = "CheyneyComputerScience/CREMA-D"


@dataclass(frozen=True)
class Source:
    """A zip archive that holds a corpus, at the place where its makers published it.

    ``checksum`` is what the source publishes (``"md5:..."``), or None where it publishes none. ``megabytes`` is the
    size of the whole download, roughly. ``members`` are patterns of the paths to unpack. ``objects`` is the address
    below which the audio lies where the archive holds Git LFS pointers in its place; a pointer is the checksum of its
    audio.
    """

    url: str
    megabytes: int
    checksum: str | None = None
    members: tuple[str, ...] = ("*",)
    objects: str = ""


SOURCES: dict[str, Source] = {
    "ravdess": Source(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        megabytes=208,
        checksum="md5:bc696df654c87fed845eb13823edef8a",
    ),
    "emodb": Source(url="http://emodb.bilderbar.info/download/download.zip", megabytes=40),
    "crema-d": Source(
        url=f"https://github.com/{_CREMA_D}/archive/refs/heads/master.zip",
        megabytes=640,
        # The release has every recording as WAV, MP3 and video.
        members=("*/AudioWAV/*.wav", "*/VideoDemographics.csv", "*/README*", "*/LICENSE*"),
        objects=f"https://media.githubusercontent.com/media/{_CREMA_D}/master/",
    ),
    # The commit that holds the audio and data.tsv; later ones change the README alone.
    "nemo": Source(
        url="https://github.com/amu-cai/nEMO/archive/06f1f83dde8f1a780443a57d53b2af3971af34ab.zip", megabytes=500
    ),
}
"""The corpora that can be had without asking, by name."""
