"""What a recording is, by its first bytes: names and claimed types are not looked at.

The demuxer is then chosen by us and never guessed, so that no upload reaches the playlist, concat or
network formats of the decoding library.
"""

from typing import Final

from services.voice.refusals import SampleMediaUnknown

_ID3: Final = b"ID3"
_MP3_LOST_SYNC_BYTES: Final = 4096


def demuxer_of(recording: bytes) -> str:
    """The name of the demuxer for this recording. Raises SampleMediaUnknown."""
    start = recording[_id3_bytes(recording) :][:_MP3_LOST_SYNC_BYTES]
    if start.startswith(b"RIFF") and start[8:12] == b"WAVE":
        return "wav"
    if start[4:8] == b"ftyp":
        return "mov"
    for magic, demuxer in ((b"\x1a\x45\xdf\xa3", "matroska"), (b"OggS", "ogg"), (b"fLaC", "flac")):
        if start.startswith(magic):
            return demuxer
    if _starts_with_mp3_frame(start):
        return "mp3"
    raise SampleMediaUnknown("This file is not an audio recording in a format that is accepted.")


def _id3_bytes(recording: bytes) -> int:
    """The length of an ID3v2 tag in front; its size counts seven bits a byte."""
    if not recording.startswith(_ID3) or len(recording) < 10:
        return 0
    size = 0
    for byte in recording[6:10]:
        size = size << 7 | byte & 0x7F
    return size + 10


def _starts_with_mp3_frame(start: bytes) -> bool:
    """A frame header with every field in range; zeros that some encoders put in front are skipped."""
    header = start.lstrip(b"\0")[:4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return False
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    return version != 1 and layer != 0 and bitrate not in (0, 15) and rate != 3
